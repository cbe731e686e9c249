/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg in one call: the LeJEPA loss of one view with lambda 1. */
#include "loss/loss_state.h"

/* Blocks of rows are the lanes, so that the bits depend on the blocks only, products included. */
static void add_all(struct lj_lejepa *loss, const float *rows, int64_t n)
{
    for (int64_t r = 0; r < n; r += LJ_BLOCK_ROWS)
        lj_lejepa_add(loss, 0, r / LJ_BLOCK_ROWS, rows + r * loss->config.width,
                      lj_min_i64(LJ_BLOCK_ROWS, n - r));
}

static void differentiate_all(struct lj_lejepa *loss, const float *rows, int64_t n, float *gradient)
{
    int64_t width = loss->config.width;
    for (int64_t r = 0; r < n; r += LJ_BLOCK_ROWS)
        lj_lejepa_gradient(loss, 0, r / LJ_BLOCK_ROWS, rows + r * width,
                           lj_min_i64(LJ_BLOCK_ROWS, n - r), gradient + r * width);
}

static int measure(struct lj_lejepa *loss, int64_t step, const float *rows, int64_t n,
                   double *value, float *gradient)
{
    struct lj_lejepa_terms terms = {0};
    lj_lejepa_begin(loss, step);
    add_all(loss, rows, n);
    LJ_TRY(lj_lejepa_reduce(loss, LJ_OK, &terms));
    if (terms.nonfinite > 0) /* the same number on every rank */
        return lj_fail(LJ_ERR_NUMERIC,
                       "SIGReg: %lld sums over rows are not finite; look for values that are not",
                       (long long)terms.nonfinite);
    *value = terms.sigreg;
    if (gradient)
        differentiate_all(loss, rows, n, gradient);
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
                                      .lane_rows = LJ_BLOCK_ROWS};
    struct lj_lejepa *loss = NULL;
    int status = lj_agree(comm, lj_lejepa_create(&loss, comm, &config, NULL));
    if (status == LJ_OK)
        status = measure(loss, step, rows, n, value, gradient);
    lj_lejepa_destroy(loss);
    return status;
}
