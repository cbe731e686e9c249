/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg: the sliced Epps-Pulley statistic (paper, Definition 2, Algorithm 1).
 *
 * For one view and one slice a, x_n = a . z_n, C(t) = mean cos(t x), S(t) = mean sin(t x) over the
 * global batch, phi(t) = exp(-t^2/2):
 *   EP = N sum_k w_k [ (C(t_k) - phi(t_k))^2 + S(t_k)^2 ]
 *   SIGReg = mean over slices and views
 *   dEP/dx_n = 2 sum_k w_k t_k [ S cos(t_k x_n) - (C - phi) sin(t_k x_n) ]
 *   dSIGReg/dz_n = 1 / (V M) sum_m (dEP_m/dx_n) a_m
 * The leading N cancels the 1/N inside C and S. Nothing of size V x N x M x K is ever stored: tiles of
 * projections are made, used and, in the gradient, made again. */
#include "loss_state.h"

#include "lejepa/kernels.h"

#include <math.h>

/* Scratch of a slot: projections (LJ_TILE_ROWS, LJ_TILE_SLICES), then sums
 * of one block (2, K, LJ_TILE_SLICES). */
struct tile {
    int64_t first_view, views; /* several whole views when lanes are small, else one */
    int64_t first_row, rows;   /* of each of these views */
    int64_t first_slice, slices;
};

static float *block_sums(const struct lj_lejepa *loss, int slot)
{
    return loss->scratch[slot] + LJ_TILE_ROWS * LJ_TILE_SLICES;
}

/* x (tile.views x tile.rows, tile.slices) = z A: the rows of a tile are contiguous in proj, because it
 * holds either whole views or rows of one. */
static float *project(struct lj_lejepa *loss, int slot, const float *proj, int64_t n,
                      const struct tile *tile)
{
    int64_t width = loss->config.width, count = loss->config.slices;
    const float *z = proj + (tile->first_view * n + tile->first_row) * width;
    lj_gemm(false, false, tile->views * tile->rows, tile->slices, width, 1, z, width,
            loss->slices + tile->first_slice, count, 0, loss->scratch[slot], LJ_TILE_SLICES);
    return loss->scratch[slot];
}

/* Calls visit for every tile of a lane. */
static void for_each_tile(struct lj_lejepa *loss, int slot, const float *proj, int64_t n,
                          float *dproj,
                          void (*visit)(struct lj_lejepa *, int, const float *, int64_t, float *,
                                        const struct tile *))
{
    int64_t at_once = lj_max_i64(1, LJ_TILE_ROWS / lj_max_i64(n, 1)), V = loss->config.views;
    for (int64_t v = 0; v < V; v += at_once)
        for (int64_t r = 0; r < n; r += LJ_TILE_ROWS)
            for (int64_t m = 0; m < loss->config.slices; m += LJ_TILE_SLICES) {
                struct tile tile = {.first_view = v,
                                    .views = lj_min_i64(at_once, V - v),
                                    .first_row = r,
                                    .rows = lj_min_i64(LJ_TILE_ROWS, n - r),
                                    .first_slice = m,
                                    .slices = lj_min_i64(LJ_TILE_SLICES, loss->config.slices - m)};
                visit(loss, slot, proj, n, dproj, &tile);
            }
}

/* ---- sums ------------------------------------------------------------------------------------------ */

static void add_block(struct lj_lejepa *loss, int slot, int64_t view, const float *x, int64_t rows,
                      const struct tile *tile)
{
    const struct lj_kernels *kernels = lj_kernels();
    int K = loss->knots;
    float *cosines = block_sums(loss, slot), *sines = cosines + K * LJ_TILE_SLICES;
    int64_t *sums = loss->sums[slot], count = loss->config.slices;
    int64_t *unfit = sums + lj_loss_sums(loss) + LJ_SUM_UNFIT;
    kernels->ecf_sums(cosines, sines, LJ_TILE_SLICES, x, LJ_TILE_SLICES, rows, tile->slices, K,
                      (float)loss->t[0]);
    for (int part = 0; part < 2; part++)
        for (int k = 0; k < K; k++)
            *unfit += kernels->add_fixed(
                sums + lj_loss_at(loss, view, part) + k * count + tile->first_slice,
                (part ? sines : cosines) + k * LJ_TILE_SLICES, tile->slices);
}

static void add_tile(struct lj_lejepa *loss, int slot, const float *proj, int64_t n, float *unused,
                     const struct tile *tile)
{
    (void)unused;
    const float *x = project(loss, slot, proj, n, tile);
    for (int64_t v = 0; v < tile->views; v++)
        for (int64_t r = 0; r < tile->rows; r += LJ_BLOCK_ROWS)
            add_block(loss, slot, tile->first_view + v, x + (v * tile->rows + r) * LJ_TILE_SLICES,
                      lj_min_i64(LJ_BLOCK_ROWS, tile->rows - r), tile);
}

void lj_sigreg_add(struct lj_lejepa *loss, int slot, const float *proj, int64_t n)
{
    for_each_tile(loss, slot, proj, n, NULL, add_tile);
}

/* ---- statistic --------------------------------------------------------------------------------------- */

/* Statistic of one view and knot over all slices, and the gradient's coefficients there. */
static double finish_knot(struct lj_lejepa *loss, int64_t view, int k)
{
    int64_t M = loss->config.slices, cos_at = lj_loss_at(loss, view, 0) + k * M;
    int64_t sin_at = lj_loss_at(loss, view, 1) + k * M;
    double N = (double)loss->samples, t = loss->t[k], phi = exp(-0.5 * t * t), sum = 0;
    double scale = 2 * loss->weight[k] * t * loss->config.lambda / (double)(loss->config.views * M);
    for (int64_t m = 0; m < M; m++) {
        double c = lj_from_fixed(loss->sums[0][cos_at + m]) / N - phi;
        double s = lj_from_fixed(loss->sums[0][sin_at + m]) / N;
        sum += c * c + s * s;
        loss->coefficient[cos_at + m] = (float)(scale * s);
        loss->coefficient[sin_at + m] = (float)(-scale * c);
    }
    return N * loss->weight[k] * sum;
}

double lj_sigreg_finish(struct lj_lejepa *loss)
{
    double sum = 0;
    for (int64_t v = 0; v < loss->config.views; v++)
        for (int k = 0; k < loss->knots; k++)
            sum += finish_knot(loss, v, k);
    return sum / (double)(loss->config.views * loss->config.slices);
}

void lj_lejepa_slice_values(const struct lj_lejepa *loss, double *values)
{
    int64_t M = loss->config.slices, V = loss->config.views;
    double N = (double)loss->samples;
    for (int64_t m = 0; m < M; m++) {
        values[m] = 0;
        for (int64_t v = 0; v < V; v++)
            for (int k = 0; k < loss->knots; k++) {
                int64_t at = k * M + m;
                double phi = exp(-0.5 * loss->t[k] * loss->t[k]);
                double c = lj_from_fixed(loss->sums[0][lj_loss_at(loss, v, 0) + at]) / N - phi;
                double s = lj_from_fixed(loss->sums[0][lj_loss_at(loss, v, 1) + at]) / N;
                values[m] += N * loss->weight[k] * (c * c + s * s) / (double)V;
            }
    }
}

/* ---- gradient ----------------------------------------------------------------------------------------- */

static void add_tile_gradient(struct lj_lejepa *loss, int slot, const float *proj, int64_t n,
                              float *dproj, const struct tile *tile)
{
    int64_t width = loss->config.width, count = loss->config.slices;
    float *x = project(loss, slot, proj, n, tile);
    for (int64_t v = 0; v < tile->views; v++) {
        float *rows = x + v * tile->rows * LJ_TILE_SLICES;
        int64_t view = tile->first_view + v;
        lj_kernels()->ecf_gradient(
            rows, rows, LJ_TILE_SLICES,
            loss->coefficient + lj_loss_at(loss, view, 0) + tile->first_slice,
            loss->coefficient + lj_loss_at(loss, view, 1) + tile->first_slice, count, tile->rows,
            tile->slices, loss->knots, (float)loss->t[0]);
    }
    /* dz (rows, D) += g A^T */
    lj_gemm(false, true, tile->views * tile->rows, width, tile->slices, 1, x, LJ_TILE_SLICES,
            loss->slices + tile->first_slice, count, 1,
            dproj + (tile->first_view * n + tile->first_row) * width, width);
}

void lj_sigreg_gradient(struct lj_lejepa *loss, int slot, const float *proj, int64_t n,
                        float *dproj)
{
    for_each_tile(loss, slot, proj, n, dproj, add_tile_gradient);
}
