/* SPDX-License-Identifier: Apache-2.0 */
#include "layer_cases.h"

static lj_val linear(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_linear(net, "layer", x, c->op.out, LJ_INIT_NORMAL, 1);
}

static lj_val layernorm(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_layernorm(net, "layer", x, c->op.eps);
}

static lj_val cosine(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_cosine(net, "layer", x, c->op.out);
}

static lj_val gelu(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_gelu(net, "layer", x);
}

static lj_val grn(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_grn(net, "layer", x);
}

static lj_val relu(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_relu(net, "layer", x);
}

static lj_val attention(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_attention(net, "layer", x, c->op.heads);
}

static lj_val tokens(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_tokens(net, "layer", x, c->op.skip, c->op.grid0[0], c->op.grid0[1]);
}

static lj_val patch_embed(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_patch_embed(net, "layer", x, c->op.patch, c->op.out);
}

static struct lj_conv_shape conv_shape(const struct layer_case *c, bool bias)
{
    return (struct lj_conv_shape){c->op.out, c->op.patch, c->op.stride, c->op.padding, bias};
}

static lj_val conv(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_conv(net, "layer", x, conv_shape(c, true), LJ_INIT_UNIFORM, 1);
}

static lj_val conv_without_bias(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_conv(net, "layer", x, conv_shape(c, false), LJ_INIT_UNIFORM, 1);
}

static lj_val stem(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_stem(net, "layer", x, conv_shape(c, true), LJ_INIT_UNIFORM, 1);
}

static lj_val stem_without_bias(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_stem(net, "layer", x, conv_shape(c, false), LJ_INIT_UNIFORM, 1);
}

static lj_val conv_depthwise(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_conv_depthwise(net, "layer", x, c->op.patch, c->op.padding == 1, LJ_INIT_UNIFORM, 1);
}

static lj_val pool_token(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_pool_token(net, "layer", x);
}

static lj_val pool_mean(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_pool_mean(net, "layer", x, c->op.skip);
}

static lj_val pool_max(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_max_pool(net, "layer", x, c->op.window[0], c->op.window[1], c->op.window[2]);
}

static lj_val batchnorm_lane(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_batchnorm(net, "layer", x, false);
}

static lj_val batchnorm_batch(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_batchnorm(net, "layer", x, true);
}

static lj_val batchnorm_relu(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_batchnorm_relu(net, "layer", x, false);
}

static lj_val batchnorm_relu_batch(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_batchnorm_relu(net, "layer", x, true);
}

static void reference_batchnorm_relu(const struct reference_op *op, const double *x,
                                     const double *const *p, double *y)
{
    reference_batchnorm(op, x, p, y);
    reference_relu(op, y, NULL, y);
}

/* y = relu(x + batchnorm(gelu(x))) */
static lj_val batchnorm_residual_lane(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_batchnorm_residual(net, "layer", x, lj_gelu(net, "branch", x), false);
}

static lj_val batchnorm_residual_batch(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_batchnorm_residual(net, "layer", x, lj_gelu(net, "branch", x), true);
}

static void reference_batchnorm_residual(const struct reference_op *op, const double *x,
                                         const double *const *p, double *y)
{
    double branch[2048];
    reference_gelu(op, x, NULL, branch);
    reference_batchnorm(op, branch, p, y);
    for (int64_t i = 0; i < op->images * op->rows * op->width; i++)
        y[i] += x[i];
    reference_relu(op, y, NULL, y);
}

/* y = x + gelu(x), nothing dropped */
static lj_val residual(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_residual(net, "layer", x, lj_gelu(net, "branch", x), 0, 0);
}

static void reference_residual(const struct reference_op *op, const double *x,
                               const double *const *p, double *y)
{
    reference_gelu(op, x, p, y);
    for (int64_t i = 0; i < op->images * op->rows * op->width; i++)
        y[i] += x[i];
}

/* y = x + linear(gelu(x)) */
static lj_val linear_residual(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    (void)c;
    return lj_linear_residual(net, "layer", x, lj_gelu(net, "branch", x), LJ_INIT_NORMAL, 1);
}

static void reference_linear_residual(const struct reference_op *op, const double *x,
                                      const double *const *p, double *y)
{
    double branch[256];
    reference_gelu(op, x, NULL, branch);
    reference_linear(op, branch, p, y);
    for (int64_t i = 0; i < op->images * op->rows * op->width; i++)
        y[i] += x[i];
}

/* y = x | linear(x) */
static lj_val concat(struct lj_net *net, const struct layer_case *c, lj_val x)
{
    return lj_concat(net, "layer", x, lj_linear(net, "branch", x, c->op.out, LJ_INIT_NORMAL, 1));
}

static void reference_concat(const struct reference_op *op, const double *x, const double *const *p,
                             double *y)
{
    double branch[256];
    reference_linear(op, x, p, branch);
    for (int64_t r = 0; r < op->images * op->rows; r++, y += op->width + op->out) {
        for (int64_t j = 0; j < op->width; j++)
            y[j] = x[r * op->width + j];
        for (int64_t j = 0; j < op->out; j++)
            y[op->width + j] = branch[r * op->out + j];
    }
}

#define SHAPE(...) .built = {__VA_ARGS__}, .pass = {__VA_ARGS__}
#define OP(n, ...) .images = n, .op = {.images = n, __VA_ARGS__}

#define CONV(n, h, w, c, k, s, p, ...)                                                   \
    OP(n, .height = h, .width = w, .channels = c, .patch = k, .stride = s, .padding = p, \
       __VA_ARGS__),                                                                     \
        .reference = reference_conv

const struct layer_case layer_cases[] = {
    {"linear", "linear", SHAPE(2, {3, 5}), OP(2, .rows = 3, .width = 5, .out = 7),
     .reference = reference_linear, .build = linear},
    {"linear_one", "linear", SHAPE(1, {1}), OP(1, .rows = 1, .width = 1, .out = 1),
     .reference = reference_linear, .build = linear},
    {"layernorm", "layernorm", SHAPE(2, {3, 11}), OP(2, .rows = 3, .width = 11, .eps = 1e-6),
     .reference = reference_layernorm, .build = layernorm},
    {"layernorm_eps", "layernorm", SHAPE(1, {19}), OP(3, .rows = 1, .width = 19, .eps = 0.5),
     .reference = reference_layernorm, .build = layernorm},
    {"gelu", "gelu", SHAPE(2, {4, 9}), OP(1, .rows = 4, .width = 9), .reference = reference_gelu,
     .build = gelu},
    {"relu", "relu", SHAPE(2, {4, 9}), OP(1, .rows = 4, .width = 9), .reference = reference_relu,
     .build = relu},
    {"attention", "attention", SHAPE(2, {5, 18}), OP(2, .rows = 5, .width = 6, .heads = 2),
     .reference = reference_attention, .build = attention},
    {"attention_one_token", "attention", SHAPE(2, {1, 9}), OP(1, .rows = 1, .width = 3, .heads = 3),
     .reference = reference_attention, .build = attention},
    {"attention_one_head", "attention", SHAPE(2, {17, 15}),
     OP(1, .rows = 17, .width = 5, .heads = 1), .reference = reference_attention,
     .build = attention},
    {"tokens", "tokens", SHAPE(2, {9, 4}),
     OP(2, .rows = 9, .width = 4, .skip = 2, .grid = {3, 3}, .grid0 = {3, 3}),
     .reference = reference_tokens, .build = tokens},
    {"tokens_smaller", "tokens", .built = {2, {25, 4}}, .pass = {2, {9, 4}},
     OP(2, .rows = 9, .width = 4, .grid = {3, 3}, .grid0 = {5, 5}), .reference = reference_tokens,
     .build = tokens},
    {"tokens_larger", "tokens", .built = {2, {6, 3}}, .pass = {2, {24, 3}},
     OP(2, .rows = 24, .width = 3, .skip = 1, .grid = {4, 6}, .grid0 = {2, 3}),
     .reference = reference_tokens, .build = tokens},
    {"tokens_wide", "tokens", .built = {2, {12, 4}}, .pass = {2, {3, 4}},
     OP(3, .rows = 3, .width = 4, .skip = 1, .grid = {1, 3}, .grid0 = {2, 6}),
     .reference = reference_tokens, .build = tokens},
    {"patch_embed", "patch_embed", SHAPE(3, {2, 6, 9}),
     OP(2, .channels = 2, .height = 6, .width = 9, .patch = 3, .out = 5),
     .reference = reference_patch_embed, .build = patch_embed, .no_dx = true},
    {"pool_token", "pool_token", SHAPE(2, {4, 5}), OP(2, .rows = 4, .width = 5),
     .reference = reference_pool_token, .build = pool_token},
    {"pool_mean", "pool_mean", SHAPE(2, {6, 5}), OP(2, .rows = 6, .width = 5, .skip = 2),
     .reference = reference_pool_mean, .build = pool_mean},
    {"batchnorm_lane", "batchnorm_lane", SHAPE(1, {5}), OP(9, .rows = 1, .width = 5, .eps = 1e-5),
     .reference = reference_batchnorm, .build = batchnorm_lane},
    {"batchnorm_batch", "batchnorm_batch", SHAPE(1, {5}),
     OP(41, .rows = 1, .width = 5, .eps = 1e-5), .reference = reference_batchnorm,
     .build = batchnorm_batch},
    {"residual", "residual", SHAPE(2, {3, 4}), OP(2, .rows = 3, .width = 4),
     .reference = reference_residual, .build = residual},
    {"linear_residual", "linear_residual", SHAPE(2, {3, 6}), OP(2, .rows = 3, .width = 6, .out = 6),
     .reference = reference_linear_residual, .build = linear_residual},
    {"concat", "concat", SHAPE(2, {3, 4}), OP(2, .rows = 3, .width = 4, .out = 5),
     .reference = reference_concat, .build = concat},
    /* Positions of a map, channels last, are rows as any others. */
    {"linear_map", "linear", SHAPE(3, {3, 2, 5}), OP(2, .rows = 6, .width = 5, .out = 7),
     .reference = reference_linear, .build = linear},
    {"layernorm_map", "layernorm", SHAPE(3, {2, 2, 11}), OP(2, .rows = 4, .width = 11, .eps = 1e-6),
     .reference = reference_layernorm, .build = layernorm},
    {"gelu_map", "gelu", SHAPE(3, {2, 3, 9}), OP(2, .rows = 6, .width = 9),
     .reference = reference_gelu, .build = gelu},
    {"relu_map", "relu", SHAPE(3, {2, 3, 9}), OP(2, .rows = 6, .width = 9),
     .reference = reference_relu, .build = relu},
    {"residual_map", "residual", SHAPE(3, {2, 3, 4}), OP(2, .rows = 6, .width = 4),
     .reference = reference_residual, .build = residual},
    {"linear_residual_map", "linear_residual", SHAPE(3, {3, 2, 6}),
     OP(2, .rows = 6, .width = 6, .out = 6), .reference = reference_linear_residual,
     .build = linear_residual},
    {"pool_mean_map", "pool_mean", SHAPE(3, {3, 2, 5}), OP(2, .rows = 6, .width = 5),
     .reference = reference_pool_mean, .build = pool_mean},
    /* Windows as in the stem of a ResNet, at an even and an odd size; without overlap. */
    {"pool_max", "pool_max", SHAPE(3, {8, 7, 5}),
     OP(2, .rows = 56, .height = 8, .width = 5, .window = {3, 2, 1}),
     .reference = reference_pool_max, .build = pool_max},
    {"pool_max_apart", "pool_max", SHAPE(3, {5, 6, 3}),
     OP(3, .rows = 30, .height = 5, .width = 3, .window = {2, 2, 0}),
     .reference = reference_pool_max, .build = pool_max},
    {"grn", "grn", SHAPE(3, {4, 5, 7}), OP(3, .rows = 20, .width = 7, .eps = 1e-6),
     .reference = reference_grn, .build = grn},
    {"grn_point", "grn", SHAPE(3, {1, 1, 3}), OP(2, .rows = 1, .width = 3, .eps = 1e-6),
     .reference = reference_grn, .build = grn},
    /* Statistics over images and rows; 3 x 135 rows are several of the blocks of the sums. */
    {"batchnorm_lane_rows", "batchnorm_lane", SHAPE(2, {7, 5}),
     OP(4, .rows = 7, .width = 5, .eps = 1e-5), .reference = reference_batchnorm,
     .build = batchnorm_lane},
    {"batchnorm_lane_map", "batchnorm_lane", SHAPE(3, {9, 15, 3}),
     OP(3, .rows = 135, .width = 3, .eps = 1e-5), .reference = reference_batchnorm,
     .build = batchnorm_lane},
    {"batchnorm_batch_rows", "batchnorm_batch", SHAPE(2, {7, 5}),
     OP(7, .rows = 7, .width = 5, .eps = 1e-5), .reference = reference_batchnorm,
     .build = batchnorm_batch},
    {"batchnorm_batch_map", "batchnorm_batch", SHAPE(3, {9, 15, 3}),
     OP(3, .rows = 135, .width = 3, .eps = 1e-5), .reference = reference_batchnorm,
     .build = batchnorm_batch},
    {"batchnorm_lane_relu", "batchnorm_lane", SHAPE(3, {2, 3, 5}),
     OP(4, .rows = 6, .width = 5, .eps = 1e-5), .reference = reference_batchnorm_relu,
     .build = batchnorm_relu},
    {"batchnorm_batch_relu", "batchnorm_batch", SHAPE(3, {2, 3, 5}),
     OP(4, .rows = 6, .width = 5, .eps = 1e-5), .reference = reference_batchnorm_relu,
     .build = batchnorm_relu_batch},
    {"batchnorm_residual_lane", "batchnorm_residual_lane", SHAPE(3, {2, 3, 5}),
     OP(4, .rows = 6, .width = 5, .eps = 1e-5), .reference = reference_batchnorm_residual,
     .build = batchnorm_residual_lane},
    {"batchnorm_residual_batch", "batchnorm_residual_batch", SHAPE(3, {2, 3, 5}),
     OP(4, .rows = 6, .width = 5, .eps = 1e-5), .reference = reference_batchnorm_residual,
     .build = batchnorm_residual_batch},
    {"conv", "conv", SHAPE(3, {5, 6, 3}), CONV(2, 5, 6, 3, 3, 1, 1, .out = 4), .build = conv},
    {"conv_stride", "conv", SHAPE(3, {6, 5, 4}), CONV(2, 6, 5, 4, 3, 2, 1, .out = 5),
     .build = conv_without_bias},
    {"conv_inside", "conv", SHAPE(3, {7, 4, 2}), CONV(1, 7, 4, 2, 3, 1, 0, .out = 3),
     .build = conv},
    {"conv_large", "conv", SHAPE(3, {3, 4, 2}), CONV(1, 3, 4, 2, 7, 3, 3, .out = 3),
     .build = conv_without_bias},
    {"conv_even", "conv", SHAPE(3, {4, 6, 3}), CONV(2, 4, 6, 3, 2, 2, 0, .out = 4), .build = conv},
    {"conv_point", "conv", SHAPE(3, {3, 2, 5}), CONV(2, 3, 2, 5, 1, 1, 0, .out = 7),
     .build = conv_without_bias},
    {"conv_point_stride", "conv", SHAPE(3, {5, 4, 5}), CONV(2, 5, 4, 5, 1, 2, 0, .out = 6),
     .build = conv},
    {"conv_vectors", "conv", SHAPE(3, {2, 3, 16}), CONV(1, 2, 3, 16, 3, 1, 1, .out = 16),
     .build = conv_without_bias},
    {"stem", "stem", SHAPE(3, {3, 6, 5}), CONV(2, 6, 5, 3, 3, 1, 1, .out = 4, .planes = true),
     .build = stem_without_bias, .no_dx = true},
    {"stem_stride", "stem", SHAPE(3, {2, 9, 8}),
     CONV(2, 9, 8, 2, 7, 2, 3, .out = 5, .planes = true), .build = stem, .no_dx = true},
    {"conv_depthwise", "conv_depthwise", SHAPE(3, {4, 5, 6}),
     CONV(2, 4, 5, 6, 3, 1, 1, .out = 6, .depthwise = true), .build = conv_depthwise},
    {"conv_depthwise_large", "conv_depthwise", SHAPE(3, {5, 3, 17}),
     CONV(2, 5, 3, 17, 7, 1, 3, .out = 17, .depthwise = true), .build = conv_depthwise},
    {"cosine", "cosine", SHAPE(1, {5}), OP(7, .rows = 1, .width = 5, .out = 11),
     .reference = reference_cosine, .build = cosine},
    {"cosine_map", "cosine", SHAPE(3, {3, 2, 6}), OP(2, .rows = 6, .width = 6, .out = 4),
     .reference = reference_cosine, .build = cosine},
};
const int layer_case_count = (int)(sizeof layer_cases / sizeof *layer_cases);
