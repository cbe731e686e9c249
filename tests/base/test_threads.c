/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <criterion/criterion.h>
#include <omp.h>
#include <stdlib.h>

Test(threads, none_wanted_is_what_the_environment_says_whatever_was_used_before)
{
    int threads = 0, at_first = omp_get_max_threads();
    setenv("OMP_NUM_THREADS", "1", 1); /* OpenMP has read it long since */
    setenv("LJ_OVERSUBSCRIBE", "1", 1);
    cr_assert_eq(lj_threads_use(at_first + 1, &threads), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(threads, at_first + 1);
    cr_assert_eq(lj_threads_use(0, &threads), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(threads, at_first);
    unsetenv("OMP_NUM_THREADS");
    cr_assert_eq(lj_threads_use(0, &threads), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(threads, 1);
}
