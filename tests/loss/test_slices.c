/* SPDX-License-Identifier: Apache-2.0 */
/* Random directions: unit length, new at each step, the same for the same step and seed, and spread
 * evenly: each coordinate of a direction in D dimensions has variance 1 / D. */
#include "loss/lejepa.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { D = 7, M = 1000 };

Test(slices, have_unit_length_and_even_spread)
{
    static float slices[M * D];
    lj_slices_draw(slices, D, M, 42, 3);
    for (int m = 0; m < M; m++) {
        double square = 0;
        for (int d = 0; d < D; d++)
            square += (double)slices[m * D + d] * (double)slices[m * D + d];
        cr_assert(fabs(square - 1) < 1e-6, "slice %d: length^2 %.9g", m, square);
    }
    for (int d = 0; d < D; d++) {
        double mean = 0, square = 0;
        for (int m = 0; m < M; m++) {
            mean += (double)slices[m * D + d] / M;
            square += (double)slices[m * D + d] * (double)slices[m * D + d] / M;
        }
        /* five standard deviations */
        cr_assert(fabs(mean) < 5 * sqrt(1.0 / D / M), "coordinate %d: mean %g", d, mean);
        cr_assert(fabs(square - 1.0 / D) < 5 * sqrt(2.0 * (D - 1) / (D * D * (D + 2.0)) / M),
                  "coordinate %d: variance %g", d, square);
    }
}

Test(slices, coordinates_are_uncorrelated)
{
    static float slices[M * D];
    lj_slices_draw(slices, D, M, 42, 3);
    for (int d = 0; d < D; d++)
        for (int e = 0; e < d; e++) {
            double product = 0;
            for (int m = 0; m < M; m++)
                product += (double)slices[m * D + d] * (double)slices[m * D + e] / M;
            cr_assert(fabs(product) < 5 / (D * sqrt(M)), "coordinates %d and %d: %g", d, e,
                      product);
        }
}

Test(slices, are_named_by_seed_and_step)
{
    static float first[M * D], other[M * D];
    lj_slices_draw(first, D, M, 42, 3);
    lj_slices_draw(other, D, M, 42, 3);
    cr_assert_eq(memcmp(first, other, sizeof first), 0);
    lj_slices_draw(other, D, M, 42, 4);
    cr_assert_neq(memcmp(first, other, sizeof first), 0);
    lj_slices_draw(other, D, M, 43, 3);
    cr_assert_neq(memcmp(first, other, sizeof first), 0);
    lj_slices_draw(other, D, 10, 42, 3); /* a slice does not depend on how many there are */
    cr_assert_eq(memcmp(other, first, 10 * D * sizeof *first), 0);
}

Test(slices, given_as_columns_are_normalised_and_a_zero_one_stays)
{
    const float columns[2 * 2] = {3, 0, 4, 0};
    float slices[2 * 2];
    lj_slices_take(slices, columns, 2, 2);
    cr_assert_float_eq(slices[0], 0.6f, 1e-7f);
    cr_assert_float_eq(slices[1], 0.8f, 1e-7f);
    cr_assert(slices[2] == 0 && slices[3] == 0);
}
