/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the ranks of a node have in common: a window of MPI, which the node's lowest rank
 * allocates. Where there is none to be had (a full or missing /dev/shm, say), where little is
 * wanted, or a node has one rank, each rank has memory of its own instead. */
#include "comm/comm_mpi.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

/* Less is not worth a window. Room that is left besides. */
enum { BYTES_MIN = 256 << 10, BYTES_SPARE = 4 << 20 };

struct lj_shared {
    MPI_Comm node;    /* the ranks of this node */
    MPI_Comm leaders; /* the lowest rank of each node; MPI_COMM_NULL on the others */
    MPI_Win window;   /* MPI_WIN_NULL: the memory is this rank's own */
    void *memory;
    int64_t bytes;
};

static int rank_of(MPI_Comm comm)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    return rank;
}

/* Do all ranks of the node say yes? Collective over it. */
static bool all_of_node(const struct lj_shared *shared, bool yes)
{
    int mine = yes, everybody = 0;
    LJ_WAIT_IN(MPI_Allreduce(&mine, &everybody, 1, MPI_INT, MPI_MIN, shared->node));
    return everybody != 0;
}

/* Is there room for the file behind a window? Asked before, because where it cannot grow Open MPI 4
 * fails on one rank and lets the others of the node wait for it. */
static bool has_room(int64_t bytes)
{
    struct rlimit file;
    struct statvfs shm;
    int64_t wanted = bytes + BYTES_SPARE;
    if (getrlimit(RLIMIT_FSIZE, &file) == 0 && file.rlim_cur < (rlim_t)wanted)
        return false;
    return statvfs("/dev/shm", &shm) != 0 ||
           (__int128)shm.f_bavail * (__int128)shm.f_frsize >= wanted;
}

/* Allocates the node's window; none if a rank fails. Collective over the node. */
static void allocate_window(struct lj_shared *shared)
{
    MPI_Errhandler handler;
    void *mine = NULL;
    MPI_Aint bytes = rank_of(shared->node) == 0 ? (MPI_Aint)shared->bytes : 0;
    bool able = lj_fault("shared", -1) == LJ_OK;
    if (!all_of_node(shared, able && shared->bytes >= BYTES_MIN && has_room(shared->bytes)))
        return;
    MPI_Comm_get_errhandler(shared->node, &handler);
    MPI_Comm_set_errhandler(shared->node, MPI_ERRORS_RETURN);
    lj_progress_wait(true);
    int code =
        MPI_Win_allocate_shared(bytes, 1, MPI_INFO_NULL, shared->node, &mine, &shared->window);
    lj_progress_wait(false);
    MPI_Comm_set_errhandler(shared->node, handler);
    MPI_Errhandler_free(&handler);
    bool good = code == MPI_SUCCESS;
    if (!all_of_node(shared, good)) {
        if (good)
            LJ_WAIT_IN(MPI_Win_free(&shared->window));
        shared->window = MPI_WIN_NULL;
        return;
    }
    int unit = 1;
    MPI_Win_shared_query(shared->window, 0, &bytes, &unit, &shared->memory);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, shared->window);
}

int lj_shared_create(struct lj_shared **shared, struct lj_comm *comm, int64_t bytes,
                     const char *label)
{
    *shared = NULL;
    struct lj_shared *made = lj_alloc(sizeof *made, label);
    LJ_TRY(lj_agree(comm, made ? LJ_OK : LJ_ERR_RESOURCE));
    *made = (struct lj_shared){.window = MPI_WIN_NULL, .bytes = bytes};
    made->node = lj_split_nodes(comm);
    made->leaders = lj_split(comm, rank_of(made->node) == 0 ? 0 : MPI_UNDEFINED, comm->rank);
    int size = 1;
    MPI_Comm_size(made->node, &size);
    if (size > 1 && bytes > 0)
        allocate_window(made);
    if (made->window == MPI_WIN_NULL)
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
    return shared->window == MPI_WIN_NULL;
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
    if (shared->window == MPI_WIN_NULL) {
        broadcast(shared->node, shared->memory, shared->bytes);
        return;
    }
    MPI_Win_sync(shared->window);
    LJ_WAIT_IN(MPI_Barrier(shared->node));
    MPI_Win_sync(shared->window);
}

void lj_shared_destroy(struct lj_shared *shared)
{
    if (!shared)
        return;
    if (shared->window == MPI_WIN_NULL) {
        lj_free(shared->memory);
    } else {
        MPI_Win_unlock_all(shared->window);
        LJ_WAIT_IN(MPI_Win_free(&shared->window));
    }
    if (shared->leaders != MPI_COMM_NULL)
        MPI_Comm_free(&shared->leaders);
    MPI_Comm_free(&shared->node);
    lj_free(shared);
}
