/* SPDX-License-Identifier: Apache-2.0 */
/* Batch normalisation (Ioffe & Szegedy 2015) of each feature over the images and rows of one lane,
 * or of the whole global batch. Rows are the tokens or positions of an image; (C) is one row.
 *   y = xhat w + b, xhat = (x - mean) rstd, rstd = 1 / sqrt(var + eps), biased variance
 *   dx = w rstd (dy - mean(dy) - xhat mean(dy xhat))    dw = sum(dy xhat)    db = sum(dy)
 * ReLU may follow: y = max(0, xhat w + b), or with a trunk t y = max(0, t + xhat w + b). Then dy
 * above stands for its elements where y > 0, 0 elsewhere; dt is dy.
 * Outside training the running statistics stand in for mean and var. They are parameters of role
 * STATISTIC: what a lane writes as their "gradient" is its mean and unbiased variance, times the
 * pass's statistic_share. Views of one size are one pass and are normalised by its statistics.
 *
 * Over the global batch, each lane adds its sums over blocks of at most 32 rows, rounded to fixed
 * point, to 2 C integers; the caller sums these over ranks.
 *   forward   sum(x - r) and sum((x - r)^2) about the running mean r, which all ranks share, so
 *             that squares cancel little once r has settled. At first rows may lie many deviations
 *             from it, so both are summed in double. Both are multiplied by the smallest power of
 *             two that is not below 1 / (rows of an image), so that the range does not shrink with
 *             the size of an image: the mean of (x - r)^2 over a block may reach
 *             2^29 / (images of the global batch). Its resolution is 2^-38 times the rows of an
 *             image.
 *   backward  sum(dy) and sum(dy xhat), multiplied by 2^16 because gradients are small: resolution
 *             2^-48, range 2^13 for the sum over the batch
 * ints: [0] over the batch, [1] ReLU. With a trunk, x is the second input. real: eps. Saved: mean,
 * rstd, variance. Scratch: four rows of sums in double. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK_ROWS = 32,  /* of sums that become integers */
    SUMMED_ROWS = 256 /* of float32 sums that are added in double, where an image has many rows */
};
enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };
static const double gradient_scale = 65536;

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    int64_t width = lj_shape_features(&in[0]);
    LJ_TRY(lj_take_rows(node, &in[0]));
    if (node->inputs == 2 && !lj_shape_equal(&in[0], &in[1]))
        return lj_refuse_shape(node, &in[1], "a branch of the trunk's shape");
    LJ_CHECK(node->block < 0 || !node->ints[0],
             "%s: statistics of the global batch: take it out of the block", node->name);
    *out = in[0];
    need->saved = (3 * width + images - 1) / images;
    need->scratch = 4 * width * (int64_t)sizeof(double);
    return LJ_OK;
}

static int64_t width_of(const struct lj_call *c)
{
    return lj_shape_features(&c->in_shape[0]);
}

/* Rows of one image. */
static int64_t positions_of(const struct lj_call *c)
{
    return lj_shape_rows(&c->in_shape[0]);
}

/* Rows of this lane. */
static int64_t rows_of(const struct lj_call *c)
{
    return c->images * positions_of(c);
}

static bool over_batch(const struct lj_call *c)
{
    return c->node->ints[0] != 0;
}

static const float *x_of(const struct lj_call *c)
{
    return c->x[c->node->inputs - 1];
}

/* What the saved statistics make of x. With a trunk, ReLU is not part of it in backward, because
 * its sign is that of the sum. */
static struct lj_batchnorm norm_of(const struct lj_call *c)
{
    return (struct lj_batchnorm){.mean = c->saved,
                                 .rstd = c->saved + width_of(c),
                                 .weight = c->param[WEIGHT],
                                 .bias = c->param[BIAS],
                                 .relu = c->node->ints[1] && c->node->inputs == 1};
}

/* ---- statistics of one lane -------------------------------------------------------------- */

/* Rows that are gone through at a time. One float32 sum over everything would lose digits where an
 * image has many rows: there, shorter ones are added in double. */
static int64_t rows_at_once(const struct lj_call *c)
{
    return positions_of(c) > 1 ? SUMMED_ROWS : rows_of(c);
}

/* Adds the mean and the squared differences from it of `rows` rows at x to those of the `before`
 * rows so far (Chan, Golub & LeVeque 1983).
 *   total, square  in/out  mean, and sum of squared differences from it (C)
 *   sum            out     for use here, as total and square
 *   about          out     for use here (C) */
static void add_statistics(const struct lj_call *c, const float *x, int64_t before, int64_t rows,
                           double *total, double *square, double *sum, float *about)
{
    int64_t width = width_of(c);
    double share = (double)rows / (double)(before + rows);
    memset(about, 0, (size_t)width * sizeof *about);
    memset(sum, 0, 2 * (size_t)width * sizeof *sum);
    lj_kernels()->column_sums(about, x, LJ_F32, rows, width);
    for (int64_t j = 0; j < width; j++)
        about[j] /= (float)rows;
    lj_kernels()->column_moments(sum, sum + width, x, about, rows, width);
    for (int64_t j = 0; j < width; j++) {
        double off = positions_of(c) > 1 ? sum[j] / (double)rows : 0;
        double apart = (double)about[j] + off - total[j];
        total[j] += apart * share;
        square[j] += sum[width + j] - off * off * (double)rows;
        square[j] += apart * apart * (double)before * share;
    }
}

/* The squares of some rows follow their sums while they are in the cache: maps of larger images are
 * read from memory once. */
static void lane_statistics(const struct lj_call *c, float *mean, float *var)
{
    int64_t width = width_of(c), rows = rows_of(c), step = rows_at_once(c);
    double *total = c->scratch, *square = total + width, *sum = square + width;
    memset(total, 0, 2 * (size_t)width * sizeof *total);
    for (int64_t first = 0; first < rows; first += step)
        add_statistics(c, x_of(c) + first * width, first, lj_min_i64(step, rows - first), total,
                       square, sum, mean);
    for (int64_t j = 0; j < width; j++) {
        mean[j] = (float)total[j];
        var[j] = (float)(square[j] / (double)rows);
    }
}

/* Sums over rows [first, end) of dy and dy xhat. With a trunk, first makes their dy the gradient
 * before ReLU, in place, where d(trunk) lies, too; doing it again changes nothing. */
static void gradient_sums(const struct lj_call *c, int64_t first, int64_t end, float *sum,
                          float *product)
{
    int64_t width = width_of(c), at = first * width;
    const float *x = x_of(c);
    float *dy = c->dy;
    struct lj_batchnorm norm = norm_of(c);
    if (c->node->inputs == 2)
        lj_kernels()->relu_backward(dy + at, dy + at, (const float *)c->y + at,
                                    (end - first) * width, false);
    memset(sum, 0, (size_t)width * sizeof *sum);
    memset(product, 0, (size_t)width * sizeof *product);
    lj_kernels()->batchnorm_sums(sum, product, dy + at, x + at, &norm, end - first, width);
}

/* Sums over all rows of this lane, sum and product (C) behind each other in scratch. */
static float *all_gradient_sums(const struct lj_call *c)
{
    int64_t width = width_of(c), rows = rows_of(c);
    double *total = c->scratch;
    float *part = (float *)(total + 2 * width);
    memset(total, 0, 2 * (size_t)width * sizeof *total);
    int64_t step = rows_at_once(c);
    for (int64_t first = 0; first < rows; first += step) {
        gradient_sums(c, first, lj_min_i64(first + step, rows), part, part + width);
        for (int64_t j = 0; j < 2 * width; j++)
            total[j] += (double)part[j];
    }
    for (int64_t j = 0; j < 2 * width; j++)
        part[j] = (float)total[j];
    return part;
}

/* ---- statistics of the global batch ------------------------------------------------------ */

static int64_t sync_count(const struct lj_node *node)
{
    return node->ints[0] ? 2 * lj_shape_features(&node->shape) : 0;
}

/* Blocks of rows that the whole batch adds up: every lane has as many. */
static int64_t blocks_of_batch(const struct lj_call *c)
{
    int64_t lanes = lj_max_i64(c->pass->sync_images / c->images, 1);
    return lanes * ((rows_of(c) + BLOCK_ROWS - 1) / BLOCK_ROWS);
}

/* Rows of the whole batch. */
static double rows_of_batch(const struct lj_call *c)
{
    return (double)(c->pass->sync_images * positions_of(c));
}

/* What forward's sums are multiplied by: 1 / (rows of an image) up to a factor of two. */
static double forward_scale(const struct lj_call *c)
{
    double scale = 1;
    for (int64_t positions = positions_of(c); positions > 1; positions /= 2)
        scale /= 2;
    return scale;
}

static void sync_forward(const struct lj_call *c, int64_t *sums, int64_t *nonfinite)
{
    int64_t width = width_of(c);
    const float *x = x_of(c), *shift = c->param[RUNNING_MEAN];
    double *sum = c->scratch, *square = sum + width, scale = forward_scale(c);
    for (int64_t first = 0; first < rows_of(c); first += BLOCK_ROWS) {
        memset(sum, 0, 2 * (size_t)width * sizeof *sum);
        lj_kernels()->column_moments(sum, square, x + first * width, shift,
                                     lj_min_i64(BLOCK_ROWS, rows_of(c) - first), width);
        for (int64_t j = 0; j < 2 * width; j++)
            sums[j] += lj_to_fixed(blocks_of_batch(c), scale * sum[j], nonfinite);
    }
}

static void batch_statistics(const struct lj_call *c, float *mean, float *var)
{
    int64_t width = width_of(c);
    double rows = rows_of_batch(c) * forward_scale(c);
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
    for (int64_t first = 0; first < rows_of(c); first += BLOCK_ROWS) {
        gradient_sums(c, first, lj_min_i64(first + BLOCK_ROWS, rows_of(c)), block, block + width);
        for (int64_t j = 0; j < 2 * width; j++)
            sums[j] +=
                lj_to_fixed(blocks_of_batch(c), (double)block[j] * gradient_scale, nonfinite);
    }
}

/* ---- forward, backward ------------------------------------------------------------------- */

/* From the last rows to the first, since the last are what the statistics left in the cache. */
static void normalise(const struct lj_call *c, const struct lj_batchnorm *norm)
{
    int64_t width = width_of(c), step = rows_at_once(c);
    const float *x = x_of(c), *trunk = c->node->inputs == 2 ? c->x[0] : NULL;
    for (int64_t end = rows_of(c); end > 0; end -= step) {
        int64_t first = lj_max_i64(end - step, 0), at = first * width;
        lj_kernels()->batchnorm((float *)c->y + at, x + at, trunk ? trunk + at : NULL, norm,
                                end - first, width);
    }
}

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
    struct lj_batchnorm norm = norm_of(c);
    norm.relu = c->node->ints[1] != 0;
    normalise(c, &norm);
}

static void store_or_add(const struct lj_call *c, int param, int64_t j, float value)
{
    float *d = &c->dparam[param][j];
    *d = c->dparam_add ? *d + value : value;
}

/* This lane's share of the parameters' gradients, and its statistics. */
static void backward_params(const struct lj_call *c, const float *sum, const float *product)
{
    int64_t width = width_of(c);
    const float *mean = c->saved, *var = c->saved + 2 * width;
    float share = c->pass->statistic_share;
    double rows = over_batch(c) ? rows_of_batch(c) : (double)rows_of(c);
    for (int64_t j = 0; j < width; j++) {
        store_or_add(c, WEIGHT, j, product[j]);
        store_or_add(c, BIAS, j, sum[j]);
        store_or_add(c, RUNNING_MEAN, j, share * mean[j]);
        store_or_add(c, RUNNING_VAR, j, share * (float)((double)var[j] * rows / fmax(rows - 1, 1)));
    }
}

/* sums (2, C) in: of this lane; out: means over the rows that share statistics. */
static void make_means(const struct lj_call *c, float *sums)
{
    for (int64_t j = 0; j < 2 * width_of(c); j++)
        sums[j] = over_batch(c)
                      ? (float)(lj_from_fixed(c->pass->sync[j]) / gradient_scale / rows_of_batch(c))
                      : sums[j] / (float)rows_of(c);
}

/* Also from the last rows to the first. */
static void input_gradient(const struct lj_call *c, const struct lj_batchnorm *norm,
                           const float *dmean, const float *dproduct)
{
    int64_t width = width_of(c), step = rows_at_once(c);
    int input = c->node->inputs - 1;
    const float *x = x_of(c), *dy = c->dy;
    float *dx = c->dx[input];
    for (int64_t end = rows_of(c); end > 0; end -= step) {
        int64_t first = lj_max_i64(end - step, 0), at = first * width;
        lj_kernels()->batchnorm_backward(dx + at, dy + at, x + at, norm, dmean, dproduct,
                                         end - first, width, c->dx_add[input]);
    }
}

static void backward(const struct lj_call *c)
{
    int64_t width = width_of(c);
    struct lj_batchnorm norm = norm_of(c);
    float *sum = all_gradient_sums(c), *product = sum + width;
    if (c->node->inputs == 2)
        lj_pass_gradient(c);
    backward_params(c, sum, product);
    make_means(c, sum);
    input_gradient(c, &norm, sum, product);
}

#define BATCHNORM_KIND(kind_name) \
    .name = kind_name, .shape = shape, .forward = forward, .backward = backward
#define OF_ONE_INPUT .keeps_input = {true}
#define ON_A_TRUNK   .keeps_input = {false, true}, .keeps_output = true, .passes_gradient = true
#define OVER_LANE    .joins_images = true
#define OVER_BATCH \
    .sync_count = sync_count, .sync_forward = sync_forward, .sync_backward = sync_backward

const struct lj_layer_kind lj_kind_batchnorm_lane = {BATCHNORM_KIND("batchnorm_lane"), OF_ONE_INPUT,
                                                     OVER_LANE};
const struct lj_layer_kind lj_kind_batchnorm_batch = {BATCHNORM_KIND("batchnorm_batch"),
                                                      OF_ONE_INPUT, OVER_BATCH};
const struct lj_layer_kind lj_kind_batchnorm_residual_lane = {
    BATCHNORM_KIND("batchnorm_residual_lane"), ON_A_TRUNK, OVER_LANE};
const struct lj_layer_kind lj_kind_batchnorm_residual_batch = {
    BATCHNORM_KIND("batchnorm_residual_batch"), ON_A_TRUNK, OVER_BATCH};

/* Adds the node and its parameters; inputs and ReLU are set. */
static lj_val add(struct lj_net *net, const char *name, struct lj_node node, bool over_global_batch,
                  enum lj_init weight)
{
    static const char *const leaf[] = {"weight", "bias", "running_mean", "running_var"};
    const enum lj_init init[] = {weight, LJ_INIT_ZERO, LJ_INIT_ZERO, LJ_INIT_ONE};
    struct lj_shape in = lj_net_shape(net, (lj_val){node.in[0]});
    node.ints[0] = over_global_batch;
    node.real = 1e-5;
    lj_val y = lj_net_add(net, node, name);
    for (int p = WEIGHT; p <= RUNNING_VAR; p++) {
        struct lj_param param = {.dims = 1,
                                 .dim = {lj_shape_features(&in)},
                                 .role = p >= RUNNING_MEAN ? LJ_ROLE_STATISTIC : LJ_ROLE_WEIGHT,
                                 .init = init[p]};
        char path[LJ_NAME_MAX];
        lj_net_param(net, y, param, lj_join(path, name, leaf[p]));
    }
    return y;
}

static lj_val add_to_one(struct lj_net *net, const char *name, lj_val x, bool over_global_batch,
                         bool relu, enum lj_init weight)
{
    const struct lj_layer_kind *kind =
        over_global_batch ? &lj_kind_batchnorm_batch : &lj_kind_batchnorm_lane;
    struct lj_node node = {.kind = kind, .inputs = 1, .in = {x.index}, .ints = {0, relu}};
    return add(net, name, node, over_global_batch, weight);
}

lj_val lj_batchnorm(struct lj_net *net, const char *name, lj_val x, bool over_global_batch)
{
    return add_to_one(net, name, x, over_global_batch, false, LJ_INIT_ONE);
}

lj_val lj_batchnorm_zero(struct lj_net *net, const char *name, lj_val x, bool over_global_batch)
{
    return add_to_one(net, name, x, over_global_batch, false, LJ_INIT_ZERO);
}

lj_val lj_batchnorm_relu(struct lj_net *net, const char *name, lj_val x, bool over_global_batch)
{
    return add_to_one(net, name, x, over_global_batch, true, LJ_INIT_ONE);
}

lj_val lj_batchnorm_residual(struct lj_net *net, const char *name, lj_val trunk, lj_val x,
                             bool over_global_batch)
{
    const struct lj_layer_kind *kind =
        over_global_batch ? &lj_kind_batchnorm_residual_batch : &lj_kind_batchnorm_residual_lane;
    struct lj_node node = {
        .kind = kind, .inputs = 2, .in = {trunk.index, x.index}, .ints = {0, true}};
    return add(net, name, node, over_global_batch, LJ_INIT_ZERO);
}
