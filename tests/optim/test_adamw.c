/* SPDX-License-Identifier: Apache-2.0 */
/* AdamW against PyTorch, against the formula, and cut into shards: who owns an element must not
 * show. */
#include "optim/optim.h"

#include "golden.h"
#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct lj_optim_config config = {.beta1 = 0.9,
                                              .beta2 = 0.95,
                                              .eps = 1e-8,
                                              .weight_decay = 0.3,
                                              .decay_matrices_only = true,
                                              .statistic_momentum = 0.1,
                                              .lanes = 4};

static struct lj_param param(int64_t offset, int64_t count, bool matrix, enum lj_role role)
{
    return (struct lj_param){.dims = 1,
                             .dim = {count},
                             .count = count,
                             .offset = offset,
                             .role = role,
                             .matrix = matrix};
}

static struct lj_optim *create(struct lj_param *list, int count,
                               const struct lj_shard_layout *shards,
                               const struct lj_optim_config *c)
{
    struct lj_params params = {.list = list, .count = count};
    struct lj_optim *optim;
    cr_assert_eq(lj_optim_create(&optim, &params, shards, c), LJ_OK, "%s", lj_error_text());
    return optim;
}

/* One shard [0, count) at the shard's start. */
#define WHOLE(length)                                                               \
    &(struct lj_shard_layout)                                                       \
    {                                                                               \
        1, (const int64_t[]){0}, (const int64_t[]){(length)}, (const int64_t[]){0}, \
            (const int64_t[]){0}, (length)                                          \
    }

/* A matrix of 37 with decay at 0 and a bias of 11 without at 48. */
Test(adamw, agrees_with_pytorch)
{
    struct lj_golden initial = lj_golden_f32("optim.h5", "initial"),
                     gradient = lj_golden_f32("optim.h5", "gradient"),
                     expected = lj_golden_f32("optim.h5", "weights"),
                     rates = lj_golden_f64("optim.h5", "rates");
    struct lj_param list[] = {param(0, 37, true, LJ_ROLE_WEIGHT),
                              param(48, 11, false, LJ_ROLE_WEIGHT)};
    struct lj_optim *optim = create(list, 2, WHOLE(64), &config);
    float w[64] = {0}, g[64] = {0};
    memcpy(w, initial.f32, 37 * sizeof *w);
    memcpy(w + 48, initial.f32 + 37, 11 * sizeof *w);
    for (int t = 0; t < 10; t++) {
        memcpy(g, gradient.f32 + 48 * t, 37 * sizeof *g);
        memcpy(g + 48, gradient.f32 + 48 * t + 37, 11 * sizeof *g);
        lj_optim_step(optim, t + 1, rates.f64[t], 1, w, g);
        for (int i = 0; i < 48; i++) {
            double got = (double)w[i < 37 ? i : i + 11], want = (double)expected.f32[48 * t + i];
            cr_assert(fabs(got - want) < 1e-6 * fmax(1, fabs(want)),
                      "step %d, element %d: %.9g, PyTorch has %.9g", t + 1, i, got, want);
        }
    }
    for (int i = 37; i < 48; i++)
        cr_assert(w[i] == 0, "padding moved");
    lj_optim_destroy(optim);
    lj_golden_free(&initial);
    lj_golden_free(&gradient);
    lj_golden_free(&expected);
    lj_golden_free(&rates);
}

/* Without a gradient only decay acts: w (1 - lr decay), and not on biases unless all are
 * decayed. */
Test(adamw, zero_gradient_only_decays)
{
    struct lj_param list[] = {param(0, 5, true, LJ_ROLE_WEIGHT),
                              param(16, 5, false, LJ_ROLE_WEIGHT)};
    for (int all = 0; all < 2; all++) {
        struct lj_optim_config c = config;
        c.decay_matrices_only = !all;
        struct lj_optim *optim = create(list, 2, WHOLE(32), &c);
        float w[32], g[32] = {0};
        for (int i = 0; i < 32; i++)
            w[i] = 2;
        lj_optim_step(optim, 1, 0.1, 1, w, g);
        for (int i = 0; i < 5; i++) {
            cr_assert_float_eq(w[i], 2 * (1 - 0.1f * 0.3f), 1e-6f);
            cr_assert_float_eq(w[16 + i], all ? 2 * (1 - 0.1f * 0.3f) : 2, 1e-6f);
        }
        lj_optim_destroy(optim);
    }
}

/* The first buckets are the encoder's, with a learning rate of its own. */
Test(adamw, the_encoder_has_its_learning_rate)
{
    static const int64_t first[] = {0, 16}, count[] = {16, 16};
    struct lj_shard_layout shards = {2, first, count, first, first, 32};
    struct lj_param list[] = {param(0, 16, true, LJ_ROLE_WEIGHT),
                              param(16, 16, true, LJ_ROLE_WEIGHT)};
    struct lj_optim_config c = config;
    c.encoder_buckets = 1;
    for (int tenths = 0; tenths <= 20; tenths += 5) {
        float w[2][32], g[32];
        c.encoder_lr = 0.1 * tenths;
        struct lj_optim *apart = create(list, 2, &shards, &c),
                        *alike = create(list, 2, &shards, &config);
        for (int i = 0; i < 32; i++)
            w[0][i] = w[1][i] = 1;
        lj_random_normal_f32(g, 32, 2);
        lj_optim_step(apart, 1, 0.1, 1, w[0], g);
        lj_optim_step(alike, 1, 0.1, 1, w[1], g);
        for (int i = 0; i < 32; i++) {
            double share = i < 16 ? c.encoder_lr : 1;
            cr_assert_float_eq(w[0][i] - 1, share * (double)(w[1][i] - 1), 1e-6, "element %d", i);
        }
        lj_optim_destroy(apart);
        lj_optim_destroy(alike);
    }
}

/* A bucket whose gradient is 0 in the first steps moves on its own as if the run began behind
 * them, whatever is in front of it. */
Test(adamw, bias_correction_counts_from_the_release)
{
    enum { HELD = 300, STEPS = 20 };
    static const int64_t first[] = {0, 16}, count[] = {16, 16};
    struct lj_shard_layout shards = {2, first, count, first, first, 32};
    struct lj_param list[] = {param(0, 16, true, LJ_ROLE_WEIGHT),
                              param(16, 16, true, LJ_ROLE_WEIGHT)};
    struct lj_optim_config c = config;
    c.held_steps = HELD;
    c.free_buckets = 1;
    struct lj_optim *late = create(list, 2, &shards, &c), *fresh = create(list, 1, WHOLE(16), &c);
    struct lj_optim *never = create(list, 2, &shards, &config);
    float w[3][32], g[3][32];
    lj_random_normal_f32(w[0], 32, 1);
    memcpy(w[2], w[0], sizeof w[0]);
    for (int s = 0; s < HELD + STEPS; s++) {
        lj_random_normal_f32(g[0], 32, (uint64_t)s);
        for (int i = 16; s < HELD && i < 32; i++)
            g[0][i] = 0;
        for (int i = 0; i < 16; i++)
            g[1][i] = g[0][i + 16];
        memcpy(g[2], g[0], sizeof g[0]);
        if (s == HELD)
            memcpy(w[1], w[0] + 16, 16 * sizeof *w[1]);
        lj_optim_step(late, s + 1, 0.1, 1, w[0], g[0]);
        lj_optim_step(never, s + 1, 0.1, 1, w[2], g[2]);
        if (s >= HELD)
            lj_optim_step(fresh, s - HELD + 1, 0.1, 1, w[1], g[1]);
    }
    cr_assert_eq(memcmp(w[0] + 16, w[1], 16 * sizeof *w[1]), 0, "not as from a start of its own");
    cr_assert_eq(memcmp(w[0], w[2], 16 * sizeof *w[0]), 0, "what is not held has changed");
    lj_optim_destroy(late);
    lj_optim_destroy(fresh);
    lj_optim_destroy(never);
}

/* Clipping: scale 1/4 acts as a gradient of a quarter, and is left in the gradient. */
Test(adamw, scale_acts_on_the_gradient)
{
    struct lj_param list[] = {param(0, 32, true, LJ_ROLE_WEIGHT)};
    struct lj_optim *one = create(list, 1, WHOLE(32), &config),
                    *two = create(list, 1, WHOLE(32), &config);
    float w[2][32], g[2][32];
    lj_random_normal_f32(w[0], 32, 1);
    lj_random_normal_f32(g[0], 32, 2);
    memcpy(w[1], w[0], sizeof w[0]);
    for (int i = 0; i < 32; i++)
        g[1][i] = 0.25f * g[0][i];
    lj_optim_step(one, 1, 0.1, 0.25, w[0], g[0]);
    lj_optim_step(two, 1, 0.1, 1, w[1], g[1]);
    cr_assert_eq(memcmp(w[0], w[1], sizeof w[0]), 0);
    cr_assert_eq(memcmp(g[0], g[1], sizeof g[0]), 0);
    lj_optim_destroy(one);
    lj_optim_destroy(two);
}

/* ---- sharding ---------------------------------------------------------------------------- */

enum { BLOCK = 4096, BLOCKS = 12, ELEMENTS = BLOCK * BLOCKS, STEPS = 3 };

/* Tensors of uneven length over 12 blocks, one of them 24 000 long, one a statistic. */
static struct lj_param list[] = {
    {.count = 24000, .offset = 0, .matrix = true},
    {.count = 5001, .offset = 24000, .matrix = false},
    {.count = 3000, .offset = 29008, .role = LJ_ROLE_STATISTIC},
    {.count = 17, .offset = 32016, .matrix = true},
    {.count = 16000, .offset = 33024, .matrix = true},
};

struct state {
    float weights[ELEMENTS], moment[2][ELEMENTS];
};

static void gradient_of(int step, float *g)
{
    lj_random_normal_f32(g, ELEMENTS, 20 + (uint64_t)step);
}

/* One owner's steps: blocks [first, end) as two shards, laid in the shard in reverse order. */
static void run_owner(int64_t first, int64_t end, struct state *state)
{
    int64_t middle = (first + end + 1) / 2;
    int64_t at[2] = {first * BLOCK, middle * BLOCK};
    int64_t count[2] = {(middle - first) * BLOCK, (end - middle) * BLOCK};
    int64_t offset[2] = {count[1], 0};
    struct lj_shard_layout shards = {2, at, count, offset, at, count[0] + count[1]};
    struct lj_optim *optim = create(list, 5, &shards, &config);
    float *whole = malloc(ELEMENTS * sizeof *whole);
    float *shard = calloc((size_t)(shards.elements + 1), sizeof *shard);
    for (int step = 1; step <= STEPS; step++) {
        gradient_of(step, whole);
        for (int p = 0; p < 2; p++)
            memcpy(shard + offset[p], whole + at[p], (size_t)count[p] * sizeof *shard);
        lj_optim_statistics(optim, state->weights, shard);
        lj_optim_step(optim, step, 1e-2, 0.5, state->weights, shard);
    }
    for (int m = 0; m < 2; m++)
        for (int p = 0; p < 2; p++)
            memcpy(state->moment[m] + at[p], lj_optim_moment(optim, m) + offset[p],
                   (size_t)count[p] * sizeof *shard);
    lj_optim_destroy(optim);
    free(whole);
    free(shard);
}

static struct state *run_sharded(const int64_t *bounds, int owners)
{
    struct state *state = calloc(1, sizeof *state);
    lj_random_normal_f32(state->weights, ELEMENTS, 1);
    for (int o = 0; o < owners; o++)
        run_owner(bounds[o], bounds[o + 1], state);
    return state;
}

Test(adamw, shards_do_not_show_in_the_bits)
{
    static const int64_t one[] = {0, 12}, two[] = {0, 5, 12}, five[] = {0, 1, 6, 6, 7, 12};
    struct state *a = run_sharded(one, 1), *b = run_sharded(two, 2), *c = run_sharded(five, 5);
    cr_assert_eq(memcmp(a, b, sizeof *a), 0, "two owners");
    cr_assert_eq(memcmp(a, c, sizeof *a), 0, "five owners");
    free(a);
    free(b);
    free(c);
}

/* Against the formula in double, statistic included; what lies between tensors stays. */
Test(adamw, agrees_with_the_formula)
{
    static const int64_t one[] = {0, 12};
    static float w[ELEMENTS], g[STEPS][ELEMENTS];
    struct state *state = run_sharded(one, 1);
    lj_random_normal_f32(w, ELEMENTS, 1);
    for (int step = 1; step <= STEPS; step++)
        gradient_of(step, g[step - 1]);
    for (int i = 0, p = 0; i < ELEMENTS; i++) {
        double x = (double)w[i], m = 0, v = 0;
        while (p < 4 && i >= list[p].offset + list[p].count)
            p++;
        bool inside = i >= list[p].offset && i < list[p].offset + list[p].count;
        for (int t = 1; inside && t <= STEPS; t++) {
            double d = (double)g[t - 1][i];
            if (list[p].role == LJ_ROLE_STATISTIC) {
                x += 0.1 * (d / 4 - x);
                continue;
            }
            m = 0.9 * m + 0.1 * 0.5 * d;
            v = 0.95 * v + 0.05 * 0.25 * d * d;
            x *= list[p].matrix ? 1 - 1e-2 * 0.3 : 1;
            x -= 1e-2 * m / (1 - pow(0.9, t)) / (sqrt(v / (1 - pow(0.95, t))) + 1e-8);
        }
        cr_assert(fabs((double)state->weights[i] - x) < 1e-6 * fmax(1, fabs(x)),
                  "element %d: %.9g, expected %.9g", i, (double)state->weights[i], x);
    }
    free(state);
}

/* A norm counts trained parameters only: a statistic's gradient is used up. */
Test(adamw, statistics_clear_their_gradient)
{
    struct lj_param two[] = {param(0, 3, true, LJ_ROLE_WEIGHT),
                             param(16, 3, false, LJ_ROLE_STATISTIC)};
    struct lj_optim *optim = create(two, 2, WHOLE(32), &config);
    float w[32] = {0}, g[32];
    for (int i = 0; i < 32; i++)
        g[i] = 8;
    lj_optim_statistics(optim, w, g);
    for (int i = 0; i < 3; i++) {
        cr_assert(g[i] == 8 && w[i] == 0);
        cr_assert(g[16 + i] == 0, "%g", (double)g[16 + i]);
        cr_assert_float_eq(w[16 + i], 0.1f * 8 / 4, 1e-7f);
    }
    lj_optim_destroy(optim);
}

/* A rank that keeps only its own weights has them where its shard has the gradient. */
Test(adamw, weights_may_lie_as_the_shard)
{
    static const int64_t at[] = {BLOCK, 3 * BLOCK}, count[] = {BLOCK, 2 * BLOCK},
                         offset[] = {2 * BLOCK, 0};
    static float whole[ELEMENTS], shard[3 * BLOCK], g[2][ELEMENTS];
    struct lj_shard_layout shards[] = {{2, at, count, offset, at, 3 * BLOCK},
                                       {2, at, count, offset, offset, 3 * BLOCK}};
    lj_random_normal_f32(whole, ELEMENTS, 1);
    for (int p = 0; p < 2; p++)
        memcpy(shard + offset[p], whole + at[p], (size_t)count[p] * sizeof *shard);
    for (int layout = 0; layout < 2; layout++) {
        struct lj_optim *optim = create(list, 5, &shards[layout], &config);
        float *weights = layout == 0 ? whole : shard;
        gradient_of(1, g[layout]);
        lj_optim_statistics(optim, weights, g[layout]);
        lj_optim_step(optim, 1, 1e-2, 1, weights, g[layout]);
        lj_optim_destroy(optim);
    }
    for (int p = 0; p < 2; p++)
        cr_assert_eq(memcmp(shard + offset[p], whole + at[p], (size_t)count[p] * sizeof *shard), 0,
                     "shard %d", p);
}
