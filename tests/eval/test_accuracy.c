/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/eval.h"

#include <criterion/criterion.h>

Test(accuracy, counts)
{
    const int32_t truth[] = {5, 5, 5, 5, -3, 2000000000}, predicted[] = {5, 5, 5, 1, -3, 5};
    struct lj_accuracy accuracy = lj_accuracy_of(predicted, truth, 6);
    cr_assert_float_eq(accuracy.top1, 4.0 / 6, 1e-15);
    cr_assert_float_eq(accuracy.balanced, (0.75 + 1 + 0) / 3, 1e-15);
    accuracy = lj_accuracy_of(predicted, truth, 1);
    cr_assert_eq(accuracy.top1, 1.0);
    cr_assert_eq(accuracy.balanced, 1.0);
    accuracy = lj_accuracy_of(predicted, truth, 0);
    cr_assert_eq(accuracy.top1, 0.0);
    cr_assert_eq(accuracy.balanced, 0.0);
}
