/* SPDX-License-Identifier: Apache-2.0 */
/* Stochastic depth: whole branches are dropped or enlarged by a draw that belongs to the sample. */
#include "net_case.h"
#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { C = 5, N = 400, V = 2 };
static const double rate = 0.25;
static const struct lj_shape shape = {1, {C}};

/* y = x + s gelu(x); s of each image, read off the output. */
static void scales(struct net_case *c, const float *x, float *s)
{
    float y[V * N * C], branch[C];
    int64_t images = lj_plan_images(c->plan);
    net_case_forward(c, x, y);
    for (int64_t i = 0; i < images; i++) {
        for (int j = 0; j < C; j++)
            branch[j] = 0.5f * x[i * C + j] * erfcf(-x[i * C + j] / sqrtf(2));
        s[i] = (y[i * C] - x[i * C]) / branch[0];
        for (int j = 0; j < C; j++)
            cr_assert_float_eq(y[i * C + j], x[i * C + j] + s[i] * branch[j], 1e-5f);
    }
}

static void begin(struct net_case *c, int64_t layer)
{
    net_case_begin(c);
    lj_val x = lj_input(c->net, shape, true);
    lj_residual(c->net, "sum", x, lj_gelu(c->net, "gelu", x), rate, layer);
    net_case_layout(c);
}

static void fill(float *x)
{
    lj_random_between_f32(x, V * N * C, 0.5f, 2, 1);
}

Test(residual, drops_whole_branches_at_its_rate)
{
    struct net_case c;
    float x[V * N * C], s[V * N];
    int dropped = 0, together = 0;
    fill(x);
    begin(&c, 1);
    net_case_plan(&c, V * N, &shape, LJ_PLAN_TRAIN);
    c.pass.n = N;
    scales(&c, x, s);
    for (int i = 0; i < V * N; i++) {
        bool gone = fabsf(s[i]) < 1e-5f;
        cr_assert(gone || fabs((double)s[i] - 1 / (1 - rate)) < 1e-4, "%g", (double)s[i]);
        dropped += gone;
        together += i < N && (fabsf(s[i]) < 1e-5f) == (fabsf(s[i + N]) < 1e-5f);
    }
    /* five standard deviations */
    cr_assert(fabs(dropped - rate * V * N) < 5 * sqrt(V * N * rate * (1 - rate)), "%d", dropped);
    double same = 1 - 2 * rate * (1 - rate); /* the two views of a sample are drawn apart */
    cr_assert(fabs(together - same * N) < 5 * sqrt(N * same * (1 - same)), "%d", together);
    c.pass.train = false;
    scales(&c, x, s);
    for (int i = 0; i < V * N; i++)
        cr_assert_float_eq(s[i], 1, 1e-5f);
    net_case_end(&c);
}

/* The draw is named by seed, step, place in the batch, view and layer: not by where the sample is
 * run. */
Test(residual, draws_belong_to_the_sample)
{
    struct net_case c;
    float x[V * N * C], all[V * N], part[V * N];
    fill(x);
    begin(&c, 1);
    net_case_plan(&c, V * N, &shape, LJ_PLAN_TRAIN);
    c.pass.n = N;
    scales(&c, x, all);
    net_case_plan(&c, 10, &shape, LJ_PLAN_TRAIN); /* samples 7 .. 16 of view 1 */
    c.pass.first_sample = 7;
    c.pass.first_view = 1;
    scales(&c, x + (N + 7) * C, part);
    for (int i = 0; i < 10; i++)
        cr_assert_float_eq(part[i], all[N + 7 + i], 1e-4f);
    net_case_end(&c);
}

Test(residual, draws_differ_by_step_seed_and_layer)
{
    struct net_case c;
    float x[V * N * C], s[4][V * N];
    fill(x);
    for (int k = 0; k < 4; k++) {
        begin(&c, k == 3 ? 2 : 1);
        net_case_plan(&c, V * N, &shape, LJ_PLAN_TRAIN);
        c.pass.n = N;
        c.pass.step += k == 1;
        c.pass.seed += k == 2;
        scales(&c, x, s[k]);
        int differ = 0;
        for (int i = 0; i < V * N; i++)
            differ += fabsf(s[k][i] - s[0][i]) > 0.5f;
        cr_assert(k == 0 || differ > V * N / 5, "%d: %d differ", k, differ);
        net_case_end(&c);
    }
}

/* Backward uses forward's draw: dx = dy (1 + s gelu'(x)), with s 0 or 1 / (1 - rate). */
Test(residual, backward_repeats_the_draw)
{
    struct net_case c;
    float x[V * N * C], s[V * N], dy[V * N * C], dx[V * N * C];
    fill(x);
    for (int i = 0; i < V * N * C; i++)
        dy[i] = 1;
    begin(&c, 1);
    net_case_plan(&c, V * N, &shape, LJ_PLAN_TRAIN);
    c.pass.n = N;
    scales(&c, x, s);
    net_case_backward(&c, dy, dx);
    for (int i = 0; i < V * N * C; i++) {
        double a = (double)x[i];
        double slope = 0.5 * erfc(-a / sqrt(2)) + a * exp(-a * a / 2) / sqrt(2 * M_PI);
        cr_assert(fabs((double)dx[i] - (1 + (double)s[i / C] * slope)) < 1e-4, "%d: %g", i,
                  (double)dx[i]);
    }
    net_case_end(&c);
}
