/* SPDX-License-Identifier: Apache-2.0 */
/* Two small vision transformers against PyTorch: tensor names and shapes as timm's, embeddings of
 * global and local crops, and every parameter's gradient summed over both groups. */
#include "models/encoders.h"

#include "golden.h"
#include "net_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct lj_vit_config base = {
    .channels = 2, .size = 16, .patch = 4, .width = 12, .depth = 2, .heads = 3, .hidden = 20};

static struct lj_golden golden(const char *group, const char *part, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s/%s", group, part, name);
    return lj_golden_f32("vit.h5", path);
}

/* Shapes and values of every parameter by its name; none is left over: the trained count agrees. */
static void load_weights(struct net_case *c, const char *group)
{
    for (int p = 0; p < c->params.count; p++) {
        const struct lj_param *param = &c->params.list[p];
        struct lj_golden w = golden(group, "weight", param->name);
        cr_assert_eq(w.dims, param->dims, "%s", param->name);
        for (int i = 0; i < w.dims; i++)
            cr_assert_eq(w.shape[i], param->dim[i], "%s: axis %d", param->name, i);
        memcpy(c->weights + param->offset, w.f32, (size_t)w.count * sizeof(float));
        lj_golden_free(&w);
    }
}

/* Allowed difference, of the largest element: float32 rounding, or bf16's through three blocks. */
static double tolerance;

static void compare(const char *what, const float *got, const struct lj_golden *expected)
{
    double largest = 0;
    for (int64_t i = 0; i < expected->count; i++)
        largest = fmax(largest, fabs((double)expected->f32[i]));
    for (int64_t i = 0; i < expected->count; i++)
        cr_assert(fabs((double)got[i] - (double)expected->f32[i]) <= tolerance * fmax(largest, 0.1),
                  "%s: element %lld is %.7g, PyTorch has %.7g", what, (long long)i, (double)got[i],
                  (double)expected->f32[i]);
}

/* One group of views; its gradient is added to what is there when `add`. */
static void run_group(struct net_case *c, const char *group, const char *part, int64_t size,
                      enum lj_plan_mode mode, bool add)
{
    struct lj_golden x = golden(group, part, "x"), y = golden(group, part, "y"),
                     dy = golden(group, part, "dy");
    struct lj_shape shape = {3, {2, size, size}};
    net_case_plan(c, x.shape[0], &shape, mode);
    cr_assert_eq(net_case_outputs(c), y.count);
    float *out = malloc((size_t)y.count * sizeof *out);
    net_case_forward(c, x.f32, out);
    compare(part, out, &y);
    c->pass.gradient_add = add;
    net_case_backward(c, dy.f32, NULL);
    free(out);
    lj_golden_free(&x);
    lj_golden_free(&y);
    lj_golden_free(&dy);
}

static void check(const char *group, const struct lj_vit_config *config, enum lj_plan_mode mode,
                  int64_t tile_rows, bool bf16)
{
    struct net_case c;
    net_case_begin(&c);
    lj_vit(c.net, config);
    net_case_layout(&c);
    load_weights(&c, group);
    tolerance = 2e-5;
    c.tile_rows = tile_rows;
    if (bf16) {
        tolerance = 4e-2;
        net_case_bf16(&c);
    }
    run_group(&c, group, "global", 16, mode, false);
    run_group(&c, group, "local", 8, mode, true);
    for (int p = 0; p < c.params.count; p++) {
        struct lj_golden expected = golden(group, "gradient", c.params.list[p].name);
        compare(c.params.list[p].name, c.gradient + c.params.list[p].offset, &expected);
        lj_golden_free(&expected);
    }
    net_case_end(&c);
}

Test(vit, class_token_without_registers)
{
    check("class", &base, LJ_PLAN_TRAIN, 0, false);
    check("class", &base, LJ_PLAN_RECOMPUTE, 0, false);
    check("class", &base, LJ_PLAN_TRAIN, 1, false);
    check("class", &base, LJ_PLAN_RECOMPUTE, 1, false);
}

Test(vit, mean_pool_with_two_registers_and_a_head)
{
    struct lj_vit_config config = base;
    config.registers = 2;
    config.mean_pool = true;
    config.head = 5;
    check("mean", &config, LJ_PLAN_TRAIN, 0, false);
    check("mean", &config, LJ_PLAN_RECOMPUTE, 1, false);
}

/* The values of PyTorch in float32 are the golden ones here, too. */
Test(vit, bf16_stays_close)
{
    enum lj_isa isa;
    cr_assert_eq(lj_isa_best(&isa), LJ_OK);
    if (isa < LJ_ISA_AVX512BF16)
        cr_skip("this processor has no bf16 products");
    check("class", &base, LJ_PLAN_TRAIN, 0, true);
    check("class", &base, LJ_PLAN_RECOMPUTE, 1, true);
}

/* timm's vit_small_patch8_224 at 128 pixels with a head of 512: 21 664 640 parameters;
 * torchvision's MLP 512-2048-2048-16 with BatchNorm: 5 287 952. */
Test(vit, counts_of_parameters)
{
    static struct lj_config settings; /* too large for the stack */
    static const char *const words[] = {
        "model=vit_small",       "model.patch=8",      "model.head=512",   "views.global_size=128",
        "projector.hidden=2048", "projector.layers=3", "projector.out=16", "projector.norm=batch"};
    struct lj_model *model;
    lj_config_defaults(&settings);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        cr_assert_eq(lj_config_assign(&settings, words[i]), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_resolve(&settings, 0), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_create(&model, &settings, 3, 1 << 22), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(model->embedding, 512);
    cr_assert_eq(model->params.trained, 21664640 + 5287952, "%lld",
                 (long long)model->params.trained);
    cr_assert_eq(lj_net_trained(model->net[LJ_NET_ENCODER]), 21664640);
    cr_assert_eq(lj_net_trained(model->net[LJ_NET_PROJECTOR]), 5287952);
    cr_assert(lj_params_find(&model->params, "projector.5.running_var") >= 0);
    cr_assert(lj_params_find(&model->params, "projector.8.bias") >= 0);
    lj_model_destroy(model);
}
