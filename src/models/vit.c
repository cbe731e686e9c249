/* SPDX-License-Identifier: Apache-2.0 */
/* Vision transformer: pre-norm blocks, qkv with bias, exact GELU, learned positions. */
#include "models/encoders.h"

#include <math.h>
#include <stdio.h>

/* timm cuts the initial values at +-2, where none of this deviation come. */
static const double eps = 1e-6, std = 0.02;

/* Ends a branch: x W^T + b added to the trunk; its own pass only where the branch is dropped at
 * times. */
static lj_val end_branch(struct lj_net *n, const char *name, const char *sum, lj_val trunk,
                         lj_val x, int64_t width, double drop, int64_t layer)
{
    if (drop == 0)
        return lj_linear_residual(n, name, trunk, x, LJ_INIT_NORMAL, std);
    x = lj_linear(n, name, x, width, LJ_INIT_NORMAL, std);
    return lj_residual(n, sum, trunk, x, drop, layer);
}

static lj_val attention_half(struct lj_net *n, const struct lj_vit_config *c, lj_val trunk,
                             double drop, int64_t layer)
{
    lj_val x = lj_layernorm(n, "norm1", trunk, eps);                    /* (T, C)  */
    x = lj_linear(n, "attn.qkv", x, 3 * c->width, LJ_INIT_NORMAL, std); /* (T, 3C) */
    x = lj_attention(n, "attn", x, c->heads);                           /* (T, C)  */
    return end_branch(n, "attn.proj", "sum1", trunk, x, c->width, drop, layer);
}

static lj_val mlp_half(struct lj_net *n, const struct lj_vit_config *c, lj_val trunk, double drop,
                       int64_t layer)
{
    lj_val x = lj_layernorm(n, "norm2", trunk, eps);                /* (T, C)      */
    x = lj_linear(n, "mlp.fc1", x, c->hidden, LJ_INIT_NORMAL, std); /* (T, hidden) */
    x = lj_gelu(n, "mlp.act", x);                                   /* (T, hidden) */
    return end_branch(n, "mlp.fc2", "sum2", trunk, x, c->width, drop, layer);
}

lj_val lj_vit(struct lj_net *n, const struct lj_vit_config *c)
{
    int64_t grid = c->size / c->patch;
    lj_net_scope(n, -1, "%s", "");
    lj_val x = lj_input(n, (struct lj_shape){3, {c->channels, c->size, c->size}}, false);
    x = lj_patch_embed(n, "patch_embed", x, c->patch, c->width); /* (T, C) */
    x = lj_tokens(n, "tokens", x, c->registers, grid, grid);     /* + class, registers */
    for (int b = 0; b < (int)c->depth; b++) {
        double drop = c->depth > 1 ? c->drop_path * b / (double)(c->depth - 1) : 0;
        lj_net_scope(n, 2 * b, "blocks.%d", b);
        x = attention_half(n, c, x, drop, 2 * b);
        lj_net_scope(n, 2 * b + 1, "blocks.%d", b);
        x = mlp_half(n, c, x, drop, 2 * b + 1);
    }
    lj_net_scope(n, -1, "%s", "");
    if (c->mean_pool)
        x = lj_layernorm(n, "fc_norm", lj_pool_mean(n, "pool", x, 1 + c->registers), eps);
    else
        x = lj_pool_token(n, "pool", lj_layernorm(n, "norm", x, eps));
    if (c->head > 0)
        x = lj_linear(n, "head", x, c->head, LJ_INIT_NORMAL, std);
    return x; /* (C) */
}

/* ---- family ----------------------------------------------------------------------------- */

static struct lj_vit_config config_of(const struct lj_encoder *encoder,
                                      const struct lj_config *settings, int64_t channels)
{
    struct lj_vit_config c = {
        .channels = channels,
        .size = settings->views_global_size,
        .patch = settings->model_patch,
        .width = settings->model_width ? settings->model_width : encoder->number[LJ_VIT_WIDTH],
        .depth = settings->model_depth ? settings->model_depth : encoder->number[LJ_VIT_DEPTH],
        .heads = settings->model_width ? 0 : encoder->number[LJ_VIT_HEADS],
        .registers = settings->model_registers,
        .head = settings->model_head,
        .mean_pool = settings->model_pool == LJ_MODEL_POOL_MEAN,
        .drop_path = settings->model_drop_path};
    c.hidden = llround(settings->model_mlp_ratio * (double)c.width);
    if (settings->model_heads)
        c.heads = settings->model_heads;
    else if (c.heads == 0)
        c.heads = lj_max_i64(c.width / 64, 1);
    return c;
}

static int check_size(const char *key, int64_t size, int64_t patch)
{
    if (size % patch == 0)
        return LJ_OK;
    return lj_fail(
        LJ_ERR_CONFIG,
        "%s: %lld pixels are not a multiple of model.patch %lld; nearest sizes that are: "
        "%lld and %lld, or choose another model.patch",
        key, (long long)size, (long long)patch, (long long)(size / patch * patch),
        (long long)lj_round_up(size, patch));
}

/* The row's ratio, unless one is given, be it the default. */
static void resolve_ratio(const struct lj_encoder *encoder, struct lj_config *settings)
{
    if (encoder->number[LJ_VIT_HIDDEN] && !lj_config_is_given(settings, "model.mlp_ratio"))
        settings->model_mlp_ratio =
            (double)encoder->number[LJ_VIT_HIDDEN] / (double)encoder->number[LJ_VIT_WIDTH];
}

/* The patch: 8 pixels, 4 in small images. It divides the sizes of all views. */
static int resolve(const struct lj_encoder *encoder, struct lj_config *settings)
{
    resolve_ratio(encoder, settings);
    struct lj_vit_config c = config_of(encoder, settings, 1);
    if (c.width % c.heads != 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "model.heads: %lld does not divide model.width %lld; change one of them",
                       (long long)c.heads, (long long)c.width);
    if (!settings->model_patch)
        settings->model_patch = c.size < 48 ? 4 : 8;
    if (!settings->views_local_size)
        settings->views_local_size = lj_automatic_local_size(c.size, settings->model_patch);
    LJ_TRY(check_size("views.global_size", c.size, settings->model_patch));
    return settings->views_local > 0
               ? check_size("views.local_size", settings->views_local_size, settings->model_patch)
               : LJ_OK;
}

static lj_val build(const struct lj_encoder *encoder, const struct lj_config *settings,
                    int64_t channels, struct lj_net *net)
{
    struct lj_vit_config c = config_of(encoder, settings, channels);
    return lj_vit(net, &c);
}

static void find(const struct lj_encoder *encoder, const struct lj_config *settings,
                 const struct lj_net *net, struct lj_encoder_places *places)
{
    struct lj_vit_config c = config_of(encoder, settings, 1);
    int last = (int)c.depth - 1;
    int32_t norm = lj_net_find(net, "norm"), pool = lj_net_find(net, "pool");
    places->layer[0] = last > 0 ? net->node[lj_net_find(net, "blocks.%d.norm1", last)].in[0] : -1;
    places->layer[1] = net->node[c.mean_pool ? pool : norm].in[0];
    places->pooled = c.mean_pool ? lj_net_find(net, "fc_norm") : pool;
    places->tokens = net->node[pool].in[0];
    places->attention = lj_net_find(net, "blocks.%d.attn", last);
    places->by_class = !c.mean_pool;
    places->prefix = 1 + c.registers;
    places->grid[0] = places->grid[1] = c.size / c.patch;
}

static void describe(const struct lj_encoder *encoder, const struct lj_config *settings, char *text,
                     size_t capacity)
{
    struct lj_vit_config c = config_of(encoder, settings, 1);
    snprintf(text, capacity, "ViT patch %lld, width %lld, depth %lld, heads %lld",
             (long long)c.patch, (long long)c.width, (long long)c.depth, (long long)c.heads);
}

/* A ratio whose product with the width timm cuts to our hidden width. */
static double timm_ratio(const struct lj_vit_config *c, double ratio)
{
    bool exact = (int64_t)(ratio * (double)c->width) == c->hidden;
    return exact ? ratio : ((double)c->hidden + 0.5) / (double)c->width;
}

/* Any plain entry point of timm's would do, since all its numbers are arguments. */
static void name_in_timm(const struct lj_encoder *encoder, const struct lj_config *settings,
                         int64_t channels, struct lj_timm_model *timm)
{
    struct lj_vit_config c = config_of(encoder, settings, channels);
    timm->pool = c.mean_pool ? "avg" : "token";
    timm->first_conv = "patch_embed.proj";
    timm->classifier = "head";
    timm->features = c.width;
    timm->classes = c.head;
    timm->prefix = 1 + c.registers;
    snprintf(timm->architecture, sizeof timm->architecture, "vit_base_patch16_224");
    snprintf(timm->arguments, sizeof timm->arguments,
             "{\"img_size\": %lld, \"patch_size\": %lld, \"in_chans\": %lld, \"embed_dim\": %lld, "
             "\"depth\": %lld, \"num_heads\": %lld, \"mlp_ratio\": %.17g, \"reg_tokens\": %lld, "
             "\"global_pool\": \"%s\", \"num_classes\": %lld}",
             (long long)c.size, (long long)c.patch, (long long)channels, (long long)c.width,
             (long long)c.depth, (long long)c.heads, timm_ratio(&c, settings->model_mlp_ratio),
             (long long)c.registers, timm->pool, (long long)c.head);
}

static const char *const settings_read[] = {
    "model.patch",     "model.width", "model.depth", "model.heads",     "model.mlp_ratio",
    "model.registers", "model.pool",  "model.head",  "model.drop_path", NULL};

const struct lj_encoder_family lj_family_vit = {.name = "ViT",
                                                .settings = settings_read,
                                                .centre = LJ_PREDICT_CENTRE_GLOBAL,
                                                .weight_decay = 0.05,
                                                .resolve = resolve,
                                                .build = build,
                                                .find = find,
                                                .describe = describe,
                                                .timm = name_in_timm,
                                                .mark = "patch_embed.proj.weight",
                                                .recognise = lj_recognise_vit};
