/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg in one call: LeJEPA of one view with lambda 1. */
#include "loss/lejepa.h"

/* Blocks of rows are the lanes, so that the bits depend on the blocks only, matmuls included. */
static struct lj_loss_lane lane_at(const float *rows, int64_t first, int64_t n, int64_t width)
{
    return (struct lj_loss_lane){.index = first / LJ_BLOCK_ROWS,
                                 .n = lj_min_i64(LJ_BLOCK_ROWS, n - first),
                                 .proj = rows + first * width};
}

static int measure(struct lj_objective *loss, int64_t step, const float *rows, int64_t n,
                   int64_t width, double *value, float *gradient)
{
    struct lj_step_message message = {0};
    double term[LJ_TERMS_MAX];
    lj_objective_begin(loss, step);
    for (int64_t r = 0; r < n; r += LJ_BLOCK_ROWS) {
        struct lj_loss_lane lane = lane_at(rows, r, n, width);
        lj_objective_add(loss, &lane);
    }
    LJ_TRY(lj_objective_reduce(loss, LJ_OK, &message, term));
    if (message.nonfinite > 0) /* the same number on every rank */
        return lj_fail(LJ_ERR_NUMERIC,
                       "SIGReg: %lld sums over rows are not finite; look for values that are not",
                       (long long)message.nonfinite);
    *value = term[LJ_LEJEPA_SIGREG];
    for (int64_t r = 0; gradient && r < n; r += LJ_BLOCK_ROWS) {
        struct lj_loss_lane lane = lane_at(rows, r, n, width);
        lj_objective_gradient(loss, &lane, gradient + r * width);
    }
    return LJ_OK;
}

int lj_sigreg(struct lj_comm *comm, const float *rows, int64_t n, int64_t width, int64_t slices,
              int64_t step, double *value, float *gradient)
{
    struct lj_lejepa_config config = {.views = 1,
                                      .centre_views = 1,
                                      .width = width,
                                      .slices = slices,
                                      .grid = LJ_SIGREG_GRID_A,
                                      .lambda = 1,
                                      .workers = 1,
                                      .lanes = 1, /* for the prediction, which is 0 */
                                      .lane_rows = LJ_BLOCK_ROWS};
    struct lj_objective *loss = NULL;
    int status = lj_agree(comm, lj_lejepa_create(&loss, comm, &config, NULL));
    if (status == LJ_OK)
        status = measure(loss, step, rows, n, width, value, gradient);
    lj_objective_destroy(loss);
    return status;
}
