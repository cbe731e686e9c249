/* SPDX-License-Identifier: Apache-2.0 */
/* Random directions: unit length, new at each step, the same for the same step and seed, and spread
 * evenly: each coordinate of a direction in D dimensions has variance 1 / D. */
#include "../../src/loss/loss_state.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { D = 7, M = 1000 };

Test(slices, have_unit_length_and_even_spread)
{
    static float slices[D * M], rows[D * M];
    lj_slices_draw(slices, rows, D, M, 42, 3);
    for (int m = 0; m < M; m++) {
        double square = 0;
        for (int d = 0; d < D; d++)
            square += (double)slices[d * M + m] * (double)slices[d * M + m];
        for (int d = 0; d < D; d++)
            cr_assert_eq(rows[m * D + d], slices[d * M + m]);
        cr_assert(fabs(square - 1) < 1e-6, "slice %d: length^2 %.9g", m, square);
    }
    for (int d = 0; d < D; d++) {
        double mean = 0, square = 0;
        for (int m = 0; m < M; m++) {
            mean += (double)slices[d * M + m] / M;
            square += (double)slices[d * M + m] * (double)slices[d * M + m] / M;
        }
        /* five standard deviations */
        cr_assert(fabs(mean) < 5 * sqrt(1.0 / D / M), "coordinate %d: mean %g", d, mean);
        cr_assert(fabs(square - 1.0 / D) < 5 * sqrt(2.0 * (D - 1) / (D * D * (D + 2.0)) / M),
                  "coordinate %d: variance %g", d, square);
    }
}

Test(slices, are_named_by_seed_and_step)
{
    static float first[D * M], other[D * M], rows[D * M];
    lj_slices_draw(first, rows, D, M, 42, 3);
    lj_slices_draw(other, rows, D, M, 42, 3);
    cr_assert_eq(memcmp(first, other, sizeof first), 0);
    lj_slices_draw(other, rows, D, M, 42, 4);
    cr_assert_neq(memcmp(first, other, sizeof first), 0);
    lj_slices_draw(other, rows, D, M, 43, 3);
    cr_assert_neq(memcmp(first, other, sizeof first), 0);
    lj_slices_draw(other, rows, D, 10, 42, 3); /* a column does not depend on how many there are */
    for (int d = 0; d < D; d++)
        cr_assert_eq(memcmp(other + d * 10, first + d * M, 10 * sizeof *first), 0);
}

Test(slices, normalise_leaves_a_zero_column_alone)
{
    float slices[2 * 2] = {3, 0, 4, 0}, rows[2 * 2];
    lj_slices_normalise(slices, rows, 2, 2);
    cr_assert_float_eq(slices[0], 0.6f, 1e-7f);
    cr_assert_float_eq(slices[2], 0.8f, 1e-7f);
    cr_assert(slices[1] == 0 && slices[3] == 0);
}
