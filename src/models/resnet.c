/* SPDX-License-Identifier: Apache-2.0 */
/* Residual network: four stages of blocks, each stage with half of the resolution and twice the
 * width of the one before; the embedding is the mean over positions. A block adds a branch of two
 * 3x3 convolutions to its input, or of three (1x1, 3x3, 1x1) with a narrow middle; its stride is
 * that of its first 3x3 convolution. Two stems: 7x7 with stride 2 and max pooling, as published,
 * or, for small images, 3x3 at full resolution without pooling. */
#include "models/encoders.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BOTTLENECK_WIDENING = 4, SMALL_PIXELS = 96 };

/* The deviation of He et al. 2015, by the outputs that an input reaches. */
static double deviation(int64_t width, int64_t kernel)
{
    return sqrt(2 / (double)(width * kernel * kernel));
}

static struct lj_conv_shape conv_shape(int64_t width, int64_t kernel, int64_t stride)
{
    return (struct lj_conv_shape){
        .width = width, .kernel = kernel, .stride = stride, .padding = kernel / 2};
}

static lj_val conv(struct lj_net *n, const char *name, lj_val x, struct lj_conv_shape shape)
{
    return lj_conv(n, name, x, shape, LJ_INIT_NORMAL, deviation(shape.width, shape.kernel));
}

/* What is added to the shortcut, but for its last normalisation. */
static lj_val branch(struct lj_net *n, const struct lj_resnet_config *c, lj_val x, int64_t width,
                     int64_t stride)
{
    if (!c->bottleneck) {
        x = conv(n, "conv1", x, conv_shape(width, 3, stride));
        x = lj_batchnorm_relu(n, "bn1", x, c->over_batch);
        return conv(n, "conv2", x, conv_shape(width, 3, 1));
    }
    x = conv(n, "conv1", x, conv_shape(width, 1, 1));
    x = lj_batchnorm_relu(n, "bn1", x, c->over_batch);
    x = conv(n, "conv2", x, conv_shape(width, 3, stride));
    x = lj_batchnorm_relu(n, "bn2", x, c->over_batch);
    return conv(n, "conv3", x, conv_shape(BOTTLENECK_WIDENING * width, 1, 1));
}

/* Features of a stage's output. */
static int64_t outer_width(const struct lj_resnet_config *c, int64_t width)
{
    return c->bottleneck ? BOTTLENECK_WIDENING * width : width;
}

/* Width of the last stage's output. */
static int64_t features_of(const struct lj_resnet_config *c)
{
    return outer_width(c, c->width << (LJ_STAGES - 1));
}

/* ReLU of shortcut and branch. Its own passes only where the branch is dropped at times. */
static lj_val join(struct lj_net *n, const struct lj_resnet_config *c, lj_val shortcut,
                   lj_val added, double drop, int64_t layer)
{
    const char *norm = c->bottleneck ? "bn3" : "bn2";
    if (drop == 0)
        return lj_batchnorm_residual(n, norm, shortcut, added, c->over_batch);
    added = lj_batchnorm_zero(n, norm, added, c->over_batch);
    return lj_relu(n, "act", lj_residual(n, "sum", shortcut, added, drop, layer));
}

/* (H, W, C) to (H / stride, W / stride, outer width); in: C. */
static lj_val block(struct lj_net *n, const struct lj_resnet_config *c, lj_val x, int64_t in,
                    int64_t width, int64_t stride, double drop, int64_t layer)
{
    int64_t out = outer_width(c, width);
    lj_val added = branch(n, c, x, width, stride), shortcut = x;
    if (stride != 1 || in != out) {
        shortcut = conv(n, "downsample.0", x, conv_shape(out, 1, stride));
        shortcut = lj_batchnorm(n, "downsample.1", shortcut, c->over_batch);
    }
    return join(n, c, shortcut, added, drop, layer);
}

static lj_val stem(struct lj_net *n, const struct lj_resnet_config *c, lj_val x)
{
    struct lj_conv_shape shape = conv_shape(c->width, c->large_stem ? 7 : 3, c->large_stem ? 2 : 1);
    x = lj_stem(n, "conv1", x, shape, LJ_INIT_NORMAL, deviation(shape.width, shape.kernel));
    x = lj_batchnorm_relu(n, "bn1", x, c->over_batch);
    return c->large_stem ? lj_max_pool(n, "maxpool", x, 3, 2, 1) : x;
}

/* All four stages, from the stem's output. */
static lj_val stages(struct lj_net *n, const struct lj_resnet_config *c, lj_val x)
{
    int64_t in = c->width, width = c->width, layer = 0, last = lj_sum_of_stages(c->blocks) - 1;
    for (int stage = 0; stage < LJ_STAGES; stage++, width *= 2)
        for (int64_t b = 0; b < c->blocks[stage]; b++, layer++) {
            double drop = last > 0 ? c->drop_path * (double)layer / (double)last : 0;
            /* Statistics of the global batch end the pass of a lane in the middle of a block. */
            lj_net_scope(n, c->over_batch ? -1 : (int32_t)layer, "layer%d.%lld", stage + 1,
                         (long long)b);
            x = block(n, c, x, in, width, stage > 0 && b == 0 ? 2 : 1, drop, layer);
            in = outer_width(c, width);
        }
    return x;
}

lj_val lj_resnet(struct lj_net *n, const struct lj_resnet_config *c)
{
    lj_net_scope(n, -1, "%s", "");
    lj_val x = lj_input(n, (struct lj_shape){3, {c->channels, c->size, c->size}}, false);
    x = stages(n, c, stem(n, c, x)); /* (H, W, C) */
    lj_net_scope(n, -1, "%s", "");
    x = lj_pool_mean(n, "pool", x, 0); /* (C) */
    if (c->head > 0)
        x = lj_linear(n, "fc", x, c->head, LJ_INIT_UNIFORM, 1 / sqrt((double)features_of(c)));
    return x;
}

/* ---- family ----------------------------------------------------------------------------- */

enum { WIDTH, BOTTLENECK, BLOCKS }; /* of lj_encoder.number */

static struct lj_resnet_config config_of(const struct lj_encoder *encoder,
                                         const struct lj_config *settings, int64_t channels)
{
    struct lj_resnet_config c = {.channels = channels,
                                 .size = settings->views_global_size,
                                 .width = settings->model_width ? settings->model_width
                                                                : encoder->number[WIDTH],
                                 .bottleneck = encoder->number[BOTTLENECK] != 0,
                                 .large_stem = settings->model_stem == LJ_MODEL_STEM_LARGE,
                                 .over_batch = settings->model_norm == LJ_MODEL_NORM_BATCH,
                                 .head = settings->model_head,
                                 .drop_path = settings->model_drop_path};
    lj_blocks_of_stages(c.blocks, &encoder->number[BLOCKS], settings);
    return c;
}

/* Views of any size will do; local ones have at least two positions a side at the end, if their
 * size is left to us. */
static int resolve(const struct lj_encoder *encoder, struct lj_config *settings)
{
    (void)encoder;
    int64_t size = settings->views_global_size;
    LJ_TRY(lj_check_stages(settings));
    if (settings->model_stem == LJ_MODEL_STEM_AUTO)
        settings->model_stem = size < SMALL_PIXELS ? LJ_MODEL_STEM_SMALL : LJ_MODEL_STEM_LARGE;
    int64_t stride = settings->model_stem == LJ_MODEL_STEM_SMALL ? 8 : 32;
    if (!settings->views_local_size)
        settings->views_local_size = lj_automatic_local_size(size, stride);
    return LJ_OK;
}

static lj_val build(const struct lj_encoder *encoder, const struct lj_config *settings,
                    int64_t channels, struct lj_net *net)
{
    struct lj_resnet_config c = config_of(encoder, settings, channels);
    return lj_resnet(net, &c);
}

static void find(const struct lj_encoder *encoder, const struct lj_config *settings,
                 const struct lj_net *net, struct lj_encoder_places *places)
{
    (void)encoder, (void)settings;
    int32_t pool = lj_net_find(net, "pool");
    lj_places_of_stages(places, net, lj_net_find(net, "layer%d.0.conv1", LJ_STAGES), pool);
}

static void describe(const struct lj_encoder *encoder, const struct lj_config *settings, char *text,
                     size_t capacity)
{
    struct lj_resnet_config c = config_of(encoder, settings, 1);
    snprintf(text, capacity, "ResNet width %lld, %s blocks %lld-%lld-%lld-%lld, %s stem",
             (long long)c.width, c.bottleneck ? "bottleneck" : "basic", (long long)c.blocks[0],
             (long long)c.blocks[1], (long long)c.blocks[2], (long long)c.blocks[3],
             c.large_stem ? "large" : "small");
}

/* timm's arguments reach every width of the stages, but its stem is the large one with 64
 * features. Of others it knows the tensors' names only. */
static void name_in_timm(const struct lj_encoder *encoder, const struct lj_config *settings,
                         int64_t channels, struct lj_timm_model *timm)
{
    struct lj_resnet_config c = config_of(encoder, settings, channels);
    timm->pool = "avg";
    timm->first_conv = "conv1";
    timm->classifier = "fc";
    timm->features = features_of(&c);
    timm->classes = c.head;
    timm->any_size = true;
    if (!c.large_stem || c.width != 64)
        return;
    snprintf(timm->architecture, sizeof timm->architecture, c.bottleneck ? "resnet50" : "resnet18");
    snprintf(timm->arguments, sizeof timm->arguments,
             "{\"in_chans\": %lld, \"layers\": [%lld, %lld, %lld, %lld], \"global_pool\": \"avg\", "
             "\"num_classes\": %lld}",
             (long long)channels, (long long)c.blocks[0], (long long)c.blocks[1],
             (long long)c.blocks[2], (long long)c.blocks[3], (long long)c.head);
}

/* ---- in a file of timm ------------------------------------------------------------------- */

/* Antialiased downsampling has no tensors. */
static int check_kind(const struct lj_encoder_file *file)
{
    if (strncmp(file->architecture, "resnetaa", 8) == 0 ||
        strncmp(file->architecture, "resnetblur", 10) == 0)
        return lj_refuse_encoder(file, "has antialiased strides");
    if (lj_find_tensor(file, "conv1.0.weight"))
        return lj_refuse_encoder(file, "has a stem of several convolutions");
    if (lj_find_tensor(file, "bn1.weight") && !lj_find_tensor(file, "bn1.running_mean"))
        return lj_refuse_encoder(file, "has another normalisation than over batches");
    return LJ_OK;
}

static int recognise(const struct lj_encoder_file *file, bool choose, struct lj_config *settings)
{
    const struct lj_tensor *stem, *first;
    int64_t blocks[LJ_STAGES];
    char name[16];
    LJ_TRY(check_kind(file));
    LJ_TRY(lj_check_mean_pool(file));
    LJ_TRY(lj_expect_tensor(file, "conv1.weight", 4, &stem));
    LJ_TRY(lj_expect_tensor(file, lj_family_resnet.mark, 4, &first));
    if (first->dim[0] != stem->dim[0])
        return lj_refuse_encoder(file, "has wider or grouped blocks (Wide ResNet, ResNeXt)");
    for (int s = 0; s < LJ_STAGES; s++) {
        snprintf(name, sizeof name, "layer%d", s + 1);
        LJ_TRY(lj_count_blocks(file, name, "conv1.weight", LJ_STAGE_BLOCKS_MAX, &blocks[s]));
    }
    bool bottleneck = lj_find_tensor(file, "layer1.0.conv3.weight") != NULL;
    if (choose)
        LJ_TRY(lj_recognise_stages(file, &lj_family_resnet, stem->dim[0], bottleneck, blocks,
                                   settings));
    LJ_TRY(lj_take_text(settings, "model.stem", stem->dim[2] == 3 ? "small" : "large"));
    return lj_take_size(settings, file->size);
}

static const char *const settings_read[] = {
    "model.width", "model.depth", "model.head", "model.drop_path",
    "model.stem",  "model.norm",  NULL};

const struct lj_encoder_family lj_family_resnet = {.name = "ResNet",
                                                   .settings = settings_read,
                                                   .centre = LJ_PREDICT_CENTRE_ALL,
                                                   .weight_decay = 5e-4,
                                                   .resolve = resolve,
                                                   .build = build,
                                                   .find = find,
                                                   .describe = describe,
                                                   .timm = name_in_timm,
                                                   .mark = "layer1.0.conv1.weight",
                                                   .recognise = recognise};
