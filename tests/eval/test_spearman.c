/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of scipy.stats.spearmanr (1.17.1). */
#include "eval/eval.h"

#include <criterion/criterion.h>
#include <math.h>

Test(spearman, as_scipy)
{
    const double a[] = {1, 2, 3, 4, 5}, b[] = {5, 6, 7, 8, 7};
    cr_assert_float_eq(lj_spearman(a, b, 5), 0.8207826816681233, 1e-15);
    const double reversed[] = {3, 1, 2}, order[] = {1, 3, 2};
    cr_assert_eq(lj_spearman(reversed, order, 3), -1);
    double sine[25], cosine[25];
    for (int i = 0; i < 25; i++) {
        sine[i] = sin(1.7 * i);
        cosine[i] = cos(0.9 * i);
    }
    cr_assert_float_eq(lj_spearman(sine, cosine, 25), -0.006153846153846154, 1e-15);
}

Test(spearman, ties_share_their_mean_rank)
{
    const double a[] = {0.1, 0.4, 0.4, 0.9, 1.3, 2.2}, b[] = {0.71, 0.69, 0.72, 0.5, 0.5, 0.5};
    cr_assert_float_eq(lj_spearman(a, b, 6), -0.8316554899054915, 1e-15);
    const double c[] = {1, 1, 2}, d[] = {4, 5, 5};
    cr_assert_float_eq(lj_spearman(c, d, 3), 0.5, 1e-15);
}

Test(spearman, undefined)
{
    const double same[] = {7, 7, 7}, order[] = {1, 2, 3};
    cr_assert(isnan(lj_spearman(same, order, 3)));
    cr_assert(isnan(lj_spearman(order, order, 1)));
    cr_assert(isnan(lj_spearman(order, order, 0)));
}
