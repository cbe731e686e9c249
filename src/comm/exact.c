/* SPDX-License-Identifier: Apache-2.0 */
/* Exact sums over ranks. Callers round their numbers once, to 64-bit fixed point; integer addition
 * is associative, so neither the rank count nor MPI's algorithm can change a bit. */
#include "comm/comm_mpi.h"

void lj_sum_exact(struct lj_comm *comm, struct lj_ledger_entry *entry, int64_t *values,
                  int64_t count)
{
    double start = lj_now_s();
    int64_t most = lj_comm_bytes_max / (int64_t)sizeof *values;
    for (int64_t done = 0; done < count; done += most)
        LJ_WAIT_IN(MPI_Allreduce(MPI_IN_PLACE, values + done, (int)lj_min_i64(count - done, most),
                                 MPI_INT64_T, MPI_SUM, comm->mpi->comm));
    if (!entry)
        return;
    double end = lj_now_s();
    int64_t bytes = count * (int64_t)sizeof *values;
    entry->calls++;
    entry->bytes += bytes;
    entry->seconds += end - start;
    entry->exposed_seconds += end - start;
    lj_trace_add(LJ_TRACK_COLLECTIVES, entry->name, start, end, bytes);
}
