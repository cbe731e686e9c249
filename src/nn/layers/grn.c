/* SPDX-License-Identifier: Apache-2.0 */
/* Global response normalisation (Woo et al. 2023): of positions (H, W, C) of one image, each
 * feature is scaled by its norm over the positions, relative to the mean norm of all features.
 *   g_j = |x_j| over positions     n_j = g_j / m, m = mean(g) + eps     y = x + w n x + b
 *   dx = dy (1 + w n) + x dg / g   dg_j = (w_j s_j - mean(w s n)) / m, s_j = sum(dy_j x_j)
 *   dw_j = n_j s_j                 db_j = sum(dy_j)
 * A feature that is 0 everywhere has no direction in which its norm grows: its dg counts as 0.
 * real: eps. Saved: g (C) of each image. Scratch: two rows of sums in double, four in float32. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { WEIGHT, BIAS };

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images;
    int64_t width = lj_shape_features(&in[0]);
    LJ_TRY(lj_take_dims(node, &in[0], 3, 3, "positions (H, W, C)"));
    *out = in[0];
    need->saved = width;
    need->scratch = width * (int64_t)(2 * sizeof(double) + 4 * sizeof(float));
    return LJ_OK;
}

/* n (C) of an image from its g; returns m. */
static float relative_norms(const struct lj_call *c, const float *norm, float *relative)
{
    int64_t width = lj_shape_features(&c->in_shape[0]);
    double sum = 0;
    for (int64_t j = 0; j < width; j++)
        sum += (double)norm[j];
    float mean = (float)(sum / (double)width + c->node->real);
    for (int64_t j = 0; j < width; j++)
        relative[j] = norm[j] / mean;
    return mean;
}

/* Norms of the features of an image x over its positions. */
static void find_norms(const struct lj_call *c, const float *x, float *norm)
{
    int64_t rows = lj_shape_rows(&c->in_shape[0]), width = lj_shape_features(&c->in_shape[0]);
    double *sum = c->scratch, *square = sum + width;
    float *zero = (float *)(square + width);
    memset(sum, 0, 2 * (size_t)width * sizeof *sum);
    memset(zero, 0, (size_t)width * sizeof *zero);
    lj_kernels()->column_moments(sum, square, x, zero, rows, width);
    for (int64_t j = 0; j < width; j++)
        norm[j] = (float)sqrt(square[j]);
}

/* y = x gain + shift (C) for each row */
static void forward_image(const struct lj_call *c, const float *x, float *norm, float *y)
{
    int64_t rows = lj_shape_rows(&c->in_shape[0]), width = lj_shape_features(&c->in_shape[0]);
    find_norms(c, x, norm);
    float *zero = (float *)((double *)c->scratch + 2 * width), *one = zero + width,
          *gain = one + width;
    relative_norms(c, norm, gain);
    for (int64_t j = 0; j < width; j++) {
        one[j] = 1;
        gain[j] = 1 + c->param[WEIGHT][j] * gain[j];
    }
    const struct lj_batchnorm norms = {zero, one, gain, c->param[BIAS], false};
    lj_kernels()->batchnorm(y, x, NULL, &norms, rows, width);
}

static void forward(const struct lj_call *c)
{
    int64_t count = lj_shape_count(&c->in_shape[0]), width = lj_shape_features(&c->in_shape[0]);
    for (int64_t n = 0; n < c->images; n++)
        forward_image(c, (const float *)c->x[0] + n * count, c->saved + n * width,
                      (float *)c->y + n * count);
}

/* One image's share of dw and db, and what dx is made from: gain = 1 + w n, pull = dg / g (C). */
static void backward_features(const struct lj_call *c, bool add, const float *norm,
                              const float *sum, const float *product, float *gain, float *pull)
{
    int64_t width = lj_shape_features(&c->in_shape[0]);
    const float *weight = c->param[WEIGHT];
    double mean = 0;
    float m = relative_norms(c, norm, gain);
    for (int64_t j = 0; j < width; j++) {
        float dweight = gain[j] * product[j];
        c->dparam[WEIGHT][j] = add ? c->dparam[WEIGHT][j] + dweight : dweight;
        c->dparam[BIAS][j] = add ? c->dparam[BIAS][j] + sum[j] : sum[j];
        mean += (double)weight[j] * (double)product[j] * (double)gain[j] / (double)width;
    }
    for (int64_t j = 0; j < width; j++) {
        float dg = (weight[j] * product[j] - (float)mean) / m;
        pull[j] = norm[j] > 0 ? dg / norm[j] : 0;
        gain[j] = 1 + weight[j] * gain[j];
    }
}

/* Sums over the positions of dy and of dy x. */
static void gradient_sums(const struct lj_call *c, const float *dy, const float *x, float *sum,
                          float *product, float *zero, float *one)
{
    int64_t rows = lj_shape_rows(&c->in_shape[0]), width = lj_shape_features(&c->in_shape[0]);
    memset(sum, 0, (size_t)width * sizeof *sum);
    memset(product, 0, (size_t)width * sizeof *product);
    memset(zero, 0, (size_t)width * sizeof *zero);
    for (int64_t j = 0; j < width; j++)
        one[j] = 1;
    const struct lj_batchnorm plain = {zero, one, one, zero, false};
    lj_kernels()->batchnorm_sums(sum, product, dy, x, &plain, rows, width);
}

static void backward_image(const struct lj_call *c, int64_t n)
{
    int64_t rows = lj_shape_rows(&c->in_shape[0]), width = lj_shape_features(&c->in_shape[0]);
    const float *restrict x = (const float *)c->x[0] + n * rows * width;
    const float *restrict dy = (const float *)c->dy + n * rows * width;
    float *restrict dx = (float *)c->dx[0] + n * rows * width;
    float *sum = c->scratch, *product = sum + width, *gain = product + width, *pull = gain + width;
    gradient_sums(c, dy, x, sum, product, gain, pull);
    backward_features(c, c->dparam_add || n > 0, c->saved + n * width, sum, product, gain, pull);
    for (int64_t r = 0; r < rows; r++, x += width, dy += width, dx += width)
        for (int64_t j = 0; j < width; j++) {
            float d = dy[j] * gain[j] + x[j] * pull[j];
            dx[j] = c->dx_add[0] ? dx[j] + d : d;
        }
}

static void backward(const struct lj_call *c)
{
    for (int64_t n = 0; n < c->images; n++)
        backward_image(c, n);
}

const struct lj_layer_kind lj_kind_grn = {
    .name = "grn", .keeps_input = {true}, .shape = shape, .forward = forward, .backward = backward};

lj_val lj_grn(struct lj_net *net, const char *name, lj_val x)
{
    struct lj_shape in = lj_net_shape(net, x);
    struct lj_node node = {.kind = &lj_kind_grn, .inputs = 1, .in = {x.index}, .real = 1e-6};
    lj_val y = lj_net_add(net, node, name);
    struct lj_param param = {.dims = 1, .dim = {lj_shape_features(&in)}, .init = LJ_INIT_ZERO};
    char path[LJ_NAME_MAX];
    lj_net_param(net, y, param, lj_join(path, name, "weight"));
    lj_net_param(net, y, param, lj_join(path, name, "bias"));
    return y;
}
