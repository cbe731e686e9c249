/* SPDX-License-Identifier: Apache-2.0 */
/* Two small ResNets against timm's: both stems, both kinds of blocks, statistics of the batch and
 * running ones. Sizes, initial weights and counts of the table's rows. */
#include "models/encoders.h"

#include "encoder_case.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct lj_resnet_config small = {
    .channels = 2, .size = 16, .width = 4, .blocks = {1, 2, 1, 1}};
static const struct lj_resnet_config large = {.channels = 2,
                                              .size = 48,
                                              .width = 4,
                                              .blocks = {2, 1, 1, 1},
                                              .bottleneck = true,
                                              .large_stem = true,
                                              .head = 3};

static void build(struct lj_net *net, const void *config)
{
    lj_resnet(net, config);
}

static void check(const char *group, struct lj_resnet_config config, bool over_batch,
                  enum lj_plan_mode mode, bool bf16)
{
    config.over_batch = over_batch;
    struct encoder_case e = {
        .file = "resnet.h5", .group = group, .build = build, .config = &config, .inferred = true};
    encoder_case_check(&e, mode, 1, bf16, bf16 ? 0.1 : 3e-5);
}

Test(resnet, basic_blocks_and_the_small_stem)
{
    check("small", small, false, LJ_PLAN_TRAIN, false);
    check("small", small, true, LJ_PLAN_TRAIN, false);
    check("small", small, false, LJ_PLAN_RECOMPUTE, false);
}

Test(resnet, bottlenecks_the_large_stem_and_a_head)
{
    check("large", large, false, LJ_PLAN_TRAIN, false);
    check("large", large, true, LJ_PLAN_TRAIN, false);
}

/* The values of PyTorch in float32 are the golden ones here, too. */
Test(resnet, bf16_stays_close)
{
    enum lj_isa isa;
    cr_assert_eq(lj_isa_best(&isa), LJ_OK);
    if (isa < LJ_ISA_AVX512BF16)
        cr_skip("this processor has no bf16 products");
    check("small", small, false, LJ_PLAN_TRAIN, true);
    check("large", large, true, LJ_PLAN_TRAIN, true);
}

/* ---- rows of the table ------------------------------------------------------------------ */

static struct lj_config settings; /* too large for the stack */

/* The model of these settings, up to NULL, for images of 3 channels. */
static struct lj_model *model_of(const char *const *words)
{
    struct lj_model *model;
    lj_config_defaults(&settings);
    for (; *words; words++)
        cr_assert_eq(lj_config_assign(&settings, *words), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_resolve(&settings, 224), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_create(&model, &settings, 3, 1 << 22), LJ_OK, "%s", lj_error_text());
    return model;
}

#define MODEL(...) model_of((const char *const[]){__VA_ARGS__, NULL})

/* timm's counts without classifier: resnet18 11 176 512, resnet34 21 284 672, resnet50
 * 23 508 032; the small stem has 64 x 3 x (49 - 9) fewer. */
Test(resnet, counts_of_parameters)
{
    static const struct {
        const char *words[3];
        int64_t count, width;
    } rows[] = {{{"model=resnet18"}, 11176512, 512},
                {{"model=resnet34"}, 21284672, 512},
                {{"model=resnet50"}, 23508032, 2048},
                {{"model=resnet18", "model.stem=small"}, 11176512 - 64 * 3 * 40, 512}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct lj_model *model = model_of(rows[i].words);
        cr_expect_eq(lj_net_trained(model->net[LJ_NET_ENCODER]), rows[i].count, "%s: %lld",
                     rows[i].words[0], (long long)lj_net_trained(model->net[LJ_NET_ENCODER]));
        cr_expect_eq(model->embedding, rows[i].width);
        lj_model_destroy(model);
    }
}

static double deviation_of(const struct lj_params *params, const float *values, const char *name)
{
    const struct lj_param *param = &params->list[lj_params_find(params, name)];
    double squares = 0;
    for (int64_t i = 0; i < param->count; i++)
        squares += (double)values[param->offset + i] * (double)values[param->offset + i];
    return sqrt(squares / (double)param->count);
}

/* Kaiming's deviation by fan out; a branch adds nothing at first. */
Test(resnet, initial_weights_as_timm)
{
    struct lj_model *model = MODEL("model=resnet50", "model.depth=1", "model.width=16");
    const struct lj_params *params = &model->params;
    float *values = calloc((size_t)params->elements, sizeof *values);
    lj_params_init(params, 1, 0, params->elements, values);
    static const struct {
        const char *name;
        double fan_out, expected;
    } rows[] = {{"conv1.weight", 16 * 49, 0},         {"layer1.0.conv1.weight", 16, 0},
                {"layer2.0.conv2.weight", 32 * 9, 0}, {"layer4.0.downsample.0.weight", 512, 0},
                {"layer1.0.bn2.weight", 0, 1},        {"layer1.0.downsample.1.weight", 0, 1},
                {"layer1.0.bn3.weight", 0, 0},        {"layer4.0.bn3.weight", 0, 0},
                {"layer4.0.bn3.bias", 0, 0},          {"layer4.0.bn3.running_var", 0, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double got = deviation_of(params, values, rows[i].name);
        double wanted = rows[i].fan_out > 0 ? sqrt(2 / rows[i].fan_out) : rows[i].expected;
        cr_expect(fabs(got - wanted) <= 0.15 * wanted, "%s: %g, not %g", rows[i].name, got, wanted);
    }
    free(values);
    lj_model_destroy(model);
}

static void expect_sizes(int64_t loaded, enum lj_model_stem stem, int64_t local)
{
    for (int again = 0; again < 2; again++) { /* resolved settings stay as they are */
        cr_assert_eq(lj_model_resolve(&settings, loaded), LJ_OK, "%s", lj_error_text());
        cr_expect_eq(settings.model_stem, stem, "%lld pixels", (long long)loaded);
        cr_expect_eq(settings.views_local_size, local, "local %lld",
                     (long long)settings.views_local_size);
        cr_expect_eq(settings.predict_centre, LJ_PREDICT_CENTRE_ALL);
        cr_expect_eq(settings.optim_weight_decay, 5e-4);
    }
}

static void configure(const char *word)
{
    lj_config_defaults(&settings);
    cr_assert_eq(lj_config_assign(&settings, "model=resnet18"), LJ_OK);
    if (word)
        cr_assert_eq(lj_config_assign(&settings, word), LJ_OK, "%s", lj_error_text());
}

Test(resnet, automatic_settings)
{
    configure(NULL);
    expect_sizes(28, LJ_MODEL_STEM_SMALL, 16);
    configure(NULL);
    expect_sizes(95, LJ_MODEL_STEM_SMALL, 40);
    configure(NULL);
    expect_sizes(96, LJ_MODEL_STEM_LARGE, 64);
    configure(NULL);
    expect_sizes(224, LJ_MODEL_STEM_LARGE, 96);
    configure("model.stem=large");
    expect_sizes(28, LJ_MODEL_STEM_LARGE, 64);
    configure("views.local_size=11");
    expect_sizes(64, LJ_MODEL_STEM_SMALL, 11);
}

static void expect_refused(const char *part)
{
    cr_assert_eq(lj_model_resolve(&settings, 28), LJ_ERR_CONFIG, "%s", part);
    cr_expect_not_null(strstr(lj_error_text(), part), "%s", lj_error_text());
}

Test(resnet, refuses_what_it_has_not)
{
    configure("model.patch=8");
    expect_refused("model.patch=8: model=resnet18 has no such setting");
    configure("model.pool=mean");
    expect_refused("model.pool=mean: model=resnet18 has no such setting");
    configure("model.mlp_ratio=2.5");
    expect_refused("say model.mlp_ratio=4 where");
    configure("model.depth=257");
    expect_refused("at most 256");
    configure("model.patch=0"); /* as a config.yaml has it */
    cr_expect_eq(lj_model_resolve(&settings, 28), LJ_OK, "%s", lj_error_text());
    configure("model=vit_tiny");
    cr_assert_eq(lj_config_assign(&settings, "model.stem=small"), LJ_OK);
    expect_refused("model.stem=small: model=vit_tiny has no such setting");
}

/* timm's arguments make the network where it has 64 features in a large stem. */
Test(resnet, names_itself_in_timm)
{
    struct lj_timm_model timm;
    struct lj_model *model = MODEL("model=resnet50", "model.head=7");
    lj_model_timm(model, &settings, &timm);
    cr_expect_str_eq(timm.architecture, "resnet50");
    cr_expect_str_eq(timm.arguments,
                     "{\"in_chans\": 3, \"layers\": [3, 4, 6, 3], \"global_pool\": \"avg\", "
                     "\"num_classes\": 7}");
    cr_expect(timm.features == 2048 && timm.classes == 7 && timm.any_size);
    lj_model_destroy(model);
    model = MODEL("model=resnet18", "model.stem=small");
    lj_model_timm(model, &settings, &timm);
    cr_expect(!timm.architecture[0] && !timm.arguments[0] && timm.features == 512);
    cr_expect_str_eq(timm.first_conv, "conv1");
    lj_model_destroy(model);
}
