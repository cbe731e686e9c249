/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the ranks of a node have in common: a window of MPI. Where there is none to be had (a
 * full or missing /dev/shm, say), where little is wanted, or a node has one rank, each rank has
 * memory of its own instead. */
#include "comm/nodes.h"

enum { BYTES_MIN = 256 << 10 }; /* less is not worth a window */

struct lj_shared {
    MPI_Comm node;    /* the ranks of this node */
    MPI_Comm leaders; /* the lowest rank of each node; MPI_COMM_NULL on the others */
    struct lj_window window;
    void *memory; /* the window's or, if there is none, this rank's own */
    int64_t bytes;
};

static int rank_of(MPI_Comm comm)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    return rank;
}

int lj_shared_create(struct lj_shared **shared, struct lj_comm *comm, int64_t bytes,
                     const char *label)
{
    *shared = NULL;
    struct lj_shared *made = lj_alloc(sizeof *made, label);
    LJ_TRY(lj_agree(comm, made ? LJ_OK : LJ_ERR_RESOURCE));
    *made = (struct lj_shared){.bytes = bytes};
    made->node = lj_split_nodes(comm);
    made->leaders = lj_split(comm, rank_of(made->node) == 0 ? 0 : MPI_UNDEFINED, comm->rank);
    int size = 1;
    MPI_Comm_size(made->node, &size);
    if (size > 1 && bytes >= BYTES_MIN && lj_window_create(&made->window, made->node, bytes))
        made->memory = made->window.memory;
    else
        made->memory = lj_alloc((size_t)bytes, label);
    int status = lj_agree(comm, made->memory ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        *shared = made;
    else
        lj_shared_destroy(made);
    return status;
}

void *lj_shared_memory(const struct lj_shared *shared)
{
    return shared->memory;
}

bool lj_shared_is_own(const struct lj_shared *shared)
{
    return !shared->window.memory;
}

/* Rank 0's bytes reach the others of a communicator. */
static void broadcast(MPI_Comm mpi, void *data, int64_t bytes)
{
    struct lj_comm_mpi inside = {.comm = mpi};
    struct lj_comm comm = {.rank = rank_of(mpi), .mpi = &inside};
    lj_broadcast(&comm, data, bytes, 0);
}

void lj_shared_broadcast(struct lj_shared *shared)
{
    if (shared->leaders != MPI_COMM_NULL)
        broadcast(shared->leaders, shared->memory, shared->bytes);
    if (lj_shared_is_own(shared)) {
        broadcast(shared->node, shared->memory, shared->bytes);
        return;
    }
    lj_window_sync(&shared->window);
    LJ_WAIT_IN(MPI_Barrier(shared->node));
    lj_window_sync(&shared->window);
}

void lj_shared_destroy(struct lj_shared *shared)
{
    if (!shared)
        return;
    if (lj_shared_is_own(shared))
        lj_free(shared->memory);
    lj_window_free(&shared->window);
    if (shared->leaders != MPI_COMM_NULL)
        MPI_Comm_free(&shared->leaders);
    MPI_Comm_free(&shared->node);
    lj_free(shared);
}
