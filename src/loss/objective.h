/* SPDX-License-Identifier: Apache-2.0 */
/* Private to loss: an objective at work, and what rows share. */
#ifndef LEJEPA_LOSS_OBJECTIVE_H
#define LEJEPA_LOSS_OBJECTIVE_H

#include "loss/loss.h"

/* Rows whose sum is rounded to fixed point at once. */
enum { LJ_BLOCK_ROWS = 32 };

/* The step's own integers, behind the objective's sums. */
enum lj_message_scalar {
    LJ_MESSAGE_SAMPLES,
    LJ_MESSAGE_FAILED,
    LJ_MESSAGE_NONFINITE,
    LJ_MESSAGE_STOP,
    LJ_MESSAGE_SAVE,
    LJ_MESSAGE_SCALARS
};

struct lj_objective {
    const struct lj_objective_kind *kind;
    void *state; /* of the row; owned */
    struct lj_comm *comm;
    struct lj_ledger_entry *ledger; /* NULL: not booked */
    int workers;
    int64_t lane_rows;
    int64_t count; /* of the row's sums */
    int64_t *
        *sums; /* (workers) (count + LJ_MESSAGE_SCALARS); the first holds the totals after reduce */
};

/* An objective around a row's state, which it owns from here on, also when it fails. Local. */
int lj_objective_assemble(struct lj_objective **objective, struct lj_comm *comm,
                          const struct lj_objective_kind *kind, void *state, int64_t count,
                          int workers, int64_t lane_rows, struct lj_ledger *ledger) LJ_MUST_USE;

/* The traffic of a row's small allreduce. Local. */
struct lj_objective_traffic lj_objective_message(const struct lj_objective_kind *kind, int64_t sums,
                                                 const char *formula);

/* Blocks of rows of one view that the global batch adds up, at most. */
static inline int64_t lj_objective_blocks(const struct lj_objective_shape *shape)
{
    return shape->lanes * ((shape->lane_rows + LJ_BLOCK_ROWS - 1) / LJ_BLOCK_ROWS);
}

/* All sums and scalars to 0. */
void lj_objective_clear(struct lj_objective *objective);

/* prediction.c: distances of all views from the mean of the first centre_views. */
struct lj_prediction {
    int64_t views, centre_views, width;
};
/* Sum over the lane's views and samples of |z - centre|^2. proj (V, n, D) */
double lj_prediction_sum(const struct lj_prediction *p, const float *proj, int64_t n);
/* Half the gradient of that sum times scale, stored in dproj (V, n, D). */
void lj_prediction_gradient(const struct lj_prediction *p, float scale, const float *proj,
                            int64_t n, float *dproj);

#endif
