/* SPDX-License-Identifier: Apache-2.0 */
/* The objective BYOL (Grill et al. 2020, arXiv 2006.07733) over the global batch: predictions p
 * (V, N, D) of all views against projections z (G, N, D) of the global views by the target, a
 * network whose weights are a running average of those that are trained. A hat divides by the
 * length. Over the P = G (V - 1) pairs of a global view u and another view v:
 *   loss = 1 / (N P) sum_n sum_{u < G} sum_{v != u} |phat_nv - zhat_nu|^2
 *        = 2 - 2 / (N P) sum_n sum_v phat_nv . s_nv,   s_nv = sum_{u < G, u != v} zhat_nu
 *   dloss/dp_nv = -2 / (N P |p_nv|) (s_nv - phat_nv (phat_nv . s_nv))
 * No gradient reaches z. With two global views it is half of the paper's loss, which adds its two
 * directions up. Only global views have targets, as in DINO's multi-crop.
 *
 * spread = 1 - |1 / N sum_n zhat_n0|^2 is 0 where all targets are one point: nothing in this loss
 * keeps them apart but the predictor, batch statistics and the slowness of the target. */
#include "loss/objective.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum term { LOSS, SPREAD };
enum { SUM_LOSS, SUM_TARGET }; /* behind it D of zhat_n0 */
static const double shortest = 1e-12;

struct byol {
    struct lj_objective_shape shape;
    int64_t blocks;   /* of rows that the global batch adds up, at most */
    int64_t samples;  /* N, after finish */
    double **scratch; /* (workers) (G + 3, D) */
};

/* ---- creation ---------------------------------------------------------------------------- */

static void destroy(void *state)
{
    struct byol *l = state;
    for (int s = 0; l && l->scratch && s < l->shape.workers; s++)
        lj_free(l->scratch[s]);
    if (l)
        lj_free(l->scratch);
    lj_free(l);
}

static int allocate(struct byol *l)
{
    l->scratch = lj_alloc_array(l->shape.workers, sizeof *l->scratch, "loss");
    bool good = l->scratch != NULL;
    for (int s = 0; good && s < l->shape.workers; s++) {
        int64_t rows = l->shape.global_views + 3;
        l->scratch[s] = lj_alloc_array(rows * l->shape.width, sizeof(double), "loss");
        good = l->scratch[s] != NULL;
    }
    return good ? LJ_OK : LJ_ERR_RESOURCE;
}

static int create(void **state, int64_t *sums, const struct lj_config *config,
                  const struct lj_objective_shape *shape)
{
    (void)config;
    struct byol *l = lj_alloc(sizeof *l, "loss");
    if (!l)
        return LJ_ERR_RESOURCE;
    l->shape = *shape;
    l->blocks = lj_objective_blocks(shape);
    *sums = SUM_TARGET + shape->width;
    int status = allocate(l);
    if (status == LJ_OK)
        *state = l;
    else
        destroy(l);
    return status;
}

/* ---- a sample ---------------------------------------------------------------------------- */

/* x / |x| of a row; returns 1 / |x|. */
static double unit(const float *x, int64_t width, double *hat)
{
    double square = 0;
    for (int64_t j = 0; j < width; j++)
        square += (double)x[j] * (double)x[j];
    double inverse = 1 / fmax(sqrt(square), shortest);
    for (int64_t j = 0; j < width; j++)
        hat[j] = (double)x[j] * inverse;
    return isfinite(square) ? inverse : (double)NAN;
}

/* Unit targets of sample i (G, D), and their sum (D) behind them. Returns the sum. */
static double *take_targets(const struct byol *l, const struct lj_loss_lane *lane, int64_t i,
                            double *target)
{
    int64_t G = l->shape.global_views, D = l->shape.width;
    double *sum = target + G * D;
    memset(sum, 0, (size_t)D * sizeof *sum);
    for (int64_t u = 0; u < G; u++) {
        double length = unit(lane->averaged + (u * lane->n + i) * D, D, target + u * D);
        for (int64_t j = 0; j < D; j++)
            sum[j] += isnan(length) ? length : target[u * D + j];
    }
    return sum;
}

/* What view v is compared with, s_nv (D). */
static void others_of(const struct byol *l, const double *target, int64_t v, double *others)
{
    int64_t G = l->shape.global_views, D = l->shape.width;
    for (int64_t j = 0; j < D; j++)
        others[j] = target[G * D + j] - (v < G ? target[v * D + j] : 0);
}

static double product(const double *a, const double *b, int64_t width)
{
    double sum = 0;
    for (int64_t j = 0; j < width; j++)
        sum += a[j] * b[j];
    return sum;
}

static double pairs(const struct byol *l)
{
    return (double)(l->shape.global_views * (l->shape.views - 1));
}

/* ---- sums -------------------------------------------------------------------------------- */

/* sum_v phat . s of sample i. */
static double agreement(const struct byol *l, const struct lj_loss_lane *lane, int64_t i,
                        double *scratch)
{
    int64_t G = l->shape.global_views, V = l->shape.views, D = l->shape.width;
    double *others = scratch + (G + 1) * D, *hat = others + D, sum = 0;
    for (int64_t v = 0; v < V; v++) {
        double length = unit(lane->proj + (v * lane->n + i) * D, D, hat);
        others_of(l, scratch, v, others);
        sum += isnan(length) ? length : product(hat, others, D);
    }
    return sum;
}

static void add(void *state, const struct lj_loss_lane *lane, int64_t *sums, int64_t *nonfinite)
{
    struct byol *l = state;
    int64_t G = l->shape.global_views, D = l->shape.width;
    double *scratch = l->scratch[lane->worker], *mean = scratch + (G + 2) * D, loss = 0;
    for (int64_t i = 0; i < lane->n; i++) {
        take_targets(l, lane, i, scratch);
        loss += 2 - 2 / pairs(l) * agreement(l, lane, i, scratch);
    }
    sums[SUM_LOSS] += lj_to_fixed(l->shape.lanes, loss, nonfinite);
    for (int64_t first = 0; first < lane->n; first += LJ_BLOCK_ROWS) {
        memset(mean, 0, (size_t)D * sizeof *mean);
        for (int64_t i = first; i < lj_min_i64(first + LJ_BLOCK_ROWS, lane->n); i++) {
            unit(lane->averaged + i * D, D, scratch);
            for (int64_t j = 0; j < D; j++)
                mean[j] += scratch[j];
        }
        for (int64_t j = 0; j < D; j++)
            sums[SUM_TARGET + j] += lj_to_fixed(l->blocks, mean[j], nonfinite);
    }
}

static void finish(void *state, const int64_t *sums, int64_t samples, double term[LJ_TERMS_MAX])
{
    struct byol *l = state;
    double square = 0;
    l->samples = samples;
    for (int64_t j = 0; j < l->shape.width; j++) {
        double mean = lj_from_fixed(sums[SUM_TARGET + j]) / (double)samples;
        square += mean * mean;
    }
    term[LOSS] = lj_from_fixed(sums[SUM_LOSS]) / (double)samples;
    term[SPREAD] = fmax(1 - square, 0);
}

/* ---- gradient ---------------------------------------------------------------------------- */

static void gradient(void *state, const struct lj_loss_lane *lane, float *dproj)
{
    struct byol *l = state;
    int64_t G = l->shape.global_views, V = l->shape.views, D = l->shape.width;
    double *scratch = l->scratch[lane->worker], *others = scratch + (G + 1) * D, *hat = others + D;
    for (int64_t i = 0; i < lane->n; i++) {
        take_targets(l, lane, i, scratch);
        for (int64_t v = 0; v < V; v++) {
            int64_t at = (v * lane->n + i) * D;
            double inverse = unit(lane->proj + at, D, hat);
            others_of(l, scratch, v, others);
            double along = product(hat, others, D);
            double scale = -2 / (pairs(l) * (double)l->samples) * inverse;
            for (int64_t j = 0; j < D; j++)
                dproj[at + j] = (float)(scale * (others[j] - hat[j] * along));
        }
    }
}

static double collapse(const struct lj_config *c, const double *term)
{
    (void)c;
    return 1 - term[SPREAD];
}

/* ---- the row ----------------------------------------------------------------------------- */

static int traffic(struct lj_objective_traffic *traffic, const struct lj_config *c,
                   const struct lj_objective_shape *shape, int ranks)
{
    (void)c, (void)ranks;
    traffic[0] = lj_objective_message(&lj_objective_byol, SUM_TARGET + shape->width, "8 (D + 6)");
    return 1;
}

static void describe(const struct lj_config *c, char *text, size_t capacity)
{
    snprintf(text, capacity,
             "BYOL, targets by an average of the weights of momentum %g, rising to 1 (cosine); "
             "predictor of hidden width %lld; mean over pairs of a global view and another, N "
             "global",
             c->target_momentum, (long long)c->predictor_hidden);
}

const struct lj_objective_kind lj_objective_byol = {
    .name = "byol",
    .text = "bootstrap your own latent (Grill et al. 2020, arXiv 2006.07733)",
    .needs = LJ_NEED_PREDICTOR | LJ_NEED_AVERAGE,
    .compares_views = true,
    .message = "byol",
    .message_text = "whatever the batch, the views or the ranks",
    .heuristics = "a predictor; a target by a moving average of the weights, and its momentum",
    .against_collapse = "raise target.momentum, or use projector.norm=batch",
    .fewer_sums = "a smaller projector.out or fewer threads",
    .term = {[LOSS] = {"loss", 5}, [SPREAD] = {"spread", 4}},
    .create = create,
    .destroy = destroy,
    .add = add,
    .finish = finish,
    .gradient = gradient,
    .collapse = collapse,
    .traffic = traffic,
    .describe = describe,
};
