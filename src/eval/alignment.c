/* SPDX-License-Identifier: Apache-2.0 */
/* Alignment of views: how much of the projections' variance lies between views of one sample.
 * Distances of a block of samples are summed in double, then rounded to 64-bit fixed point, in the
 * unit in which the sum of all squares just fits: what lies within samples is a part of that. */
#include "eval/moments.h"

#include <math.h>

/* sum_v |z_v - centre|^2 of one sample, z (V, D). */
static double spread_of(const float *z, int64_t views, int64_t width)
{
    double spread = 0.0;
    for (int64_t d = 0; d < width; d++) {
        double centre = 0.0;
        for (int64_t v = 0; v < views; v++)
            centre += (double)z[v * width + d];
        centre /= (double)views;
        for (int64_t v = 0; v < views; v++) {
            double distance = (double)z[v * width + d] - centre;
            spread += distance * distance;
        }
    }
    return spread;
}

/* Of my samples [first, end). */
static double spread_of_block(const struct lj_projections *p, int64_t first, int64_t end)
{
    int64_t each = p->views * p->width;
    double spread = 0.0;
    lj_progress();
    for (int64_t i = first; i < end; i++)
        spread += spread_of(p->values + i * each, p->views, p->width);
    return spread;
}

void lj_projections_alignment(struct lj_comm *comm, const struct lj_projections *p, double trace,
                              double *alignment)
{
    int64_t rows = lj_all_sum(comm, p->samples * p->views), sum = 0;
    double total = trace * (double)rows;
    *alignment = NAN;
    if (p->views < 2 || !(total > 0.0))
        return;
    double scale = lj_fixed_scale(2.0 * total); /* twice: trace is rounded, too */
#pragma omp parallel for schedule(static) reduction(+ : sum)
    for (int64_t first = 0; first < p->samples; first += LJ_FEATURES_BLOCK) {
        int64_t end = lj_min_i64(first + LJ_FEATURES_BLOCK, p->samples);
        sum += llrint(spread_of_block(p, first, end) * scale * 0x1p32);
    }
    lj_sum_exact(comm, NULL, &sum, 1);
    *alignment = lj_from_fixed(sum) / scale / total;
}
