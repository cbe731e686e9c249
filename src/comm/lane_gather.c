/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering in the order of lanes. Ranks have consecutive lanes, so that pieces of equal length lie
 * at the same places whatever the number of ranks; no number is computed on the way. */
#include "comm/comm_mpi.h"

struct lj_lane_gather {
    struct lj_comm *comm;
    struct lj_ledger_entry *entry; /* NULL: not booked */
    int64_t bytes;                 /* of all pieces */
    int64_t *bytes_of_rank;        /* (size) */
    int *count, *first; /* (size) bytes and where they begin; 0 where they are too many */
};

int lj_lane_gather_create(struct lj_lane_gather **gather, struct lj_comm *comm, int64_t lanes,
                          int64_t lane_bytes, struct lj_ledger_entry *entry)
{
    struct lj_lane_gather *g = lj_alloc(sizeof *g, "gather");
    if (!g)
        return LJ_ERR_RESOURCE;
    *g = (struct lj_lane_gather){.comm = comm, .entry = entry, .bytes = lanes * lane_bytes};
    g->bytes_of_rank = lj_alloc_array(comm->size, sizeof *g->bytes_of_rank, "gather");
    g->count = lj_alloc_array(comm->size, sizeof *g->count, "gather");
    g->first = lj_alloc_array(comm->size, sizeof *g->first, "gather");
    if (!g->bytes_of_rank || !g->count || !g->first) {
        lj_lane_gather_destroy(g);
        return LJ_ERR_RESOURCE;
    }
    for (int r = 0; r < comm->size; r++) {
        int64_t first, end;
        lj_lanes_of_rank(lanes, comm->size, r, &first, &end);
        g->bytes_of_rank[r] = (end - first) * lane_bytes;
        if (g->bytes <= lj_comm_bytes_max) {
            g->count[r] = (int)g->bytes_of_rank[r];
            g->first[r] = (int)(first * lane_bytes);
        }
    }
    if (entry)
        entry->predicted_bytes_per_call = g->bytes_of_rank[comm->rank];
    *gather = g;
    return LJ_OK;
}

void lj_lane_gather_destroy(struct lj_lane_gather *g)
{
    if (!g)
        return;
    lj_free(g->bytes_of_rank);
    lj_free(g->count);
    lj_free(g->first);
    lj_free(g);
}

/* Pieces too long for one call travel as broadcasts, which are split. */
static void gather_split(struct lj_lane_gather *g, char *all)
{
    int64_t mine = 0;
    for (int r = 0; r < g->comm->rank; r++)
        mine += g->bytes_of_rank[r];
    lj_all_gather_bytes(g->comm, all + mine, all, g->bytes_of_rank);
}

void lj_lane_gather(struct lj_lane_gather *g, void *all)
{
    double start = lj_now_s();
    if (g->bytes <= lj_comm_bytes_max)
        LJ_WAIT_IN(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, g->count, g->first,
                                  MPI_BYTE, g->comm->mpi->comm));
    else
        gather_split(g, all);
    if (!g->entry)
        return;
    double end = lj_now_s();
    int64_t bytes = g->bytes_of_rank[g->comm->rank];
    g->entry->calls++;
    g->entry->bytes += bytes;
    g->entry->seconds += end - start;
    g->entry->exposed_seconds += end - start;
    lj_trace_add(LJ_TRACK_COLLECTIVES, g->entry->name, start, end, bytes);
}
