/* SPDX-License-Identifier: Apache-2.0 */
/* Two small vision transformers against PyTorch: tensor names and shapes as timm's, embeddings of
 * global and local crops, and every parameter's gradient summed over both groups. */
#include "models/encoders.h"

#include "encoder_case.h"

#include <criterion/criterion.h>

static const struct lj_vit_config base = {
    .channels = 2, .size = 16, .patch = 4, .width = 12, .depth = 2, .heads = 3, .hidden = 20};

static void build(struct lj_net *net, const void *config)
{
    lj_vit(net, config);
}

static void check(const char *group, const struct lj_vit_config *config, enum lj_plan_mode mode,
                  int64_t tile_rows, bool bf16)
{
    struct encoder_case e = {.file = "vit.h5", .group = group, .build = build, .config = config};
    encoder_case_check(&e, mode, tile_rows, bf16, bf16 ? 4e-2 : 2e-5);
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
