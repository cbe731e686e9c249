/* SPDX-License-Identifier: Apache-2.0 */
/* ConvNeXt-V2 (Woo et al. 2023): patches, then four stages of blocks, each stage with half of the
 * resolution and twice the width of the one before; the embedding is the norm of the mean over
 * positions. A block adds to its input a 7x7 depthwise convolution and an MLP with global response
 * normalisation. No statistics cross images, so blocks run in tiles. */
#include "models/encoders.h"

#include <math.h>
#include <stdio.h>

enum { KERNEL = 7, WIDENING = 4 };
static const double eps = 1e-6, std = 0.02;

/* The larger ones of timm have linear layers in the MLP, the smaller ones 1x1 convolutions: the
 * same, but their weights have two axes more. */
static lj_val linear(struct lj_net *n, const struct lj_convnextv2_config *c, const char *name,
                     lj_val x, int64_t width)
{
    struct lj_conv_shape point = {.width = width, .kernel = 1, .stride = 1, .bias = true};
    return c->conv_mlp ? lj_conv(n, name, x, point, LJ_INIT_NORMAL, std)
                       : lj_linear(n, name, x, width, LJ_INIT_NORMAL, std);
}

/* (H, W, C) to (H, W, C), C the width. */
static lj_val block(struct lj_net *n, const struct lj_convnextv2_config *c, lj_val trunk,
                    int64_t width, double drop, int64_t layer)
{
    lj_val x = lj_conv_depthwise(n, "conv_dw", trunk, KERNEL, true, LJ_INIT_NORMAL, std);
    x = lj_layernorm(n, "norm", x, eps);
    x = lj_gelu(n, "mlp.act", linear(n, c, "mlp.fc1", x, WIDENING * width));
    x = lj_grn(n, "mlp.grn", x);
    if (drop == 0 && !c->conv_mlp)
        return lj_linear_residual(n, "mlp.fc2", trunk, x, LJ_INIT_NORMAL, std);
    return lj_residual(n, "sum", trunk, linear(n, c, "mlp.fc2", x, width), drop, layer);
}

/* (H, W, C) to (H / 2, W / 2, width) */
static lj_val downsample(struct lj_net *n, lj_val x, int64_t width)
{
    struct lj_conv_shape halve = {.width = width, .kernel = 2, .stride = 2, .bias = true};
    x = lj_layernorm(n, "downsample.0", x, eps);
    return lj_conv(n, "downsample.1", x, halve, LJ_INIT_NORMAL, std);
}

static lj_val stem(struct lj_net *n, const struct lj_convnextv2_config *c, lj_val x)
{
    struct lj_conv_shape patches = {
        .width = c->width, .kernel = c->patch, .stride = c->patch, .bias = true};
    x = lj_stem(n, "stem.0", x, patches, LJ_INIT_NORMAL, std);
    return lj_layernorm(n, "stem.1", x, eps);
}

/* All four stages, from the stem's output. */
static lj_val stages(struct lj_net *n, const struct lj_convnextv2_config *c, lj_val x)
{
    int64_t width = c->width, layer = 0, last = lj_sum_of_stages(c->blocks) - 1;
    int32_t unit = 0; /* of the plan */
    for (int stage = 0; stage < LJ_STAGES; stage++, width *= 2) {
        lj_net_scope(n, unit++, "stages.%d", stage);
        x = stage > 0 ? downsample(n, x, width) : x;
        for (int64_t b = 0; b < c->blocks[stage]; b++, layer++) {
            double drop = last > 0 ? c->drop_path * (double)layer / (double)last : 0;
            lj_net_scope(n, unit++, "stages.%d.blocks.%lld", stage, (long long)b);
            x = block(n, c, x, width, drop, layer);
        }
    }
    return x;
}

lj_val lj_convnextv2(struct lj_net *n, const struct lj_convnextv2_config *c)
{
    lj_net_scope(n, -1, "%s", "");
    lj_val x = lj_input(n, (struct lj_shape){3, {c->channels, c->size, c->size}}, false);
    x = stages(n, c, stem(n, c, x)); /* (H, W, C) */
    lj_net_scope(n, -1, "%s", "");
    x = lj_layernorm(n, "head.norm", lj_pool_mean(n, "pool", x, 0), eps); /* (C) */
    return c->head > 0 ? lj_linear(n, "head.fc", x, c->head, LJ_INIT_NORMAL, std) : x;
}

/* ---- family ----------------------------------------------------------------------------- */

enum { WIDTH, CONV_MLP, BLOCKS }; /* of lj_encoder.number */

/* Pixels of a position of the last stage, in patches. */
enum { PATCHES = 1 << (LJ_STAGES - 1) };

static struct lj_convnextv2_config config_of(const struct lj_encoder *encoder,
                                             const struct lj_config *settings, int64_t channels)
{
    struct lj_convnextv2_config c = {.channels = channels,
                                     .size = settings->views_global_size,
                                     .patch = settings->model_patch,
                                     .width = settings->model_width ? settings->model_width
                                                                    : encoder->number[WIDTH],
                                     .conv_mlp = encoder->number[CONV_MLP] != 0,
                                     .head = settings->model_head,
                                     .drop_path = settings->model_drop_path};
    lj_blocks_of_stages(c.blocks, &encoder->number[BLOCKS], settings);
    return c;
}

static int check_size(const char *key, int64_t size, int64_t patch)
{
    if (size >= PATCHES * patch)
        return LJ_OK;
    return lj_fail(
        LJ_ERR_CONFIG,
        "%s: %lld pixels leave nothing to the last stage, which needs at least %lld with "
        "model.patch %lld; use larger views or a smaller model.patch",
        key, (long long)size, (long long)(PATCHES * patch), (long long)patch);
}

/* The patch: 4 pixels, fewer in small images. Views of any size that reaches the last stage will
 * do: pixels that are left over at the right and at the bottom are not seen, as in timm. */
static int resolve(const struct lj_encoder *encoder, struct lj_config *settings)
{
    (void)encoder;
    int64_t size = settings->views_global_size;
    LJ_TRY(lj_check_stages(settings));
    if (!settings->model_patch)
        settings->model_patch = size < 48 ? 1 : size < 96 ? 2 : 4;
    if (!settings->views_local_size)
        settings->views_local_size = lj_automatic_local_size(size, PATCHES * settings->model_patch);
    LJ_TRY(check_size("views.global_size", size, settings->model_patch));
    return settings->views_local > 0
               ? check_size("views.local_size", settings->views_local_size, settings->model_patch)
               : LJ_OK;
}

static lj_val build(const struct lj_encoder *encoder, const struct lj_config *settings,
                    int64_t channels, struct lj_net *net)
{
    struct lj_convnextv2_config c = config_of(encoder, settings, channels);
    return lj_convnextv2(net, &c);
}

static void find(const struct lj_encoder *encoder, const struct lj_config *settings,
                 const struct lj_net *net, struct lj_encoder_places *places)
{
    (void)encoder, (void)settings;
    lj_places_of_stages(places, net, lj_net_find(net, "stages.%d.downsample.0", LJ_STAGES - 1),
                        lj_net_find(net, "head.norm"));
}

static void describe(const struct lj_encoder *encoder, const struct lj_config *settings, char *text,
                     size_t capacity)
{
    struct lj_convnextv2_config c = config_of(encoder, settings, 1);
    snprintf(text, capacity, "ConvNeXt-V2 patch %lld, width %lld, blocks %lld-%lld-%lld-%lld",
             (long long)c.patch, (long long)c.width, (long long)c.blocks[0], (long long)c.blocks[1],
             (long long)c.blocks[2], (long long)c.blocks[3]);
}

/* Pixels of a patch from which on timm's output_stride of 32 is reached before the last stage. */
enum { TIMM_WIDE_PATCH = 8 };

/* timm's halves the resolution once more before the first stage if the patch has 2 pixels, and one
 * time less before the last if it has 8 or more: of these it knows the tensors' names only. */
static void name_in_timm(const struct lj_encoder *encoder, const struct lj_config *settings,
                         int64_t channels, struct lj_timm_model *timm)
{
    struct lj_convnextv2_config c = config_of(encoder, settings, channels);
    timm->pool = "avg";
    timm->first_conv = "stem.0";
    timm->classifier = "head.fc";
    timm->features = c.width << (LJ_STAGES - 1);
    timm->classes = c.head;
    timm->any_size = true;
    if (c.patch == 2 || c.patch >= TIMM_WIDE_PATCH)
        return;
    snprintf(timm->architecture, sizeof timm->architecture,
             c.conv_mlp ? "convnextv2_atto" : "convnextv2_tiny");
    snprintf(timm->arguments, sizeof timm->arguments,
             "{\"in_chans\": %lld, \"patch_size\": %lld, \"depths\": [%lld, %lld, %lld, %lld], "
             "\"dims\": [%lld, %lld, %lld, %lld], \"global_pool\": \"avg\", \"num_classes\": %lld}",
             (long long)channels, (long long)c.patch, (long long)c.blocks[0],
             (long long)c.blocks[1], (long long)c.blocks[2], (long long)c.blocks[3],
             (long long)c.width, (long long)(2 * c.width), (long long)(4 * c.width),
             (long long)(8 * c.width), (long long)c.head);
}

/* ---- in a file of timm ------------------------------------------------------------------- */

static int recognise(const struct lj_encoder_file *file, bool choose, struct lj_config *settings)
{
    const struct lj_tensor *stem, *mlp = lj_find_tensor(file, "stages.0.blocks.0.mlp.fc1.weight");
    int64_t blocks[LJ_STAGES];
    char name[24];
    LJ_TRY(lj_check_mean_pool(file));
    if (!lj_find_tensor(file, "stages.0.blocks.0.mlp.grn.weight"))
        return lj_refuse_encoder(file, "has no global response normalisation (ConvNeXt, not V2)");
    LJ_TRY(lj_expect_tensor(file, "stem.0.weight", 4, &stem));
    if (stem->dim[2] >= TIMM_WIDE_PATCH && !file->ours)
        return lj_refuse_encoder(file, "has patches of 8 pixels or more, with which timm dilates "
                                       "the last stage");
    for (int s = 0; s < LJ_STAGES; s++) {
        snprintf(name, sizeof name, "stages.%d.blocks", s);
        LJ_TRY(lj_count_blocks(file, name, "norm.weight", LJ_STAGE_BLOCKS_MAX, &blocks[s]));
    }
    if (choose)
        LJ_TRY(lj_recognise_stages(file, &lj_family_convnextv2, stem->dim[0], mlp && mlp->dims == 4,
                                   blocks, settings));
    LJ_TRY(lj_take_number(settings, "model.patch", stem->dim[2]));
    return lj_take_size(settings, file->size);
}

static const char *const settings_read[] = {"model.patch", "model.width",     "model.depth",
                                            "model.head",  "model.drop_path", NULL};

const struct lj_encoder_family lj_family_convnextv2 = {.name = "ConvNeXt-V2",
                                                       .settings = settings_read,
                                                       .centre = LJ_PREDICT_CENTRE_ALL,
                                                       .weight_decay = 0.05,
                                                       .resolve = resolve,
                                                       .build = build,
                                                       .find = find,
                                                       .describe = describe,
                                                       .timm = name_in_timm,
                                                       .mark = "stages.0.blocks.0.conv_dw.weight",
                                                       .recognise = recognise};
