/* SPDX-License-Identifier: Apache-2.0 */
/* The memory plan on a vision transformer of three blocks: every mode gives the same bits, memory
 * that was never written is never read, and regions in use at the same time are apart. */
#include "models/encoders.h"

#include "nn/plan.h"
#include "net_case.h"
#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 6, PIXELS = 2 * 12 * 12, WIDTH = 8 };
static const struct lj_vit_config config = {.channels = 2,
                                            .size = 12,
                                            .patch = 4,
                                            .width = WIDTH,
                                            .depth = 3,
                                            .heads = 2,
                                            .hidden = 20,
                                            .registers = 1,
                                            .drop_path = 0.4};
static const struct lj_shape global = {3, {2, 12, 12}}, local = {3, {2, 8, 8}};

static void begin(struct net_case *c)
{
    net_case_begin(c);
    lj_vit(c->net, &config);
    net_case_layout(c);
}

struct pass {
    float x[IMAGES * PIXELS], y[IMAGES * WIDTH], dy[IMAGES * WIDTH];
};

static void fill(struct pass *p)
{
    lj_random_normal_f32(p->x, IMAGES * PIXELS, 1);
    lj_random_normal_f32(p->dy, IMAGES * WIDTH, 2);
}

static bool same(const float *a, const float *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(a[i]))
            return false;
    return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

/* All trained elements of two gradients. */
static bool same_gradient(const struct net_case *c, const float *a, const float *b)
{
    for (int p = 0; p < c->params.count; p++)
        if (!same(a + c->params.list[p].offset, b + c->params.list[p].offset,
                  c->params.list[p].count))
            return false;
    return true;
}

/* Everything in one tile, tiles of one image, tiles of two (10 tokens) with a short one at the
 * end. */
static const int64_t tile_rows[] = {0, 1, 40};
enum { TILES = 3 };

/* bf16 plans only where the processor has them. */
static int widest_precision(void)
{
    enum lj_isa isa;
    cr_assert_eq(lj_isa_best(&isa), LJ_OK);
    return isa >= LJ_ISA_AVX512BF16 ? 1 : 0;
}

static void check_modes(int64_t rows, bool bf16)
{
    static struct pass train, other;
    struct net_case c;
    int64_t arena[3];
    begin(&c);
    fill(&train);
    c.tile_rows = rows;
    if (bf16)
        net_case_bf16(&c);
    net_case_plan(&c, IMAGES, &global, LJ_PLAN_TRAIN);
    net_case_forward(&c, train.x, train.y);
    net_case_backward(&c, train.dy, NULL);
    size_t bytes = (size_t)c.params.elements * sizeof(float);
    float *gradient = malloc(bytes);
    memcpy(gradient, c.gradient, bytes);
    arena[0] = lj_plan_arena(c.plan);

    net_case_plan(&c, IMAGES, &global, LJ_PLAN_RECOMPUTE);
    for (int again = 0; again < 2; again++) { /* over NaN, then over what the first pass left */
        net_case_forward(&c, train.x, other.y);
        cr_assert(same(train.y, other.y, IMAGES * WIDTH), "recompute: output");
        memset(c.gradient, 0xff, bytes);
        net_case_backward(&c, train.dy, NULL);
        cr_assert(same_gradient(&c, gradient, c.gradient), "recompute: gradient");
    }
    arena[1] = lj_plan_arena(c.plan);

    net_case_plan(&c, IMAGES, &global, LJ_PLAN_INFER);
    net_case_forward(&c, train.x, other.y);
    cr_assert(same(train.y, other.y, IMAGES * WIDTH), "infer: output");
    arena[2] = lj_plan_arena(c.plan);
    cr_assert(arena[2] < arena[1] && arena[1] < arena[0], "arenas %lld %lld %lld",
              (long long)arena[0], (long long)arena[1], (long long)arena[2]);
    free(gradient);
    net_case_end(&c);
}

Test(plan, every_mode_gives_the_same_bits)
{
    for (int bf16 = 0; bf16 <= widest_precision(); bf16++)
        for (int i = 0; i < TILES; i++)
            check_modes(tile_rows[i], bf16 != 0);
}

enum { BLOCKS = 3, BLOCK_IMAGES = 4, BLOCK_C = 5 };
enum { BLOCK_Y = BLOCK_IMAGES * BLOCK_C, BLOCK_GRADIENT = BLOCKS * 50 };

struct block_pass {
    float y[BLOCK_Y], gradient[BLOCK_GRADIENT];
    int64_t arena;
};

/* Blocks of a linear layer, with `norm` a normalisation over the images, and ReLU. */
static void run_relu_blocks(enum lj_plan_mode mode, int64_t rows, bool norm, struct block_pass *p)
{
    struct net_case c;
    struct lj_shape shape = {3, {2, 3, BLOCK_C}};
    float x[BLOCK_IMAGES * 6 * BLOCK_C], dy[BLOCK_Y], *gradient = p->gradient;
    *p = (struct block_pass){0};
    lj_random_normal_f32(x, BLOCK_IMAGES * 6 * BLOCK_C, 1);
    lj_random_normal_f32(dy, BLOCK_Y, 2);
    net_case_begin(&c);
    lj_val v = lj_input(c.net, shape, false);
    for (int b = 0; b < BLOCKS; b++) {
        lj_net_scope(c.net, b, "%d", b);
        v = lj_linear(c.net, "fc", v, BLOCK_C, LJ_INIT_NORMAL, 1);
        v = lj_relu(c.net, "act", norm ? lj_batchnorm(c.net, "norm", v, false) : v);
    }
    lj_net_scope(c.net, -1, "%s", "");
    lj_pool_mean(c.net, "pool", v, 0);
    net_case_layout(&c);
    c.tile_rows = rows;
    net_case_plan(&c, BLOCK_IMAGES, &shape, mode);
    p->arena = lj_plan_arena(c.plan);
    net_case_forward(&c, x, p->y);
    net_case_backward(&c, dy, NULL);
    for (int k = 0; k < c.params.count; gradient += c.params.list[k++].count)
        memcpy(gradient, c.gradient + c.params.list[k].offset,
               (size_t)c.params.list[k].count * sizeof *gradient);
    net_case_end(&c);
}

/* Blocks that end with a layer whose backward reads its own output, which the next block reads,
 * too: in LJ_PLAN_RECOMPUTE that value exists twice, and each reader has to take the right one. */
Test(plan, blocks_that_end_with_a_value_read_by_both_sides)
{
    for (int64_t rows = 0; rows <= 6; rows += 6) {
        struct block_pass p[2];
        run_relu_blocks(LJ_PLAN_TRAIN, rows, false, &p[0]);
        run_relu_blocks(LJ_PLAN_RECOMPUTE, rows, false, &p[1]);
        cr_expect(same(p[0].y, p[1].y, BLOCK_Y), "output, tiles of %lld rows", (long long)rows);
        cr_expect(same(p[0].gradient, p[1].gradient, BLOCK_GRADIENT),
                  "gradient, tiles of %lld rows", (long long)rows);
    }
}

/* A block with statistics over the images runs on all of them at once, whatever the tile, and can
 * be run again. */
Test(plan, a_block_whose_layers_join_images_is_not_cut)
{
    struct block_pass whole, p;
    run_relu_blocks(LJ_PLAN_TRAIN, 0, true, &whole);
    for (int64_t rows = 0; rows <= 6; rows += 6)
        for (enum lj_plan_mode mode = LJ_PLAN_TRAIN; mode <= LJ_PLAN_RECOMPUTE; mode++) {
            run_relu_blocks(mode, rows, true, &p);
            cr_expect(same(whole.y, p.y, BLOCK_Y), "mode %d, output", (int)mode);
            cr_expect(same(whole.gradient, p.gradient, BLOCK_GRADIENT), "mode %d, gradient",
                      (int)mode);
            cr_expect(mode == LJ_PLAN_TRAIN || p.arena < whole.arena, "arena %lld, %lld",
                      (long long)p.arena, (long long)whole.arena);
        }
}

static void run_tiles(int64_t rows, enum lj_plan_mode mode, struct pass *p, float **gradient,
                      int64_t *arena)
{
    struct net_case c;
    begin(&c);
    fill(p);
    c.tile_rows = rows;
    net_case_plan(&c, IMAGES, &global, mode);
    net_case_forward(&c, p->x, p->y);
    net_case_backward(&c, p->dy, NULL);
    *arena = lj_plan_arena(c.plan);
    *gradient = malloc((size_t)c.params.elements * sizeof(float));
    memset(*gradient, 0, (size_t)c.params.elements * sizeof(float));
    for (int k = 0; k < c.params.count; k++)
        memcpy(*gradient + c.params.list[k].offset, c.gradient + c.params.list[k].offset,
               (size_t)c.params.list[k].count * sizeof(float));
    net_case_end(&c);
}

/* Drop path, saved statistics and gradients belong to the same image in every tile; memory
 * shrinks. */
Test(plan, tiles_agree_to_rounding_and_take_less_memory)
{
    static struct pass whole, tiled;
    for (enum lj_plan_mode mode = LJ_PLAN_TRAIN; mode <= LJ_PLAN_RECOMPUTE; mode++) {
        float *gradient[2];
        int64_t arena[2];
        run_tiles(0, mode, &whole, &gradient[0], &arena[0]);
        run_tiles(1, mode, &tiled, &gradient[1], &arena[1]);
        for (int i = 0; i < IMAGES * WIDTH; i++)
            cr_assert_float_eq(tiled.y[i], whole.y[i], 1e-5f * fmaxf(1, fabsf(whole.y[i])));
        for (int i = 0; i < 1000; i++)
            cr_assert_float_eq(gradient[1][i], gradient[0][i],
                               2e-5f * fmaxf(1, fabsf(gradient[0][i])));
        cr_assert_lt(arena[1], arena[0]);
        free(gradient[0]);
        free(gradient[1]);
    }
}

static void check_apart(const struct lj_region *a, const struct lj_region *b, int64_t arena)
{
    cr_assert(a->offset >= 0 && a->offset + a->size <= arena && a->offset % 16 == 0);
    bool in_time = a->birth <= b->death && b->birth <= a->death;
    bool in_space = a->offset < b->offset + b->size && b->offset < a->offset + a->size;
    cr_assert(!(in_time && in_space), "[%lld, +%lld) at %d..%d and [%lld, +%lld) at %d..%d",
              (long long)a->offset, (long long)a->size, a->birth, a->death, (long long)b->offset,
              (long long)b->size, b->birth, b->death);
}

Test(plan, regions_in_use_together_are_apart)
{
    for (enum lj_plan_mode mode = LJ_PLAN_INFER; mode <= LJ_PLAN_RECOMPUTE; mode++) {
        struct net_case c;
        begin(&c);
        c.tile_rows = mode == LJ_PLAN_INFER ? 0 : 40;
        net_case_plan(&c, IMAGES, &global, mode);
        const struct lj_region *all[1024];
        int count = 0;
        for (int i = 0; i < c.net->count; i++) {
            const struct lj_placing *at = &c.plan->at[i];
            const struct lj_region *own[] = {&at->value[0], &at->value[1], &at->saved[0],
                                             &at->saved[1], &at->gradient};
            for (int k = 0; k < 5; k++)
                if (own[k]->size > 0)
                    all[count++] = own[k];
        }
        cr_assert_gt(count, c.net->count - 1);
        for (int i = 0; i < count; i++)
            for (int j = 0; j < i; j++)
                check_apart(all[i], all[j], lj_plan_arena(c.plan));
        net_case_end(&c);
    }
}

/* Global and local crops share parameters: the second group adds its gradient to the first's. */
Test(plan, two_groups_of_views_share_parameters)
{
    static struct pass p;
    struct net_case c;
    begin(&c);
    fill(&p);
    size_t bytes = (size_t)c.params.elements * sizeof(float);
    float *one = malloc(bytes), *two = malloc(bytes);
    net_case_plan(&c, IMAGES, &local, LJ_PLAN_TRAIN);
    net_case_forward(&c, p.x, p.y);
    net_case_backward(&c, p.dy, NULL);
    memcpy(two, c.gradient, bytes);
    net_case_plan(&c, IMAGES, &global, LJ_PLAN_TRAIN);
    net_case_forward(&c, p.x, p.y);
    net_case_backward(&c, p.dy, NULL);
    memcpy(one, c.gradient, bytes);
    net_case_plan(&c, IMAGES, &local, LJ_PLAN_TRAIN);
    c.pass.gradient_add = true;
    net_case_forward(&c, p.x, p.y);
    net_case_backward(&c, p.dy, NULL);
    for (int k = 0; k < c.params.count; k++)
        for (int64_t i = 0; i < c.params.list[k].count; i++) {
            int64_t at = c.params.list[k].offset + i;
            double sum = (double)one[at] + (double)two[at];
            cr_assert(fabs((double)c.gradient[at] - sum) < 1e-5 * fmax(1, fabs(sum)), "%s: %g, %g",
                      c.params.list[k].name, (double)c.gradient[at], sum);
        }
    free(one);
    free(two);
    net_case_end(&c);
}

/* Maps of 16, then of 4 positions: tiles of about as many rows have more images where maps are
 * smaller; what is in no block has all. */
Test(plan, each_block_has_tiles_of_its_own)
{
    enum { N = 8 };
    struct net_case c;
    struct lj_shape map = {3, {4, 4, 3}};
    net_case_begin(&c);
    lj_val x = lj_input(c.net, map, true);
    lj_net_scope(c.net, 0, "large");
    x = lj_gelu(c.net, "a", lj_gelu(c.net, "b", x));
    lj_net_scope(c.net, -1, "%s", "");
    x = lj_max_pool(c.net, "pool", x, 2, 2, 0);
    lj_net_scope(c.net, 1, "small");
    lj_gelu(c.net, "a", lj_gelu(c.net, "b", x));
    net_case_layout(&c);
    c.tile_rows = 16;
    net_case_plan(&c, N, &map, LJ_PLAN_TRAIN);
    const struct lj_placing *at = c.plan->at;
    cr_assert(at[1].tile == 1 && at[2].tile == 1 && at[3].tile == N && at[4].tile == 4 &&
              at[5].tile == 4);
    cr_assert_eq(lj_plan_tile(c.plan), 1);
    net_case_end(&c);
}

Test(plan, refuses_a_size_the_patch_does_not_divide)
{
    struct net_case c;
    struct lj_plan *plan = NULL;
    begin(&c);
    int status = lj_plan_create(&plan, c.net, 1, &(struct lj_shape){3, {2, 10, 12}},
                                (struct lj_plan_options){.mode = LJ_PLAN_INFER});
    cr_assert_eq(status, LJ_ERR_CONFIG);
    cr_assert_not_null(strstr(lj_error_text(), "model.patch"));
    net_case_end(&c);
}
