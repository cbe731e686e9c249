/* SPDX-License-Identifier: Apache-2.0 */
/* 64-bit fixed point for sums whose bits must not depend on their order. */
#include "lejepa/base.h"

#include <math.h>

int64_t lj_to_fixed(double value, int64_t *unfit)
{
    if (!(fabs(value) < 0x1p29)) { /* also catches NaN */
        *unfit += 1;
        return 0;
    }
    return (int64_t)llrint(value * 0x1p32);
}

double lj_from_fixed(int64_t value)
{
    return (double)value * 0x1p-32;
}
