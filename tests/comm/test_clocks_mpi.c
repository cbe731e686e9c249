/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks whose clocks are hours apart, as those of nodes that started at different times. The clock
 * below replaces the library's in this program. */
#include "mpi_case.h"

#include <math.h>
#include <time.h>

static double ahead_s;

double lj_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec + ahead_s;
}

Test(clocks_mpi, ranks_know_how_far_theirs_are_apart, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    double offset_s, error_s;
    for (int skewed = 0; skewed < 2; skewed++) {
        ahead_s = skewed * (comm->rank % 2 ? -5000.5 : 7000.25 * comm->rank);
        lj_clock_offset(comm, &offset_s, &error_s);
        lj_all_assert(comm, fabs(offset_s - ahead_s) <= error_s, "offset %g s, not %g s", offset_s,
                      ahead_s);
        lj_all_assert(comm, error_s < 5, "off by %g s", error_s);
        lj_all_assert(comm, skewed || offset_s == 0, "one clock, but an offset of %g s", offset_s);
    }
    lj_case_end(comm);
}
