/* SPDX-License-Identifier: Apache-2.0 */
/* Random directions: i.i.d. normals (D, M), each column divided by its length, new at every step
 * (paper, Algorithm 1). A column is a stream of its own, so threads can share the work. */
#include "loss_state.h"

#include <math.h>

static void draw_column(float *slices, int64_t width, int64_t count, int64_t m, int64_t seed,
                        int64_t step)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, seed, LJ_DRAW_SLICES, (uint64_t)step, (uint64_t)m, 0);
    for (int64_t d = 0; d < width; d += 2) { /* Box-Muller gives two normals at a time */
        double radius = sqrt(-2 * log(1 - lj_rng_uniform(&rng)));
        double angle = 2 * M_PI * lj_rng_uniform(&rng);
        slices[d * count + m] = (float)(radius * cos(angle));
        if (d + 1 < width)
            slices[(d + 1) * count + m] = (float)(radius * sin(angle));
    }
}

static void normalise_column(float *slices, int64_t width, int64_t count, int64_t m)
{
    double square = 0;
    for (int64_t d = 0; d < width; d++)
        square += (double)slices[d * count + m] * (double)slices[d * count + m];
    double inverse = square > 0 ? 1 / sqrt(square) : 0;
    for (int64_t d = 0; d < width; d++)
        slices[d * count + m] = (float)((double)slices[d * count + m] * inverse);
}

void lj_slices_draw(float *slices, int64_t width, int64_t count, int64_t seed, int64_t step)
{
#pragma omp parallel for schedule(static)
    for (int64_t m = 0; m < count; m++) {
        draw_column(slices, width, count, m, seed, step);
        normalise_column(slices, width, count, m);
    }
}

void lj_slices_normalise(float *slices, int64_t width, int64_t count)
{
    for (int64_t m = 0; m < count; m++)
        normalise_column(slices, width, count, m);
}
