/* SPDX-License-Identifier: Apache-2.0 */
/* A running average of the weights: a <- a + (1 - d) (w - a) after each update, as in Polyak
 * averaging and the averaged copies of timm and TensorFlow. With a constant decay d the first
 * weights, which know nothing, would stay in it for some 1 / (1 - d) updates; so d begins small and
 * grows to the one that is set, as TensorFlow's ExponentialMovingAverage has it with num_updates:
 *   d(t) = min(d, (1 + t) / (10 + t))
 * The average is then one of about the last tenth of the run, until that is longer than
 * 1 / (1 - d). An objective's target has a decay of its own: BYOL's, which rises to 1. */
#include "optim/optim.h"

#include <math.h>

/* Elements that a thread averages at a time: a multiple of a cache line. */
enum { CHUNK = 1 << 14 };

double lj_average_decay(double decay, int64_t step)
{
    double t = (double)step;
    return fmin(decay, (1 + t) / (10 + t));
}

double lj_target_decay(double momentum, int64_t step, int64_t steps)
{
    return 1 - (1 - momentum) * 0.5 * (1 + cos(M_PI * (double)step / (double)steps));
}

static void average_chunk(float *average, const float *weights, int64_t count, float share)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        average[i] += share * (weights[i] - average[i]);
}

void lj_average_update(const struct lj_shard_layout *shards, double decay, const float *weights,
                       float *average)
{
    float share = (float)(1 - decay);
    for (int b = 0; b < shards->buckets; b++) {
        float *to = average + shards->offset[b];
        const float *from = weights + shards->weights[b];
        int64_t count = shards->count[b];
#pragma omp parallel for schedule(static) if (count > 4 * CHUNK)
        for (int64_t at = 0; at < count; at += CHUNK)
            average_chunk(to + at, from + at, lj_min_i64(CHUNK, count - at), share);
    }
}
