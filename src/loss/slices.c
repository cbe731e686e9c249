/* SPDX-License-Identifier: Apache-2.0 */
/* Random directions: i.i.d. normals (D, M), each column divided by its length, new at every step
 * (paper, Algorithm 1). A column is a stream of its own, so threads can share the work: each takes some
 * columns and goes down their rows. */
#include "loss_state.h"

#include "lejepa/kernels.h"

#include <math.h>

enum { COLUMNS = 64 };

/* Numbers for Box-Muller: u in (0, 1] and v in [0, 1] for n columns, from halves of one draw each. */
static void draw_uniforms(float *u, float *v, struct lj_rng *rng, int64_t n)
{
    for (int64_t m = 0; m < n; m++) {
        uint64_t bits = lj_rng_bits(&rng[m]);
        u[m] = (float)(((double)(bits >> 32) + 1) * 0x1p-32);
        v[m] = (float)((double)(bits & 0xffffffff) * 0x1p-32);
    }
}

/* Columns first .. first + n - 1. */
static void draw_columns(float *slices, int64_t width, int64_t count, int64_t first, int64_t n,
                         int64_t seed, int64_t step)
{
    struct lj_rng rng[COLUMNS];
    for (int64_t m = 0; m < n; m++)
        lj_rng_begin(&rng[m], seed, LJ_DRAW_SLICES, (uint64_t)step, (uint64_t)(first + m), 0);
    for (int64_t d = 0; d < width; d += 2) { /* Box-Muller gives two normals at a time */
        float spare[COLUMNS], *row = slices + d * count + first;
        float *next = d + 1 < width ? row + count : spare;
        draw_uniforms(row, next, rng, n);
        lj_kernels()->normals(row, next, n);
    }
}

/* Columns to unit length, and a copy of them as rows of by_slice (M, D). */
static void normalise_columns(float *slices, float *by_slice, int64_t width, int64_t count,
                              int64_t first, int64_t n)
{
    double scale[COLUMNS] = {0};
    for (int64_t d = 0; d < width; d++) {
        const float *row = slices + d * count + first;
        for (int64_t m = 0; m < n; m++)
            scale[m] += (double)row[m] * (double)row[m];
    }
    for (int64_t m = 0; m < n; m++)
        scale[m] = scale[m] > 0 ? 1 / sqrt(scale[m]) : 0;
    for (int64_t d = 0; d < width; d++) {
        float *row = slices + d * count + first;
        for (int64_t m = 0; m < n; m++)
            row[m] = (float)((double)row[m] * scale[m]);
        for (int64_t m = 0; m < n; m++)
            by_slice[(first + m) * width + d] = row[m];
    }
}

void lj_slices_draw(float *slices, float *by_slice, int64_t width, int64_t count, int64_t seed,
                    int64_t step)
{
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < count; m += COLUMNS) {
        int64_t n = lj_min_i64(COLUMNS, count - m);
        draw_columns(slices, width, count, m, n, seed, step);
        normalise_columns(slices, by_slice, width, count, m, n);
    }
}

void lj_slices_normalise(float *slices, float *by_slice, int64_t width, int64_t count)
{
    for (int64_t m = 0; m < count; m += COLUMNS)
        normalise_columns(slices, by_slice, width, count, m, lj_min_i64(COLUMNS, count - m));
}
