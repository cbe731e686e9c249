/* SPDX-License-Identifier: Apache-2.0 */
/* Exact sums: numbers rounded once to 64-bit fixed point and added as integers. Integer addition is
 * associative, so neither the rank count nor MPI's algorithm can change a bit. */
#include "comm/comm_mpi.h"

#include <string.h>

struct lj_ledger_entry *lj_ledger_entry(struct lj_ledger *ledger, const char *name,
                                        const char *collective)
{
    for (int i = 0; i < ledger->count; i++)
        if (strcmp(ledger->entry[i].name, name) == 0)
            return &ledger->entry[i];
    LJ_CHECK(ledger->count < LJ_LEDGER_MAX, "the ledger has no line left for %s", name);
    struct lj_ledger_entry *entry = &ledger->entry[ledger->count++];
    *entry = (struct lj_ledger_entry){.name = name, .collective = collective};
    return entry;
}

void lj_ledger_restart(struct lj_ledger *ledger)
{
    for (int i = 0; i < ledger->count; i++) {
        struct lj_ledger_entry *e = &ledger->entry[i];
        *e = (struct lj_ledger_entry){.name = e->name,
                                      .collective = e->collective,
                                      .predicted_bytes_per_call = e->predicted_bytes_per_call};
    }
}

void lj_sum_exact(struct lj_comm *comm, struct lj_ledger_entry *entry, int64_t *values,
                  int64_t count)
{
    double start = lj_now_s();
    int64_t most = lj_comm_bytes_max / (int64_t)sizeof *values;
    for (int64_t done = 0; done < count; done += most)
        MPI_Allreduce(MPI_IN_PLACE, values + done, (int)lj_min_i64(count - done, most), MPI_INT64_T,
                      MPI_SUM, comm->mpi->comm);
    if (!entry)
        return;
    entry->calls++;
    entry->bytes += count * (int64_t)sizeof *values;
    entry->seconds += lj_now_s() - start;
    entry->exposed_seconds += lj_now_s() - start;
}
