/* SPDX-License-Identifier: Apache-2.0 */
/* Random arrays, each from a stream of the purpose LJ_DRAW_TEST. */
#include "random.h"

#include <math.h>

double lj_random_normal(struct lj_rng *rng)
{
    double u = 1.0 - lj_rng_uniform(rng); /* (0, 1] */
    double v = lj_rng_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

void lj_random_normal_f64(double *x, int64_t n, uint64_t stream)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 0, LJ_DRAW_TEST, stream, 0, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = lj_random_normal(&rng);
}

void lj_random_normal_f32(float *x, int64_t n, uint64_t stream)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 0, LJ_DRAW_TEST, stream, 0, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)lj_random_normal(&rng);
}

void lj_random_between_f64(double *x, int64_t n, double low, double high, uint64_t stream)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 0, LJ_DRAW_TEST, stream, 1, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = lj_rng_between(&rng, low, high);
}

/* Takes 24 bits of a draw, as many as a float in [0, 1) holds, so that no rounding reaches 1. */
void lj_random_between_f32(float *x, int64_t n, float low, float high, uint64_t stream)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 0, LJ_DRAW_TEST, stream, 1, 0);
    for (int64_t i = 0; i < n; i++) {
        float unit = (float)(lj_rng_bits(&rng) >> 40) * 0x1p-24f;
        x[i] = low + (high - low) * unit;
    }
}
