/* SPDX-License-Identifier: Apache-2.0 */
/* 64-bit fixed point for sums whose bits must not depend on their order. */
#include "base/base.h"

#include <math.h>

int64_t lj_to_fixed(int64_t addends, double value, int64_t *nonfinite)
{
    double limit = fmin(0x1p29, 0x1p30 / (double)addends);
    if (!(fabs(value) < limit)) { /* also catches NaN */
        *nonfinite += 1;
        return 0;
    }
    return (int64_t)llrint(value * 0x1p32);
}
