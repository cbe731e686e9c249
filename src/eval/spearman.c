/* SPDX-License-Identifier: Apache-2.0 */
/* Spearman's rank correlation: Pearson's of the ranks, where equal values share the mean of the
 * ranks that they take together. */
#include "eval/eval.h"

#include <math.h>

/* The rank of value i, less the mean of all ranks. */
static double centred_rank(const double *value, int64_t count, int64_t i)
{
    int64_t less = 0, equal = 0;
    for (int64_t j = 0; j < count; j++) {
        less += value[j] < value[i];
        equal += value[j] == value[i];
    }
    return (double)less + 0.5 * (double)equal - 0.5 * (double)count;
}

double lj_spearman(const double *a, const double *b, int64_t count)
{
    double aa = 0, bb = 0, ab = 0;
    for (int64_t i = 0; i < count; i++) {
        double of_a = centred_rank(a, count, i), of_b = centred_rank(b, count, i);
        aa += of_a * of_a;
        bb += of_b * of_b;
        ab += of_a * of_b;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : NAN;
}
