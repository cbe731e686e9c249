/* SPDX-License-Identifier: Apache-2.0 */
/* Private to loss: the state of the LeJEPA loss. */
#ifndef LEJEPA_LOSS_STATE_H
#define LEJEPA_LOSS_STATE_H

#include "loss/loss.h"

/* A tile of projections stays in the cache between the product and the sums: its rows and its columns,
 * which are slices. Rows of one block of sums; slices that the kernels take at once. */
enum { LJ_TILE_ROWS = 256, LJ_TILE_SLICES = 256, LJ_BLOCK_ROWS = 32, LJ_CHUNK_SLICES = 16 };

/* Projections of all lanes that a rank may keep between the sums and the gradient. A bound on memory only:
 * reading them pays however many there are (tests/bench/bench_sigreg.c). */
enum { LJ_KEPT_BYTES = 64 << 20 };

/* What follows the sums of cos and sin in the reduction's buffer. */
enum lj_scalar {
    LJ_SUM_SAMPLES,
    LJ_SUM_FAILED,
    LJ_SUM_NONFINITE,
    LJ_SUM_PREDICTION,
    LJ_SUM_STOP,
    LJ_SUM_SAVE,
    LJ_SCALARS
};

struct lj_lejepa {
    struct lj_lejepa_config config;
    struct lj_comm *comm;
    struct lj_ledger_entry *ledger;
    int knots;                                                       /* K */
    double t[LJ_KNOTS_MAX], weight[LJ_KNOTS_MAX], phi[LJ_KNOTS_MAX]; /* phi: exp(-t^2/2) */
    int64_t samples;                                                 /* N, after reduce */

    float *slices; /* (M, D), of unit length */
    /* Sums and coefficients lie in chunks of LJ_CHUNK_SLICES slices, the last one maybe of fewer: for
     * each view and chunk (2, K, slices of the chunk), cos then sin. */
    int64_t **sums;     /* (workers) sums, then LJ_SCALARS; fixed point at 2^-32 */
    float *coefficient; /* of cos and sin in the gradient */
    float **scratch; /* (workers) (LJ_TILE_ROWS, LJ_TILE_SLICES) projections, or gradients there */
    float **cached;  /* (cached_lanes) projections of a lane, tile after tile */
};

/* A lane of this rank. */
struct lj_loss_lane {
    int worker;
    int64_t index;
    const float *proj; /* (V, n, D) */
    int64_t n;
};

/* Number of sums of cos and sin. */
static inline int64_t lj_loss_sums(const struct lj_lejepa *loss)
{
    return loss->config.views * 2 * loss->knots * loss->config.slices;
}

/* Where the chunk of view v begins whose first slice is m. */
static inline int64_t lj_loss_at(const struct lj_lejepa *loss, int64_t view, int64_t m)
{
    return (view * loss->config.slices + m) * 2 * loss->knots;
}

/* sigreg.c: rows' sums of cos and sin; the statistic; its gradient added to dproj. */
void lj_sigreg_add(struct lj_lejepa *loss, const struct lj_loss_lane *lane);
double lj_sigreg_finish(struct lj_lejepa *loss);
void lj_sigreg_gradient(struct lj_lejepa *loss, const struct lj_loss_lane *lane, float *dproj);

/* prediction.c: sum over the lane of |z - centre|^2; its gradient stored in dproj. */
double lj_prediction_sum(const struct lj_lejepa *loss, const float *proj, int64_t n);
void lj_prediction_gradient(const struct lj_lejepa *loss, const float *proj, int64_t n,
                            float *dproj);

/* slices.c: slices (M, D) of unit length, drawn, or taken from columns (D, M) of any length. */
void lj_slices_draw(float *slices, int64_t width, int64_t count, int64_t seed, int64_t step);
void lj_slices_take(float *slices, const float *columns, int64_t width, int64_t count);

#endif
