/* SPDX-License-Identifier: Apache-2.0 */
/* The running average of the weights against the recurrence in double, cut into shards, and its
 * decay at the start. */
#include "optim/optim.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ELEMENTS = 3 * (1 << 16) + 5, STEPS = 4 };

/* (STEPS + 1, ELEMENTS): the weights at the start and after each update. */
static float *trajectory(void)
{
    float *weights = malloc((STEPS + 1) * ELEMENTS * sizeof *weights);
    lj_random_normal_f32(weights, (STEPS + 1) * ELEMENTS, 7);
    return weights;
}

/* The average of a shard [first, first + count) of the weights, in two buckets. */
static float *average_of(const float *weights, int64_t first, int64_t count, double decay)
{
    const int64_t half = count / 2, begin[] = {first, first + half},
                  length[] = {half, count - half}, offset[] = {0, half};
    const struct lj_shard_layout shards = {2, begin, length, offset, begin, count};
    float *average = malloc((size_t)count * sizeof *average);
    memcpy(average, weights + first, (size_t)count * sizeof *average);
    for (int64_t step = 0; step < STEPS; step++)
        lj_average_update(&shards, lj_average_decay(decay, step), weights + (step + 1) * ELEMENTS,
                          average);
    return average;
}

Test(average, follows_the_recurrence)
{
    float *weights = trajectory(), *average = average_of(weights, 0, ELEMENTS, 0.25);
    for (int64_t i = 0; i < ELEMENTS; i++) {
        double wanted = (double)weights[i];
        for (int64_t step = 0; step < STEPS; step++) {
            double decay = fmin(0.25, (double)(1 + step) / (double)(10 + step));
            wanted = decay * wanted + (1 - decay) * (double)weights[(step + 1) * ELEMENTS + i];
        }
        cr_assert_float_eq((double)average[i], wanted, 2e-6, "element %lld", (long long)i);
    }
    free(average);
    free(weights);
}

Test(average, does_not_show_who_owns_an_element)
{
    const int64_t cut[] = {0, 1, 70000, 70003, ELEMENTS};
    float *weights = trajectory(), *whole = average_of(weights, 0, ELEMENTS, 0.25);
    for (int s = 0; s < 4; s++) {
        int64_t count = cut[s + 1] - cut[s];
        float *shard = average_of(weights, cut[s], count, 0.25);
        cr_assert_arr_eq(shard, whole + cut[s], (size_t)count * sizeof *shard, "shard %d", s);
        free(shard);
    }
    free(whole);
    free(weights);
}

/* What never changes is its own average, and variances stay variances. */
Test(average, keeps_what_does_not_move)
{
    float weights[2] = {0.1f, 0}, average[2] = {0.1f, 1e-40f};
    const int64_t first[] = {0}, count[] = {2}, offset[] = {0};
    const struct lj_shard_layout shards = {1, first, count, offset, first, 2};
    for (int step = 0; step < 1000; step++)
        lj_average_update(&shards, lj_average_decay(0.999, step), weights, average);
    cr_assert(average[0] == 0.1f && average[1] >= 0);
}

/* As BYOL has it: 1 - (1 - momentum) (cos(pi k / K) + 1) / 2. */
Test(average, of_a_target_ends_at_one)
{
    cr_assert_float_eq(lj_target_decay(0.996, 0, 100), 0.996, 1e-15);
    cr_assert_float_eq(lj_target_decay(0.996, 50, 100), 0.998, 1e-15);
    cr_assert_float_eq(lj_target_decay(0.996, 25, 100), 1 - 0.004 * (sqrt(0.5) + 1) / 2, 1e-15);
    cr_assert_float_eq(lj_target_decay(0.996, 100, 100), 1, 1e-15);
    cr_assert_float_eq(lj_target_decay(1, 3, 100), 1, 1e-15);
}

Test(average, begins_short)
{
    cr_assert_float_eq(lj_average_decay(0.999, 0), 0.1, 1e-15);
    cr_assert_float_eq(lj_average_decay(0.999, 89), 90.0 / 99, 1e-15);
    cr_assert_lt(lj_average_decay(0.999, 8989), 0.999);
    cr_assert_float_eq(lj_average_decay(0.999, 8990), 0.999, 1e-15);
    cr_assert_float_eq(lj_average_decay(0.999, 1000000), 0.999, 1e-15);
    cr_assert_float_eq(lj_average_decay(0.05, 0), 0.05, 1e-15);
}
