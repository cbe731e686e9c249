/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. loss: the LeJEPA loss of the global batch and its gradient (Balestriero & LeCun 2025, arXiv
 * 2511.08544 v3).
 *
 *     lj_lejepa_begin(loss, step)                           slices of this step
 *     lj_lejepa_add(loss, worker, lane, proj, n)              for each lane: its share of all sums
 *     lj_lejepa_reduce(loss, local, &terms)                 the one small allreduce
 *     lj_lejepa_gradient(loss, worker, lane, proj, n, dproj)  for each lane
 *
 * or, for SIGReg alone, once, of any array:  lj_sigreg(comm, rows, n, width, slices, step, &value, gradient)
 *
 * total = lambda SIGReg + (1 - lambda) prediction (convex), or lambda SIGReg + prediction. */
#ifndef LEJEPA_LOSS_LOSS_H
#define LEJEPA_LOSS_LOSS_H

#include "lejepa/loss.h"

#include "base/base.h"
#include "comm/comm.h"

struct lj_lejepa_config {
    int64_t views;        /* V */
    int64_t centre_views; /* the first so many views make the prediction's centre */
    int64_t width;        /* D */
    int64_t slices;       /* M */
    enum lj_sigreg_grid grid;
    double lambda;
    bool additive;
    int64_t seed;
    int workers;       /* lanes worked on at once (threads) */
    int64_t lane_rows; /* n: samples of a lane, at most */
    /* Lanes 0 to cached_lanes - 1 of this rank keep their projections on the slices for the gradient,
     * 4 V n M bytes each; others make them again, with the same bits. */
    int64_t cached_lanes;
};

struct lj_lejepa_terms {
    double total, prediction, sigreg; /* dimensionless; the same bits on every rank */
    int64_t samples;                  /* N of the global batch */
    int64_t stop, save;               /* in: this rank asks for it (0, 1); out: how many ranks do */
    int64_t nonfinite;                /* values that were not finite or out of range, all ranks */
};

struct lj_lejepa;
/* Local. ledger may be NULL. Errors: LJ_ERR_CONFIG, LJ_ERR_RESOURCE. */
int lj_lejepa_create(struct lj_lejepa **loss, struct lj_comm *comm,
                     const struct lj_lejepa_config *config, struct lj_ledger *ledger) LJ_MUST_USE;
void lj_lejepa_destroy(struct lj_lejepa *loss);

/* Draws the slices of this step: (D, M) normals by (seed, step), columns of unit length. Local; the
 * same on every rank. */
void lj_lejepa_begin(struct lj_lejepa *loss, int64_t step);
/* Takes the caller's slices (D, M) instead; columns are normalised here. Local. */
void lj_lejepa_begin_with(struct lj_lejepa *loss, const float *slices);

/* Adds one lane's samples. Local; different workers may run in parallel threads.
 *   lane  counts this rank's lanes from 0
 *   proj  (V, n, D) in: view-major, views of the centre first; n <= lane_rows
 * Every sample belongs to one call on one rank. Sums run over blocks of 32 rows from the lane's first,
 * so the bits depend on the lanes only. */
void lj_lejepa_add(struct lj_lejepa *loss, int worker, int64_t lane, const float *proj, int64_t n);

/* Sums over all workers and ranks. Collective; ranks without samples take part.
 *   local  in   this rank's status so far; rides in the reduction
 *   terms  out  (stop and save: in and out)
 * Errors: the agreed status if any rank passed local != LJ_OK.
 * Cost: one reduction of 8 (2 V M K + 6) bytes. */
int lj_lejepa_reduce(struct lj_lejepa *loss, int local, struct lj_lejepa_terms *terms) LJ_MUST_USE;

/* d(total)/d(proj) of one lane. Local; parallel workers. lane, proj and n are those of lj_lejepa_add.
 * dproj (V, n, D) out, overwritten; may not alias proj. */
void lj_lejepa_gradient(struct lj_lejepa *loss, int worker, int64_t lane, const float *proj,
                        int64_t n, float *dproj);

/* How many of this rank's lanes can keep their projections in the 64 MiB a rank has for that. */
int64_t lj_lejepa_cached_lanes(const struct lj_lejepa_config *config, int64_t lanes);

/* Bytes of the one small allreduce: 8 (2 V M K + 6). */
int64_t lj_lejepa_bytes(const struct lj_lejepa_config *config);

/* SIGReg averaged over slices for each slice: (M) statistic of slice m, mean over views. Local, after
 * reduce. */
void lj_lejepa_slice_values(const struct lj_lejepa *loss, double *values);

/* Useful knots t > 0 of a grid and their weights, window and symmetry included: EP = N sum_k
 * weight[k] ((C - phi)^2 + S^2). Returns their number K; arrays of LJ_KNOTS_MAX. */
enum { LJ_KNOTS_MAX = 16 };
int lj_sigreg_knots(enum lj_sigreg_grid grid, double *t, double *weight);

#endif
