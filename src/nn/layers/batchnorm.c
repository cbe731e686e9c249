/* SPDX-License-Identifier: Apache-2.0 */
/* Batch normalisation of rows (Ioffe & Szegedy 2015) over the rows of one lane, or of the whole global
 * batch:
 *   y = xhat w + b, xhat = (x - mean) rstd, rstd = 1 / sqrt(var + eps), biased variance
 *   dx = w rstd (dy - mean(dy) - xhat mean(dy xhat))    dw = sum(dy xhat)    db = sum(dy)
 * Outside training the running statistics stand in for mean and var. They are parameters of role
 * STATISTIC: what a lane writes as their "gradient" is its mean and unbiased variance.
 *
 * Over the global batch, each lane adds its sums over blocks of at most 32 rows, rounded to fixed point,
 * to 2 C integers; the caller sums these over ranks. Forward takes sum(x - r) and sum((x - r)^2) about
 * the running mean r, which all ranks share, so that squares cancel little once r has settled; at first
 * rows may lie many deviations from it, so both are summed in double. Backward's sums are scaled
 * by 2^16, because gradients are small (resolution 2^-48, range 2^13).
 * ints: [0] over the batch. real: eps. Saved: mean, rstd, variance. Scratch: two rows of sums in double. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { BLOCK_ROWS = 32 };
enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };
static const double gradient_scale = 65536;

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)node;
    LJ_CHECK(in[0].dims == 1, "batch normalisation takes rows");
    *out = in[0];
    need->saved = (3 * in[0].dim[0] + images - 1) / images;
    need->scratch = 2 * in[0].dim[0] * (int64_t)sizeof(double);
    return LJ_OK;
}

static int64_t width_of(const struct lj_call *c)
{
    return c->in_shape[0].dim[0];
}

static bool over_batch(const struct lj_call *c)
{
    return c->node->ints[0] != 0;
}

/* ---- statistics of one lane -------------------------------------------------------------- */

static void lane_statistics(const struct lj_call *c, float *mean, float *var)
{
    int64_t width = width_of(c), rows = c->images;
    double *sum = c->scratch, *square = sum + width;
    memset(mean, 0, (size_t)width * sizeof *mean);
    memset(sum, 0, 2 * (size_t)width * sizeof *sum);
    lj_kernels()->column_sums(mean, c->x[0], LJ_F32, rows, width);
    for (int64_t j = 0; j < width; j++)
        mean[j] /= (float)rows;
    lj_kernels()->column_moments(sum, square, c->x[0], mean, rows, width);
    for (int64_t j = 0; j < width; j++)
        var[j] = (float)(square[j] / (double)rows);
}

/* Sums over rows [first, end) of dy and dy xhat. */
static void gradient_sums(const struct lj_call *c, int64_t first, int64_t end, float *sum,
                          float *product)
{
    int64_t width = width_of(c);
    const float *x = c->x[0], *dy = c->dy;
    memset(sum, 0, (size_t)width * sizeof *sum);
    memset(product, 0, (size_t)width * sizeof *product);
    lj_kernels()->batchnorm_sums(sum, product, dy + first * width, x + first * width, c->saved,
                                 c->saved + width, end - first, width);
}

/* ---- statistics of the global batch ------------------------------------------------------ */

static int64_t sync_count(const struct lj_node *node)
{
    return node->ints[0] ? 2 * node->shape.dim[0] : 0;
}

/* Blocks of rows that the whole batch adds up: every lane has as many. */
static int64_t blocks_of_batch(const struct lj_call *c)
{
    int64_t lanes = lj_max_i64(c->pass->sync_rows / c->images, 1);
    return lanes * ((c->images + BLOCK_ROWS - 1) / BLOCK_ROWS);
}

static void sync_forward(const struct lj_call *c, int64_t *sums, int64_t *nonfinite)
{
    int64_t width = width_of(c);
    const float *x = c->x[0], *shift = c->param[RUNNING_MEAN];
    double *sum = c->scratch, *square = sum + width;
    for (int64_t first = 0; first < c->images; first += BLOCK_ROWS) {
        memset(sum, 0, 2 * (size_t)width * sizeof *sum);
        lj_kernels()->column_moments(sum, square, x + first * width, shift,
                                     lj_min_i64(BLOCK_ROWS, c->images - first), width);
        for (int64_t j = 0; j < 2 * width; j++)
            sums[j] += lj_to_fixed_of(blocks_of_batch(c), sum[j], nonfinite);
    }
}

static void batch_statistics(const struct lj_call *c, float *mean, float *var)
{
    int64_t width = width_of(c);
    double rows = (double)c->pass->sync_rows;
    for (int64_t j = 0; j < width; j++) {
        double d = lj_from_fixed(c->pass->sync[j]) / rows;
        double square = lj_from_fixed(c->pass->sync[width + j]) / rows;
        mean[j] = (float)((double)c->param[RUNNING_MEAN][j] + d);
        var[j] = (float)fmax(square - d * d, 0);
    }
}

static void sync_backward(const struct lj_call *c, int64_t *sums, int64_t *nonfinite)
{
    int64_t width = width_of(c);
    float *block = c->scratch;
    for (int64_t first = 0; first < c->images; first += BLOCK_ROWS) {
        gradient_sums(c, first, lj_min_i64(first + BLOCK_ROWS, c->images), block, block + width);
        for (int64_t j = 0; j < 2 * width; j++)
            sums[j] +=
                lj_to_fixed_of(blocks_of_batch(c), (double)block[j] * gradient_scale, nonfinite);
    }
}

/* ---- forward, backward ------------------------------------------------------------------- */

static void forward(const struct lj_call *c)
{
    int64_t width = width_of(c);
    float *mean = c->saved, *rstd = c->saved + width, *var = c->saved + 2 * width;
    if (!c->pass->train) {
        memcpy(mean, c->param[RUNNING_MEAN], (size_t)width * sizeof *mean);
        memcpy(var, c->param[RUNNING_VAR], (size_t)width * sizeof *var);
    } else if (over_batch(c)) {
        batch_statistics(c, mean, var);
    } else {
        lane_statistics(c, mean, var);
    }
    for (int64_t j = 0; j < width; j++)
        rstd[j] = 1.0f / sqrtf(var[j] + (float)c->node->real);
    lj_kernels()->batchnorm(c->y, c->x[0], mean, rstd, c->param[WEIGHT], c->param[BIAS], c->images,
                            width);
}

/* This lane's share of the parameters' gradients, and its statistics. */
static void backward_params(const struct lj_call *c, const float *sum, const float *product)
{
    int64_t width = width_of(c);
    const float *mean = c->saved, *var = c->saved + 2 * width;
    double rows = (double)(over_batch(c) ? c->pass->sync_rows : c->images);
    LJ_CHECK(!c->dparam_add, "batch normalisation runs once per lane");
    for (int64_t j = 0; j < width; j++) {
        c->dparam[WEIGHT][j] = product[j];
        c->dparam[BIAS][j] = sum[j];
        c->dparam[RUNNING_MEAN][j] = mean[j];
        c->dparam[RUNNING_VAR][j] = (float)((double)var[j] * rows / fmax(rows - 1, 1));
    }
}

/* scratch (2, C) in: sums; out: means over the rows that share statistics. */
static void make_means(const struct lj_call *c)
{
    float *means = c->scratch;
    for (int64_t j = 0; j < 2 * width_of(c); j++)
        means[j] = over_batch(c) ? (float)(lj_from_fixed(c->pass->sync[j]) / gradient_scale /
                                           (double)c->pass->sync_rows)
                                 : means[j] / (float)c->images;
}

static void backward(const struct lj_call *c)
{
    int64_t width = width_of(c);
    float *dmean = c->scratch, *dproduct = dmean + width;
    gradient_sums(c, 0, c->images, dmean, dproduct);
    backward_params(c, dmean, dproduct);
    make_means(c);
    lj_kernels()->batchnorm_backward(c->dx[0], c->dy, c->x[0], c->saved, c->saved + width,
                                     c->param[WEIGHT], dmean, dproduct, c->images, width,
                                     c->dx_add[0]);
}

#define BATCHNORM_KIND(kind_name)                                                 \
    .name = kind_name, .keeps_input = {true}, .shape = shape, .forward = forward, \
    .backward = backward

const struct lj_layer_kind lj_kind_batchnorm_lane = {BATCHNORM_KIND("batchnorm_lane")};
const struct lj_layer_kind lj_kind_batchnorm_batch = {
    BATCHNORM_KIND("batchnorm_batch"), .sync_count = sync_count, .sync_forward = sync_forward,
    .sync_backward = sync_backward};

lj_val lj_batchnorm(struct lj_net *net, const char *name, lj_val x, bool over_global_batch)
{
    int64_t width = lj_net_shape(net, x).dim[0];
    struct lj_node node = {.kind = over_global_batch ? &lj_kind_batchnorm_batch
                                                     : &lj_kind_batchnorm_lane,
                           .inputs = 1,
                           .in = {x.index},
                           .ints = {over_global_batch},
                           .real = 1e-5};
    lj_val y = lj_net_add(net, node, name);
    static const char *const leaf[] = {"weight", "bias", "running_mean", "running_var"};
    for (int p = WEIGHT; p <= RUNNING_VAR; p++) {
        bool one = p == WEIGHT || p == RUNNING_VAR;
        struct lj_param param = {.dims = 1,
                                 .dim = {width},
                                 .role = p >= RUNNING_MEAN ? LJ_ROLE_STATISTIC : LJ_ROLE_WEIGHT,
                                 .init = one ? LJ_INIT_ONE : LJ_INIT_ZERO};
        char path[LJ_NAME_MAX];
        lj_net_param(net, y, param, lj_join(path, name, leaf[p]));
    }
    return y;
}
