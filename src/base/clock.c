/* SPDX-License-Identifier: Apache-2.0 */
/* The clock by which everything is timed. */
#include "base/base.h"

#include <time.h>

double lj_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
