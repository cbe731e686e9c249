/* SPDX-License-Identifier: Apache-2.0 */
/* Random directions: i.i.d. normals in D dimensions, each divided by its length, new at every step
 * (paper, Algorithm 1). Stored as rows (M, D): the transpose of the paper's A, dense for any tile
 * of slices. A slice is a stream of its own, so threads can share the work. */
#include "loss/lejepa.h"

#include "kernels/kernels.h"

#include <math.h>

static void normalise(float *slice, int64_t width)
{
    double square = lj_kernels()->square_sum(slice, width);
    double scale = square > 0 ? 1 / sqrt(square) : 0;
    for (int64_t d = 0; d < width; d++)
        slice[d] = (float)((double)slice[d] * scale);
}

void lj_slices_draw(float *slices, int64_t width, int64_t count, int64_t seed, int64_t step)
{
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < count; m++) {
        struct lj_rng rng;
        lj_rng_begin(&rng, seed, LJ_DRAW_SLICES, (uint64_t)step, (uint64_t)m, 0);
        lj_draw_normals(slices + m * width, width, &rng);
        normalise(slices + m * width, width);
    }
}

/* Sixteen columns, a line of the cache, at a time. */
void lj_slices_take(float *slices, const float *columns, int64_t width, int64_t count)
{
    for (int64_t first = 0; first < count; first += 16) {
        int64_t end = lj_min_i64(first + 16, count);
        for (int64_t d = 0; d < width; d++)
            for (int64_t m = first; m < end; m++)
                slices[m * width + d] = columns[d * count + m];
        for (int64_t m = first; m < end; m++)
            normalise(slices + m * width, width);
    }
}
