/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <criterion/criterion.h>
#include <stdint.h>

Test(sizes, results_that_fit_are_exact)
{
    int64_t result = 0;
    cr_assert(lj_add_sizes(INT64_MAX - 5, 5, &result));
    cr_assert_eq(result, INT64_MAX);
    cr_assert(lj_multiply_sizes(INT64_C(1) << 31, INT64_C(1) << 31, &result));
    cr_assert_eq(result, INT64_C(1) << 62);
    cr_assert(lj_multiply_sizes(0, INT64_MAX, &result));
    cr_assert_eq(result, 0);
}

Test(sizes, what_wraps_is_refused_and_leaves_the_result)
{
    int64_t result = 7;
    cr_assert_not(lj_add_sizes(INT64_MAX - 255, 256, &result));
    cr_assert_not(lj_multiply_sizes(INT64_C(1) << 48, INT64_C(1) << 16, &result));
    cr_assert_not(lj_multiply_sizes(INT64_C(1) << 32, INT64_C(1) << 31, &result));
    cr_assert_eq(result, 7);
    cr_assert_not(lj_add_sizes(result, INT64_MAX, &result));
    cr_assert_eq(result, 7);
}
