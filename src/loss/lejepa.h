/* SPDX-License-Identifier: Apache-2.0 */
/* Private to loss: the state of LeJEPA, shared by its parts. */
#ifndef LEJEPA_LOSS_LEJEPA_H
#define LEJEPA_LOSS_LEJEPA_H

#include "loss/objective.h"

/* A tile of projections stays in the cache between the matmul and the sums: so many rows and
 * columns, which are slices. The kernels take a chunk of slices at once. */
enum { LJ_TILE_ROWS = 256, LJ_TILE_SLICES = 256, LJ_CHUNK_SLICES = 16 };

struct lj_lejepa {
    struct lj_lejepa_config config;
    struct lj_prediction prediction;
    int knots;                                                       /* K */
    double t[LJ_KNOTS_MAX], weight[LJ_KNOTS_MAX], phi[LJ_KNOTS_MAX]; /* phi: exp(-t^2/2) */
    int64_t samples;                                                 /* N, after finish */

    float *slices; /* (M, D), of unit length */
    /* Sums and coefficients lie in chunks of LJ_CHUNK_SLICES slices, the last one maybe of fewer:
     * for each view and chunk (2, K, slices of the chunk), cos then sin. */
    float *coefficient; /* of cos and sin in the gradient */
    float **scratch; /* (workers) (LJ_TILE_ROWS, LJ_TILE_SLICES) projections, or gradients there */
    float **cached;  /* (cached_lanes) projections of a lane, tile after tile */
};

/* Number of sums of cos and sin; one more, of the prediction, follows them. */
static inline int64_t lj_sigreg_sums(const struct lj_lejepa *loss)
{
    return loss->config.views * 2 * loss->knots * loss->config.slices;
}

/* Where the chunk of view v begins whose first slice is m. */
static inline int64_t lj_sigreg_at(const struct lj_lejepa *loss, int64_t view, int64_t m)
{
    return (view * loss->config.slices + m) * 2 * loss->knots;
}

/* sigreg.c: a lane's sums of cos and sin; the statistic from the totals; its gradient added to
 * dproj. */
void lj_sigreg_add(struct lj_lejepa *loss, const struct lj_loss_lane *lane, int64_t *sums,
                   int64_t *nonfinite);
double lj_sigreg_finish(struct lj_lejepa *loss, const int64_t *sums);
void lj_sigreg_gradient(struct lj_lejepa *loss, const struct lj_loss_lane *lane, float *dproj);
/* The statistic of each slice, (M), mean over views. */
void lj_sigreg_slice_values(const struct lj_lejepa *loss, const int64_t *sums, double *values);

/* slices.c: slices (M, D) of unit length, drawn, or taken from columns (D, M) of any length. */
void lj_slices_draw(float *slices, int64_t width, int64_t count, int64_t seed, int64_t step);
void lj_slices_take(float *slices, const float *columns, int64_t width, int64_t count);

#endif
