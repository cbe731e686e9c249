/* SPDX-License-Identifier: Apache-2.0 */
/* SIGReg: the sliced Epps-Pulley statistic (paper, Definition 2, Algorithm 1).
 *
 * For one view and one slice a, x_n = a . z_n, C(t) = mean cos(t x), S(t) = mean sin(t x) over the
 * global batch, phi(t) = exp(-t^2/2):
 *   EP = N sum_k w_k [ (C(t_k) - phi(t_k))^2 + S(t_k)^2 ]
 *   SIGReg = mean over slices and views
 *   dEP/dx_n = 2 sum_k w_k t_k [ S cos(t_k x_n) - (C - phi) sin(t_k x_n) ]
 *   dSIGReg/dz_n = 1 / (V M) sum_m (dEP_m/dx_n) a_m
 * The leading N cancels the 1/N inside C and S. Nothing of size V x N x M x K is ever stored: tiles
 * of projections are made and used, and in the gradient read again where the lane keeps them, else
 * made again by the same matmul. */
#include "loss/lejepa.h"

#include "kernels/kernels.h"

struct tile {
    int64_t first_view, views; /* several whole views when lanes are small, else one */
    int64_t first_row, rows;   /* of each of these views */
    int64_t first_slice, slices;
    int64_t before; /* elements of the lane's tiles before this one */
};

/* x (tile.views x tile.rows, tile.slices) = z A: the rows of a tile are contiguous in proj, because
 * it holds either whole views or rows of one. */
static void project(float *x, const struct lj_lejepa *loss, const struct lj_loss_lane *lane,
                    const struct tile *tile)
{
    int64_t width = loss->config.width;
    struct lj_matmul matmul = {.batch = 1,
                               .m = tile->views * tile->rows,
                               .n = tile->slices,
                               .k = width,
                               .transpose_b = true};
    lj_matmul(&matmul, lane->proj + (tile->first_view * lane->n + tile->first_row) * width,
              loss->slices + tile->first_slice * width, NULL, x);
}

/* Where this lane's projections are cached; NULL: nowhere. */
static float *cached_of(const struct lj_lejepa *loss, const struct lj_loss_lane *lane)
{
    return lane->index < loss->config.cached_lanes ? loss->cached[lane->index] : NULL;
}

/* What is done with the tiles of a lane: sums are added to, or dproj is. */
struct target {
    struct lj_lejepa *loss;
    const struct lj_loss_lane *lane;
    int64_t *sums, *nonfinite;
    float *dproj;
};

/* Calls visit for every tile of a lane. */
static void for_each_tile(const struct target *target,
                          void (*visit)(const struct target *, const struct tile *))
{
    const struct lj_lejepa_config *c = &target->loss->config;
    int64_t n = target->lane->n, V = c->views, before = 0;
    int64_t at_once = lj_max_i64(1, LJ_TILE_ROWS / lj_max_i64(n, 1));
    for (int64_t v = 0; v < V; v += at_once)
        for (int64_t r = 0; r < n; r += LJ_TILE_ROWS)
            for (int64_t m = 0; m < c->slices; m += LJ_TILE_SLICES) {
                struct tile tile = {.first_view = v,
                                    .views = lj_min_i64(at_once, V - v),
                                    .first_row = r,
                                    .rows = lj_min_i64(LJ_TILE_ROWS, n - r),
                                    .first_slice = m,
                                    .slices = lj_min_i64(LJ_TILE_SLICES, c->slices - m),
                                    .before = before};
                before += tile.views * tile.rows * tile.slices;
                visit(target, &tile);
            }
}

/* ---- sums -------------------------------------------------------------------------------- */

/* Rows of one view on one chunk of slices, to the chunk's sums. */
static void add_chunk(const struct target *target, int64_t *sums, const float *x, int64_t ldx,
                      int64_t rows, int64_t slices)
{
    const struct lj_kernels *kernels = lj_kernels();
    const struct lj_lejepa *loss = target->loss;
    float block[2 * LJ_KNOTS_MAX * LJ_CHUNK_SLICES];
    for (int64_t r = 0; r < rows; r += LJ_BLOCK_ROWS) {
        kernels->ecf_sums(block, x + r * ldx, ldx, lj_min_i64(LJ_BLOCK_ROWS, rows - r), slices,
                          loss->knots, (float)loss->t[0]);
        *target->nonfinite += kernels->add_fixed(sums, block, 2 * loss->knots * slices);
    }
}

static void add_tile(const struct target *target, const struct tile *tile)
{
    const struct lj_lejepa *loss = target->loss;
    float *cached = cached_of(loss, target->lane),
          *x = cached ? cached + tile->before : loss->scratch[target->lane->worker];
    project(x, loss, target->lane, tile);
    for (int64_t v = 0; v < tile->views; v++)
        for (int64_t m = 0; m < tile->slices; m += LJ_CHUNK_SLICES)
            add_chunk(target,
                      target->sums +
                          lj_sigreg_at(loss, tile->first_view + v, tile->first_slice + m),
                      x + v * tile->rows * tile->slices + m, tile->slices, tile->rows,
                      lj_min_i64(LJ_CHUNK_SLICES, tile->slices - m));
}

void lj_sigreg_add(struct lj_lejepa *loss, const struct lj_loss_lane *lane, int64_t *sums,
                   int64_t *nonfinite)
{
    struct target target = {.loss = loss, .lane = lane, .sums = sums, .nonfinite = nonfinite};
    for_each_tile(&target, add_tile);
}

/* ---- statistic --------------------------------------------------------------------------- */

/* sum_k w_k [ (C - phi)^2 + S^2 ] of a chunk and the gradient's coefficients there. */
static double finish_chunk(struct lj_lejepa *loss, const int64_t *sums, int64_t view, int64_t first,
                           int64_t slices)
{
    int64_t at = lj_sigreg_at(loss, view, first), K = loss->knots;
    const int64_t *of_cos = sums + at, *of_sin = of_cos + K * slices;
    float *a = loss->coefficient + at, *b = a + K * slices;
    double each = loss->config.lambda / (double)(loss->config.views * loss->config.slices);
    double inverse = 1 / (double)loss->samples, total = 0;
    for (int64_t k = 0; k < K; k++) {
        double scale = 2 * loss->weight[k] * loss->t[k] * each, sum = 0;
        for (int64_t i = k * slices; i < (k + 1) * slices; i++) {
            double c = lj_from_fixed(of_cos[i]) * inverse - loss->phi[k];
            double s = lj_from_fixed(of_sin[i]) * inverse;
            sum += c * c + s * s;
            a[i] = (float)(scale * s);
            b[i] = (float)(-scale * c);
        }
        total += loss->weight[k] * sum;
    }
    return total;
}

static int64_t chunk_slices(const struct lj_lejepa *loss, int64_t first)
{
    return lj_min_i64(LJ_CHUNK_SLICES, loss->config.slices - first);
}

double lj_sigreg_finish(struct lj_lejepa *loss, const int64_t *sums)
{
    int64_t V = loss->config.views, M = loss->config.slices;
    double sum = 0;
    for (int64_t v = 0; v < V; v++)
        for (int64_t m = 0; m < M; m += LJ_CHUNK_SLICES)
            sum += finish_chunk(loss, sums, v, m, chunk_slices(loss, m));
    return (double)loss->samples * sum / (double)(V * M);
}

void lj_sigreg_slice_values(const struct lj_lejepa *loss, const int64_t *sums, double *values)
{
    int64_t M = loss->config.slices, V = loss->config.views, K = loss->knots;
    double N = (double)loss->samples;
    for (int64_t m = 0; m < M; m++)
        values[m] = 0;
    for (int64_t v = 0; v < V; v++)
        for (int64_t first = 0; first < M; first += LJ_CHUNK_SLICES) {
            const int64_t *chunk = sums + lj_sigreg_at(loss, v, first);
            int64_t slices = chunk_slices(loss, first);
            for (int64_t i = 0; i < K * slices; i++) {
                double c = lj_from_fixed(chunk[i]) / N - loss->phi[i / slices];
                double s = lj_from_fixed(chunk[i + K * slices]) / N;
                values[first + i % slices] +=
                    N * loss->weight[i / slices] * (c * c + s * s) / (double)V;
            }
        }
}

/* ---- gradient ---------------------------------------------------------------------------- */

/* Cached projections are only read: g lies in scratch, which stays in the cache. */
static void add_tile_gradient(const struct target *target, const struct tile *tile)
{
    const struct lj_lejepa *loss = target->loss;
    const struct lj_loss_lane *lane = target->lane;
    int64_t width = loss->config.width;
    float *cached = cached_of(loss, lane), *g = loss->scratch[lane->worker];
    const float *x = cached ? cached + tile->before : g;
    if (!cached)
        project(g, loss, lane, tile);
    for (int64_t v = 0; v < tile->views; v++)
        for (int64_t m = 0; m < tile->slices; m += LJ_CHUNK_SLICES) {
            int64_t at = v * tile->rows * tile->slices + m;
            lj_kernels()->ecf_gradient(
                g + at, x + at, tile->slices,
                loss->coefficient + lj_sigreg_at(loss, tile->first_view + v, tile->first_slice + m),
                tile->rows, lj_min_i64(LJ_CHUNK_SLICES, tile->slices - m), loss->knots,
                (float)loss->t[0]);
        }
    struct lj_matmul matmul = {.batch = 1, /* dz (rows, D) += g A^T */
                               .m = tile->views * tile->rows,
                               .n = width,
                               .k = tile->slices,
                               .add = true};
    lj_matmul(&matmul, g, loss->slices + tile->first_slice * width, NULL,
              target->dproj + (tile->first_view * lane->n + tile->first_row) * width);
}

void lj_sigreg_gradient(struct lj_lejepa *loss, const struct lj_loss_lane *lane, float *dproj)
{
    struct target target = {.loss = loss, .lane = lane, .dproj = dproj};
    for_each_tile(&target, add_tile_gradient);
}
