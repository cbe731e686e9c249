/* SPDX-License-Identifier: Apache-2.0 */
/* The specification of `exp_sum`. */
#include "kernels/kernel_tables.h"

#include <math.h>

double lj_scalar_exp_sum(float *e, const float *x, int64_t count, float scale)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        e[i] = (float)exp((double)scale * ((double)x[i] - 1));
        sum += (double)e[i];
    }
    return sum;
}
