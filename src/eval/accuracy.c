/* SPDX-License-Identifier: Apache-2.0 */
/* Share of right predictions, over rows and as the mean over classes. */
#include "eval/classes.h"

#include <math.h>

static double balanced(const struct lj_classes *classes, const int32_t *predicted,
                       const int32_t *truth, int64_t rows)
{
    int64_t *right = lj_alloc_array(2 * classes->count, sizeof *right, "accuracy");
    if (!right)
        return NAN;
    int64_t *all = right + classes->count;
    for (int64_t i = 0; i < rows; i++) {
        right[classes->member[i]] += predicted[i] == truth[i];
        all[classes->member[i]]++;
    }
    double sum = 0.0;
    for (int64_t c = 0; c < classes->count; c++)
        sum += (double)right[c] / (double)all[c];
    lj_free(right);
    return sum / (double)classes->count;
}

struct lj_accuracy lj_accuracy_of(const int32_t *predicted, const int32_t *truth, int64_t rows)
{
    struct lj_accuracy accuracy = {0.0, 0.0};
    struct lj_classes classes;
    int64_t right = 0;
    if (rows == 0)
        return accuracy;
    for (int64_t i = 0; i < rows; i++)
        right += predicted[i] == truth[i];
    accuracy.top1 = (double)right / (double)rows;
    accuracy.balanced = NAN; /* stays when memory is exhausted */
    if (lj_classes_create(&classes, truth, rows) != LJ_OK)
        return accuracy;
    accuracy.balanced = balanced(&classes, predicted, truth, rows);
    lj_classes_destroy(&classes);
    return accuracy;
}
