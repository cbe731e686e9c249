/* SPDX-License-Identifier: Apache-2.0 */
/* The objective VICReg (Bardes, Ponce & LeCun 2022, arXiv 2105.04906) over the global batch, for V
 * >= 2 views z (V, N, D); m_v is the mean and C_v the covariance, with 1 / (N - 1), of view v over
 * its N samples:
 *   loss = invariance I + variance S + covariance R, weighted by vicreg.invariance, .variance and
 *   .covariance; each part is a mean over views or pairs of views:
 *   I = 2 / (V (V - 1)) sum_{u < v} 1 / (N D) sum_n |z_nu - z_nv|^2
 *     = 2 / (V - 1) 1 / (N D) sum_v sum_n |z_nv - mean_u z_nu|^2
 *   S = 1 / V sum_v 1 / D sum_i max(0, 1 - s_vi),  s_vi = sqrt(C_v,ii + 1e-4)
 *   R = 1 / V sum_v 1 / D sum_{i != j} C_v,ij^2
 *   dI/dz_nv = 4 / ((V - 1) N D) (z_nv - mean_u z_nu)
 *   d(variance S + covariance R)/dz_nv = W_v (z_nv - m_v), W_v symmetric:
 *     W_v,ii = - variance [s_vi < 1] / (V D (N - 1) s_vi)
 *     W_v,ij = 4 covariance C_v,ij / (V D (N - 1))
 * This is the authors' own form for several views (VICRegL, arXiv 2210.01571). With two views it is
 * that of the paper with S and R averaged over views: the published code for two views averages S
 * and adds up R, so that its weight 1 of the covariance is vicreg.covariance=2 here.
 *
 * Sums of a view: D of z, then the upper triangle of z z^T, D (D + 1) / 2; behind all views one of
 * the invariance. Each is a sum over at most 32 rows of one lane in double, where products of
 * float32 are exact and the mean's square cancels without harm, rounded to fixed point at 2^-32.
 * These sums are not bounded as cosines are: one that reaches 2^30 / (blocks of the batch), a mean
 * square of about 2^30 / N, counts as nonfinite, so that the total of 64 bits never wraps. A
 * covariance is off by at most 2^-33 for each block over N - 1, far below the 1e-4 of s. */
#include "loss/objective.h"

#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Rows of the product matrix that are made at once. */
enum { STRIP = 32 };
static const double epsilon = 1e-4;

enum term { LOSS, INVARIANCE, VARIANCE, COVARIANCE };

struct vicreg {
    struct lj_objective_shape shape;
    struct lj_prediction invariance; /* distances from the mean of all views */
    double weight[4];                /* of the terms */
    int64_t blocks;                  /* of rows that the global batch adds up, at most */
    int64_t samples;                 /* N, after finish */
    double *mean;                    /* (V, D) */
    float *mix;                      /* W: (V, D, D) */
    double *hinge, *square;          /* (V, D) each row's part of S and R */
    double **scratch;                /* (workers) (LJ_BLOCK_ROWS + STRIP, D) */
};

static int64_t view_sums(const struct vicreg *l)
{
    return l->shape.width + l->shape.width * (l->shape.width + 1) / 2;
}

/* Where the products z_i z_j, j >= i, of a view begin among its sums. */
static int64_t products_at(const struct vicreg *l, int64_t i)
{
    return l->shape.width + i * l->shape.width - i * (i - 1) / 2;
}

/* ---- creation ---------------------------------------------------------------------------- */

static int check(const struct lj_config *config, const struct lj_objective_shape *s)
{
    (void)config;
    if (s->lanes * s->lane_rows < 2)
        return lj_fail(LJ_ERR_CONFIG,
                       "objective=vicreg takes variances over the batch; batch.size must be at "
                       "least 2");
    return LJ_OK;
}

static void destroy(void *state)
{
    struct vicreg *l = state;
    if (!l)
        return;
    for (int s = 0; l->scratch && s < l->shape.workers; s++)
        lj_free(l->scratch[s]);
    lj_free(l->scratch);
    lj_free(l->mean);
    lj_free(l->mix);
    lj_free(l->hinge);
    lj_free(l->square);
    lj_free(l);
}

static int allocate(struct vicreg *l)
{
    int64_t V = l->shape.views, D = l->shape.width;
    bool good = true;
    l->mean = lj_alloc_array(V * D, sizeof *l->mean, "loss");
    l->hinge = lj_alloc_array(V * D, sizeof *l->hinge, "loss");
    l->square = lj_alloc_array(V * D, sizeof *l->square, "loss");
    l->mix = lj_alloc_array(V * D * D, sizeof *l->mix, "loss");
    l->scratch = lj_alloc_array(l->shape.workers, sizeof *l->scratch, "loss");
    for (int s = 0; l->scratch && s < l->shape.workers; s++) {
        l->scratch[s] = lj_alloc_array((LJ_BLOCK_ROWS + STRIP) * D, sizeof(double), "loss");
        good = good && l->scratch[s];
    }
    if (good && l->mean && l->hinge && l->square && l->mix && l->scratch)
        return LJ_OK;
    return lj_fail(LJ_ERR_RESOURCE,
                   "out of memory: objective=vicreg takes %lld MiB for the covariances of %lld "
                   "views of width %lld; use a smaller projector.out or fewer views",
                   (long long)(V * D * D * (int64_t)sizeof *l->mix >> 20), (long long)V,
                   (long long)D);
}

static int create(void **state, int64_t *sums, const struct lj_config *config,
                  const struct lj_objective_shape *shape)
{
    struct vicreg *l = lj_alloc(sizeof *l, "loss");
    if (!l)
        return LJ_ERR_RESOURCE;
    l->shape = *shape;
    l->invariance = (struct lj_prediction){
        .views = shape->views, .centre_views = shape->views, .width = shape->width};
    l->weight[INVARIANCE] = config->vicreg_invariance;
    l->weight[VARIANCE] = config->vicreg_variance;
    l->weight[COVARIANCE] = config->vicreg_covariance;
    l->blocks = lj_objective_blocks(shape);
    *sums = shape->views * view_sums(l) + 1;
    int status = allocate(l);
    if (status == LJ_OK)
        *state = l;
    else
        destroy(l);
    return status;
}

/* ---- sums -------------------------------------------------------------------------------- */

static void add_fixed(const struct vicreg *l, int64_t *sums, const double *x, int64_t count,
                      int64_t *nonfinite)
{
    for (int64_t i = 0; i < count; i++)
        sums[i] += lj_to_fixed(l->blocks, x[i], nonfinite);
}

/* Sums of z over some rows (rows, D). */
static void add_columns(const struct vicreg *l, double *column, int64_t *sums, const float *z,
                        int64_t rows, int64_t *nonfinite)
{
    int64_t D = l->shape.width;
    memset(column, 0, (size_t)D * sizeof *column);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < D; j++)
            column[j] += (double)z[r * D + j];
    add_fixed(l, sums, column, D, nonfinite);
}

/* Sums of z_i z_j over some rows, for i in [first, first + STRIP) and j >= i. The columns from
 * `first` on are copied together, in double, as the kernel takes them. */
static void add_strip(const struct vicreg *l, double *scratch, int64_t *sums, const float *z,
                      int64_t rows, int64_t first, int64_t *nonfinite)
{
    int64_t D = l->shape.width, width = D - first, height = lj_min_i64(STRIP, width);
    double *columns = scratch, *product = scratch + LJ_BLOCK_ROWS * D;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            columns[r * width + j] = (double)z[r * D + first + j];
    memset(product, 0, (size_t)(height * width) * sizeof *product);
    lj_kernels()->add_matmul(product, columns, 1, width, columns, height, rows, width);
    for (int64_t i = 0; i < height; i++)
        add_fixed(l, sums + products_at(l, first + i), product + i * width + i, width - i,
                  nonfinite);
}

static void add(void *state, const struct lj_loss_lane *lane, int64_t *sums, int64_t *nonfinite)
{
    struct vicreg *l = state;
    int64_t V = l->shape.views, D = l->shape.width, n = lane->n;
    double *scratch = l->scratch[lane->worker];
    for (int64_t v = 0; v < V; v++)
        for (int64_t r = 0; r < n; r += LJ_BLOCK_ROWS) {
            const float *z = lane->proj + (v * n + r) * D;
            int64_t rows = lj_min_i64(LJ_BLOCK_ROWS, n - r), *own = sums + v * view_sums(l);
            add_columns(l, scratch, own, z, rows, nonfinite);
            for (int64_t first = 0; first < D; first += STRIP)
                add_strip(l, scratch, own, z, rows, first, nonfinite);
        }
    double distance = lj_prediction_sum(&l->invariance, lane->proj, n) / (double)(V * D);
    sums[V * view_sums(l)] += lj_to_fixed(l->shape.lanes, distance, nonfinite);
}

/* ---- from the totals to terms and W ------------------------------------------------------ */

/* Row i of C_v, right of the diagonal and on it: its part of the terms, and of W. */
static void finish_row(struct vicreg *l, const int64_t *sums, int64_t v, int64_t i)
{
    int64_t V = l->shape.views, D = l->shape.width;
    const int64_t *product = sums + v * view_sums(l) + products_at(l, i) - i;
    const double *mean = l->mean + v * D;
    double N = (double)l->samples, freedom = fmax(N - 1, 1), square = 0;
    double share = 1 / ((double)V * (double)D * freedom);
    float *mix = l->mix + v * D * D;
    double variance = fmax((lj_from_fixed(product[i]) - N * mean[i] * mean[i]) / freedom, 0);
    double deviation = sqrt(variance + epsilon);
    l->hinge[v * D + i] = fmax(1 - deviation, 0);
    mix[i * D + i] = deviation < 1 ? (float)(-l->weight[VARIANCE] * share / deviation) : 0;
    for (int64_t j = i + 1; j < D; j++) {
        double c = (lj_from_fixed(product[j]) - N * mean[i] * mean[j]) / freedom;
        square += 2 * c * c;
        mix[i * D + j] = mix[j * D + i] = (float)(4 * l->weight[COVARIANCE] * share * c);
    }
    l->square[v * D + i] = square;
}

static void finish(void *state, const int64_t *sums, int64_t samples, double term[LJ_TERMS_MAX])
{
    struct vicreg *l = state;
    int64_t V = l->shape.views, D = l->shape.width;
    double variance = 0, covariance = 0;
    l->samples = samples;
    for (int64_t i = 0; i < V * D; i++)
        l->mean[i] = lj_from_fixed(sums[i / D * view_sums(l) + i % D]) / (double)samples;
#pragma omp parallel for schedule(dynamic, 8) num_threads(l->shape.workers)
    for (int64_t i = 0; i < V * D; i++)
        finish_row(l, sums, i / D, i % D);
    for (int64_t i = 0; i < V * D; i++) {
        variance += l->hinge[i];
        covariance += l->square[i];
    }
    double distance = lj_from_fixed(sums[V * view_sums(l)]) / (double)samples;
    term[INVARIANCE] = 2 * (double)V / (double)(V - 1) * distance;
    term[VARIANCE] = variance / (double)(V * D);
    term[COVARIANCE] = covariance / (double)(V * D);
    term[LOSS] = l->weight[INVARIANCE] * term[INVARIANCE] + l->weight[VARIANCE] * term[VARIANCE] +
                 l->weight[COVARIANCE] * term[COVARIANCE];
}

/* ---- gradient ---------------------------------------------------------------------------- */

static void centre(float *centred, const float *z, const double *mean, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            centred[r * width + j] = (float)((double)z[r * width + j] - mean[j]);
}

static void gradient(void *state, const struct lj_loss_lane *lane, float *dproj)
{
    struct vicreg *l = state;
    int64_t V = l->shape.views, D = l->shape.width, n = lane->n;
    double elements = (double)(V - 1) * (double)l->samples * (double)D;
    float *centred = (float *)l->scratch[lane->worker];
    lj_prediction_gradient(&l->invariance, (float)(4 * l->weight[INVARIANCE] / elements),
                           lane->proj, n, dproj);
    for (int64_t v = 0; v < V; v++)
        for (int64_t r = 0; r < n; r += LJ_BLOCK_ROWS) {
            int64_t rows = lj_min_i64(LJ_BLOCK_ROWS, n - r), at = (v * n + r) * D;
            struct lj_matmul matmul = {.batch = 1, .m = rows, .n = D, .k = D, .add = true};
            centre(centred, lane->proj + at, l->mean + v * D, rows, D);
            lj_matmul(&matmul, centred, l->mix + v * D * D, NULL, dproj + at); /* += (z - m) W */
        }
}

/* Without any variance every hinge is open as far as it goes. */
static double collapse(const struct lj_config *c, const double *term)
{
    (void)c;
    return term[VARIANCE] / (1 - sqrt(epsilon));
}

/* ---- the row ----------------------------------------------------------------------------- */

static int traffic(struct lj_objective_traffic *traffic, const struct lj_config *c,
                   const struct lj_objective_shape *shape, int ranks)
{
    (void)c, (void)ranks;
    int64_t V = shape->views, D = shape->width;
    traffic[0] = lj_objective_message(&lj_objective_vicreg, V * (D + D * (D + 1) / 2) + 1,
                                      "8 (V (D + D (D + 1) / 2) + 6)");
    return 1;
}

static void describe(const struct lj_config *c, char *text, size_t capacity)
{
    snprintf(text, capacity,
             "VICReg, invariance %g, variance %g, covariance %g; means over pairs of views, over "
             "views and over width, N global",
             c->vicreg_invariance, c->vicreg_variance, c->vicreg_covariance);
}

const struct lj_objective_kind lj_objective_vicreg = {
    .name = "vicreg",
    .text = "variance, invariance, covariance (Bardes, Ponce & LeCun 2022, arXiv 2105.04906)",
    .compares_views = true,
    .sees_lengths = true,
    .message = "vicreg",
    .message_text = "whatever the batch or the ranks",
    .heuristics = "weights of its three terms",
    .against_collapse = "raise vicreg.variance or vicreg.covariance",
    .fewer_sums = "a smaller projector.out, fewer views or fewer threads",
    .term = {[LOSS] = {"loss", 5},
             [INVARIANCE] = {"invariance", 6},
             [VARIANCE] = {"variance", 6},
             [COVARIANCE] = {"covariance", 6}},
    .check = check,
    .create = create,
    .destroy = destroy,
    .add = add,
    .finish = finish,
    .gradient = gradient,
    .collapse = collapse,
    .traffic = traffic,
    .describe = describe,
};
