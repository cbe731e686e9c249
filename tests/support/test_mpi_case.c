/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts over ranks. */
#include "mpi_case.h"

#include <stdio.h>
#include <string.h>

Test(mpi_case, all_ranks_hear_of_the_lowest_failure, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    char text[64], expected[64];
    bool held = lj_all_hold(comm, true, text, sizeof text, "not %s", "said");
    lj_all_assert(comm, held && text[0] == 0, "nobody failed, yet: %s", text);

    int last = comm->size - 1;
    held = lj_all_hold(comm, comm->rank < last, text, sizeof text, "found %d", 7 + comm->rank);
    snprintf(expected, sizeof expected, "rank %d: found %d", last, 7 + last);
    lj_all_assert(comm, !held && strcmp(text, expected) == 0, "one failed; text: %s", text);

    held = lj_all_hold(comm, false, text, sizeof text, "found %d", 7 + comm->rank);
    lj_all_assert(comm, !held && strcmp(text, "rank 0: found 7") == 0, "all failed; text: %s",
                  text);
    lj_case_end(comm);
}
