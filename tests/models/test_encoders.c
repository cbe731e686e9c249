/* SPDX-License-Identifier: Apache-2.0 */
/* The table of encoders: every row builds, unknown names are answered, automatic values get their
 * numbers, and what an encoder cannot take is refused before anything is built. */
#include "models/models.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct lj_config settings; /* too large for the stack */

/* Defaults, then these, up to NULL. */
static void configure(const char *const *words)
{
    lj_config_defaults(&settings);
    for (; *words; words++)
        cr_assert_eq(lj_config_assign(&settings, *words), LJ_OK, "%s", lj_error_text());
}

#define CONFIGURE(...) configure((const char *const[]){__VA_ARGS__, NULL})

static void expect_sizes(int64_t loaded, int64_t patch, int64_t global, int64_t local)
{
    for (int again = 0; again < 2; again++) { /* resolved settings stay as they are */
        cr_assert_eq(lj_model_resolve(&settings, loaded), LJ_OK, "%s", lj_error_text());
        cr_expect_eq(settings.model_patch, patch, "patch %lld", (long long)settings.model_patch);
        cr_expect_eq(settings.views_global_size, global);
        cr_expect_eq(settings.views_local_size, local, "local %lld",
                     (long long)settings.views_local_size);
    }
}

Test(encoders, automatic_sizes_of_a_vit)
{
    CONFIGURE("model=vit_tiny");
    expect_sizes(28, 4, 28, 12);
    CONFIGURE("model=vit_tiny");
    expect_sizes(48, 8, 48, 24);
    CONFIGURE("model=vit_tiny", "model.patch=14");
    expect_sizes(224, 14, 224, 98);
    CONFIGURE("model=vit_tiny", "model.patch=7"); /* 12 pixels would be fewer than two patches */
    expect_sizes(28, 7, 28, 14);
    CONFIGURE("model=vit_tiny", "views.global_size=64", "views.local_size=16");
    expect_sizes(28, 8, 64, 16);
}

static void expect_refused(int64_t loaded, const char *part)
{
    cr_assert_eq(lj_model_resolve(&settings, loaded), LJ_ERR_CONFIG, "%s", part);
    cr_expect_not_null(strstr(lj_error_text(), part), "%s", lj_error_text());
}

Test(encoders, refuses_what_it_cannot_take)
{
    CONFIGURE("model=vit", "model.patch=5");
    expect_refused(28, "views.global_size: 28 pixels are not a multiple of model.patch 5");
    CONFIGURE("model=vit", "model.patch=7", "views.local_size=12");
    expect_refused(28, "views.local_size: 12 pixels");
    CONFIGURE("model=vit", "model.patch=7", "views.local_size=12", "views.local=0");
    cr_expect_eq(lj_model_resolve(&settings, 28), LJ_OK, "%s", lj_error_text());
    CONFIGURE("model=vit", "model.width=16", "model.heads=3");
    expect_refused(28, "model.heads: 3 does not divide model.width 16");
    CONFIGURE("model=vit_bas");
    expect_refused(
        28, "vit_tiny, vit_small, vit_base, vit_large, vit_huge, vit_giant, vit_gigantic, vit,");
    CONFIGURE("model=");
    expect_refused(28, "there is no encoder ''");
    CONFIGURE("model=resnet1");
    expect_refused(28, "there is no encoder 'resnet1'");
}

/* Facts that others see, of every row of the table. */
Test(encoders, every_row_builds_and_says_what_it_is)
{
    int count;
    const struct lj_encoder *rows = lj_encoders(&count);
    cr_assert_gt(count, 5);
    for (int i = 0; i < count; i++) {
        const struct lj_encoder *found;
        struct lj_model *model;
        CONFIGURE("model.depth=2", "projector.out=16");
        snprintf(settings.model, sizeof settings.model, "%s", rows[i].name);
        cr_assert_eq(lj_encoder_find(rows[i].name, &found), LJ_OK);
        cr_expect_eq(found, &rows[i]);
        cr_assert_eq(lj_model_resolve(&settings, 32), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(lj_model_create(&model, &settings, 5, 1 << 22), LJ_OK, "%s", lj_error_text());
        struct lj_shape global = lj_model_view(model, 0), local = lj_model_view(model, 1);
        cr_expect(lj_shape_equal(&global, &(struct lj_shape){3, {5, 32, 32}}));
        cr_expect(lj_shape_equal(&local, &(struct lj_shape){3, {5, 12, 12}}) ||
                      local.dim[1] == settings.views_local_size,
                  "%s", rows[i].name);
        cr_expect(model->config.channels == 5 && model->config.projector.out == 16);
        cr_expect_gt(model->embedding, 0);
        cr_expect_gt(lj_net_flops(model->net[LJ_NET_ENCODER], &global), 0, "%s", rows[i].name);
        cr_expect(rows[i].text[0] && model->config.text[0], "%s", rows[i].name);
        lj_model_destroy(model);
    }
}

/* Without a head, at 224 pixels and patches of 14: timm 1.0.31 counts as many in
 * vit_giant_patch14_224, vit_gigantic_patch14_224, resnet101 and resnet152. A given ratio is the
 * one, also the default. */
Test(encoders, large_ones_have_timms_counts)
{
    static const struct {
        const char *words[4];
        int64_t parameters;
    } cases[] = {{{"model=vit_giant", "model.patch=14"}, 1011202432},
                 {{"model=vit_gigantic", "model.patch=14"}, 1842775680},
                 {{"model=vit_giant", "model.patch=14", "model.mlp_ratio=4"}, 953510272},
                 {{"model=resnet101"}, 42500160},
                 {{"model=resnet152"}, 58143808}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lj_model *model;
        configure(cases[i].words);
        for (int again = 0; again < 2; again++)
            cr_assert_eq(lj_model_resolve(&settings, 224), LJ_OK, "%s", lj_error_text());
        cr_assert_eq(lj_model_create(&model, &settings, 3, 1 << 22), LJ_OK, "%s", lj_error_text());
        cr_expect_eq(lj_net_trained(model->net[LJ_NET_ENCODER]), cases[i].parameters, "%s: %lld",
                     cases[i].words[0], (long long)lj_net_trained(model->net[LJ_NET_ENCODER]));
        lj_model_destroy(model);
    }
}

/* The line of the log that a ViT always had. */
Test(encoders, a_vit_describes_itself)
{
    struct lj_model *model;
    CONFIGURE("model=vit", "model.width=128", "model.depth=1");
    cr_assert_eq(lj_model_resolve(&settings, 32), LJ_OK);
    cr_assert_eq(lj_model_create(&model, &settings, 1, 1 << 22), LJ_OK, "%s", lj_error_text());
    cr_expect_str_eq(model->config.text, "ViT patch 4, width 128, depth 1, heads 2");
    lj_model_destroy(model);
}

/* What timm makes of it: its hidden width is the integer part of ratio times width. */
Test(encoders, a_vit_names_itself_in_timm)
{
    struct lj_model *model;
    struct lj_timm_model timm;
    CONFIGURE("model=vit", "model.width=128", "model.depth=1", "model.pool=mean",
              "model.registers=2", "model.head=7", "model.mlp_ratio=2.5");
    cr_assert_eq(lj_model_resolve(&settings, 32), LJ_OK);
    cr_assert_eq(lj_model_create(&model, &settings, 4, 1 << 22), LJ_OK, "%s", lj_error_text());
    lj_model_timm(model, &settings, &timm);
    cr_expect_str_eq(timm.architecture, "vit_base_patch16_224");
    cr_expect_str_eq(timm.arguments,
                     "{\"img_size\": 32, \"patch_size\": 4, \"in_chans\": 4, \"embed_dim\": 128, "
                     "\"depth\": 1, \"num_heads\": 2, \"mlp_ratio\": 2.5, \"reg_tokens\": 2, "
                     "\"global_pool\": \"avg\", \"num_classes\": 7}");
    cr_expect(timm.features == 128 && timm.classes == 7);
    settings.model_mlp_ratio = 2.999; /* rounded up to 384 here */
    double ratio = 0;
    lj_model_timm(model, &settings, &timm);
    cr_assert_eq(sscanf(strstr(timm.arguments, "mlp_ratio"), "mlp_ratio\": %lf", &ratio), 1);
    cr_expect_eq((int)(ratio * 128), 384, "%g", ratio);
    lj_model_destroy(model);
}

/* What a family says of automatic settings of the loss and the optimiser; given ones stay. */
Test(encoders, automatic_centre_and_decay)
{
    CONFIGURE("model=vit_tiny");
    cr_expect(settings.predict_centre == LJ_PREDICT_CENTRE_AUTO && settings.optim_weight_decay < 0);
    cr_assert_eq(lj_model_resolve(&settings, 28), LJ_OK);
    cr_expect_eq(settings.predict_centre, LJ_PREDICT_CENTRE_GLOBAL);
    cr_expect_eq(settings.optim_weight_decay, 0.05);
    CONFIGURE("model=vit_tiny", "predict.centre=all", "optim.weight_decay=0");
    cr_assert_eq(lj_model_resolve(&settings, 28), LJ_OK);
    cr_expect_eq(settings.predict_centre, LJ_PREDICT_CENTRE_ALL);
    cr_expect_eq(settings.optim_weight_decay, 0);
}

/* One set of settings for several encoders: each forgets those that it does not read. */
Test(encoders, foreign_settings_are_forgotten_on_request)
{
    const struct lj_encoder *vit, *resnet;
    cr_assert(lj_encoder_find("vit_tiny", &vit) == LJ_OK &&
              lj_encoder_find("resnet18", &resnet) == LJ_OK);
    CONFIGURE("model=resnet18", "model.patch=8", "model.mlp_ratio=2", "model.head=5",
              "model.pool=mean");
    cr_assert_eq(lj_encoder_forget_foreign(vit, &settings), LJ_OK);
    cr_expect(settings.model_patch == 8 && settings.model_mlp_ratio == 2);
    cr_assert_eq(lj_encoder_forget_foreign(resnet, &settings), LJ_OK, "%s", lj_error_text());
    cr_expect(settings.model_patch == 0 && settings.model_mlp_ratio == 4 &&
              settings.model_pool == LJ_MODEL_POOL_TOKEN && settings.model_head == 5);
    cr_expect_eq(lj_model_resolve(&settings, 28), LJ_OK, "%s", lj_error_text());
}

/* ---- an encoder that is not in the table ------------------------------------------------ */

static int resolve_tried(const struct lj_encoder *encoder, struct lj_config *config)
{
    config->views_local_size = encoder->number[1];
    return LJ_OK;
}

static lj_val build_tried(const struct lj_encoder *encoder, const struct lj_config *config,
                          int64_t channels, struct lj_net *net)
{
    int64_t size = config->views_global_size;
    lj_net_scope(net, -1, "%s", "");
    lj_val x = lj_input(net, (struct lj_shape){3, {channels, size, size}}, false);
    x = lj_patch_embed(net, "stem", x, 4, encoder->number[0]);
    x = lj_relu(net, "act", lj_batchnorm(net, "norm", x, true));
    return lj_pool_mean(net, "pool", x, 0);
}

static void describe_tried(const struct lj_encoder *encoder, const struct lj_config *config,
                           char *text, size_t capacity)
{
    (void)config;
    snprintf(text, capacity, "width %lld", (long long)encoder->number[0]);
}

static const struct lj_encoder_family family = {.centre = LJ_PREDICT_CENTRE_ALL,
                                                .weight_decay = 0.25,
                                                .resolve = resolve_tried,
                                                .build = build_tried,
                                                .describe = describe_tried};
static const struct lj_encoder row = {"tried", "for this test", &family, {6, 8}};

/* A layer with shared statistics ends a bucket of the encoder, as it does one of the projector: its
 * backward waits for all lanes. */
Test(encoders, a_row_that_is_tried_acts_as_one_of_the_table)
{
    struct lj_model *model;
    CONFIGURE("model=tried", "projector.norm=layer");
    expect_refused(16, "there is no encoder 'tried'");
    lj_encoder_try(&row);
    cr_assert_eq(lj_model_resolve(&settings, 16), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_model_create(&model, &settings, 2, 1 << 30), LJ_OK, "%s", lj_error_text());
    cr_expect(model->embedding == 6 && model->config.size[1] == 8);
    cr_expect(settings.predict_centre == LJ_PREDICT_CENTRE_ALL &&
              settings.optim_weight_decay == 0.25);
    cr_expect_str_eq(model->config.text, "width 6");
    struct lj_timm_model timm;
    lj_model_timm(model, &settings, &timm);
    cr_expect(!timm.architecture[0] && !timm.arguments[0] && timm.features == 6);
    cr_expect_eq(model->params.buckets, 3);
    cr_expect(model->segment[0].first == 0 && model->segment[0].end == 3, "stem and norm");
    cr_expect(model->segment[1].net == LJ_NET_ENCODER && model->segment[1].first == 3);
    lj_model_destroy(model);
    lj_encoder_try(NULL);
    expect_refused(16, "there is no encoder 'tried'");
}
