/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts over ranks: the lowest failing rank is found, then its text is broadcast. */
#include "mpi_case.h"

#include <stdio.h>

struct lj_comm *lj_case_begin(void)
{
    struct lj_comm *comm = NULL;
    int status = lj_comm_start(&comm);
    cr_assert_eq(status, LJ_OK, "MPI does not start: %s", lj_error_text());
    return comm;
}

void lj_case_end(struct lj_comm *comm)
{
    lj_comm_finish(comm);
}

bool lj_all_hold(struct lj_comm *comm, bool condition, char *text, size_t capacity,
                 const char *format, ...)
{
    int first = (int)lj_all_min(comm, condition ? comm->size : comm->rank);
    text[0] = 0;
    if (first == comm->size)
        return true;
    if (comm->rank == first) {
        int used = snprintf(text, capacity, "rank %d: ", first);
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text + used, capacity - (size_t)used, format, arguments);
        va_end(arguments);
    }
    lj_broadcast(comm, text, (int64_t)capacity, first);
    return false;
}

int64_t lj_open_blocks(void)
{
    struct lj_memory_use use[64];
    int64_t blocks = 0;
    int labels = lj_memory_report(use, 64);
    for (int i = 0; i < labels && i < 64; i++)
        blocks += use[i].blocks;
    return blocks;
}
