/* SPDX-License-Identifier: Apache-2.0 */
/* Two small ConvNeXt-V2 against timm's, tile by tile and recomputed; sizes and counts of the rows
 * of the table. */
#include "models/encoders.h"

#include "encoder_case.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct lj_convnextv2_config linear = {
    .channels = 2, .size = 32, .patch = 2, .width = 4, .blocks = {1, 2, 1, 1}};
static const struct lj_convnextv2_config conv = {.channels = 2,
                                                 .size = 48,
                                                 .patch = 4,
                                                 .width = 4,
                                                 .blocks = {2, 1, 1, 1},
                                                 .conv_mlp = true,
                                                 .head = 3};

static void build(struct lj_net *net, const void *config)
{
    lj_convnextv2(net, config);
}

static void check(const char *group, const struct lj_convnextv2_config *config,
                  enum lj_plan_mode mode, int64_t tile_rows, bool bf16)
{
    struct encoder_case e = {
        .file = "convnextv2.h5", .group = group, .build = build, .config = config};
    encoder_case_check(&e, mode, tile_rows, bf16, bf16 ? 0.1 : 3e-5);
}

/* With tiles of 200 rows, stages have tiles of one image and of all. */
Test(convnextv2, linear_mlp)
{
    check("linear", &linear, LJ_PLAN_TRAIN, 0, false);
    check("linear", &linear, LJ_PLAN_RECOMPUTE, 0, false);
    check("linear", &linear, LJ_PLAN_TRAIN, 200, false);
    check("linear", &linear, LJ_PLAN_RECOMPUTE, 200, false);
    check("linear", &linear, LJ_PLAN_RECOMPUTE, 1, false);
}

Test(convnextv2, convolutional_mlp_and_a_head)
{
    check("conv", &conv, LJ_PLAN_TRAIN, 0, false);
    check("conv", &conv, LJ_PLAN_RECOMPUTE, 100, false);
}

/* The values of PyTorch in float32 are the golden ones here, too. */
Test(convnextv2, bf16_stays_close)
{
    enum lj_isa isa;
    cr_assert_eq(lj_isa_best(&isa), LJ_OK);
    if (isa < LJ_ISA_AVX512BF16)
        cr_skip("this processor has no bf16 products");
    check("linear", &linear, LJ_PLAN_TRAIN, 0, true);
    check("conv", &conv, LJ_PLAN_RECOMPUTE, 100, true);
}

/* ---- rows of the table ------------------------------------------------------------------ */

static struct lj_config settings; /* too large for the stack */

/* Defaults, then these, up to NULL. */
static void configure(const char *const *words)
{
    lj_config_defaults(&settings);
    for (; *words; words++)
        cr_assert_eq(lj_config_assign(&settings, *words), LJ_OK, "%s", lj_error_text());
}

#define CONFIGURE(...) configure((const char *const[]){__VA_ARGS__, NULL})

/* timm's counts without classifier. */
Test(convnextv2, counts_of_parameters)
{
    static const struct {
        const char *word;
        int64_t count, width;
    } rows[] = {{"model=convnextv2_atto", 3387400, 320},
                {"model=convnextv2_nano", 14982800, 640},
                {"model=convnextv2_tiny", 27866496, 768}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lj_model *model;
        CONFIGURE(rows[i].word);
        cr_assert_eq(lj_model_resolve(&settings, 224), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(lj_model_create(&model, &settings, 3, 1 << 22), LJ_OK, "%s", lj_error_text());
        cr_expect_eq(lj_net_trained(model->net[LJ_NET_ENCODER]), rows[i].count, "%s: %lld",
                     rows[i].word, (long long)lj_net_trained(model->net[LJ_NET_ENCODER]));
        cr_expect_eq(model->embedding, rows[i].width);
        lj_model_destroy(model);
    }
}

static void expect_sizes(int64_t loaded, int64_t patch, int64_t local)
{
    for (int again = 0; again < 2; again++) { /* resolved settings stay as they are */
        cr_assert_eq(lj_model_resolve(&settings, loaded), LJ_OK, "%s", lj_error_text());
        cr_expect_eq(settings.model_patch, patch, "patch %lld", (long long)settings.model_patch);
        cr_expect_eq(settings.views_local_size, local, "local %lld",
                     (long long)settings.views_local_size);
        cr_expect_eq(settings.predict_centre, LJ_PREDICT_CENTRE_ALL);
        cr_expect_eq(settings.optim_weight_decay, 0.05);
    }
}

Test(convnextv2, automatic_settings)
{
    CONFIGURE("model=convnextv2_atto");
    expect_sizes(28, 1, 16);
    CONFIGURE("model=convnextv2_atto");
    expect_sizes(64, 2, 32);
    CONFIGURE("model=convnextv2_atto");
    expect_sizes(224, 4, 96);
    CONFIGURE("model=convnextv2_atto", "model.patch=2", "views.local_size=17");
    expect_sizes(28, 2, 17);
}

static void expect_refused(const char *part)
{
    cr_assert_eq(lj_model_resolve(&settings, 28), LJ_ERR_CONFIG, "%s", part);
    cr_expect_not_null(strstr(lj_error_text(), part), "%s", lj_error_text());
}

Test(convnextv2, refuses_what_it_cannot_take)
{
    CONFIGURE("model=convnextv2", "model.patch=4");
    expect_refused("views.global_size: 28 pixels leave nothing");
    CONFIGURE("model=convnextv2", "model.patch=2", "views.local_size=15");
    expect_refused("views.local_size: 15 pixels leave nothing");
    CONFIGURE("model=convnextv2", "model.patch=2", "views.local_size=15", "views.local=0");
    cr_expect_eq(lj_model_resolve(&settings, 28), LJ_OK, "%s", lj_error_text());
    CONFIGURE("model=convnextv2", "model.stem=small");
    expect_refused("model.stem=small: model=convnextv2 has no such setting");
    CONFIGURE("model=convnextv2", "model.depth=257");
    expect_refused("at most 256");
}

/* timm's arguments make the network where its strides are the same. */
Test(convnextv2, names_itself_in_timm)
{
    struct lj_model *model;
    struct lj_timm_model timm;
    CONFIGURE("model=convnextv2", "model.width=24", "model.depth=2", "model.head=7");
    cr_assert_eq(lj_model_resolve(&settings, 224), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_create(&model, &settings, 5, 1 << 22), LJ_OK, "%s", lj_error_text());
    lj_model_timm(model, &settings, &timm);
    cr_expect_str_eq(timm.architecture, "convnextv2_tiny");
    cr_expect_str_eq(timm.arguments,
                     "{\"in_chans\": 5, \"patch_size\": 4, \"depths\": [2, 2, 2, 2], \"dims\": "
                     "[24, 48, 96, 192], \"global_pool\": \"avg\", \"num_classes\": 7}");
    cr_expect(timm.features == 192 && timm.classes == 7 && timm.any_size);
    settings.model_patch = 2;
    lj_model_timm(model, &settings, &timm);
    cr_expect(!timm.architecture[0] && !timm.arguments[0] && timm.features == 192);
    lj_model_destroy(model);
}
