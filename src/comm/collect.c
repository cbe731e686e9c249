/* SPDX-License-Identifier: Apache-2.0 */
/* Agreement on failure, and the small collectives. */
#include "comm/comm_mpi.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

enum { TEXT_MAX = 2048 };

int64_t lj_comm_bytes_max = (int64_t)1 << 30;

/* A text that an agreement of fewer ranks has passed on already starts with "rank r: ". */
static bool names_rank(const char *text)
{
    int rank = 0, length = 0;
    return sscanf(text, "rank %d:%n", &rank, &length) == 1 && length > 0;
}

int lj_agree(struct lj_comm *comm, int status)
{
    /* MINLOC on (good?, rank) finds the lowest failing rank; one more round only if
     * there is one. */
    struct {
        int good, rank;
    } mine = {status == LJ_OK, comm->rank}, lowest;
    LJ_WAIT_IN(MPI_Allreduce(&mine, &lowest, 1, MPI_2INT, MPI_MINLOC, comm->mpi->comm));
    if (lowest.good)
        return LJ_OK;
    struct {
        int status;
        char text[TEXT_MAX];
    } reason = {.status = status};
    if (comm->rank == lowest.rank)
        strncpy(reason.text, lj_error_text(), TEXT_MAX - 1);
    LJ_WAIT_IN(MPI_Bcast(&reason, (int)sizeof reason, MPI_BYTE, lowest.rank, comm->mpi->comm));
    if (comm->size > 1 && !names_rank(reason.text))
        return lj_fail(reason.status, "rank %d: %s", lowest.rank, reason.text);
    lj_error_set(reason.text);
    return reason.status;
}

void lj_broadcast(struct lj_comm *comm, void *data, int64_t bytes, int root)
{
    for (int64_t done = 0; done < bytes; done += lj_comm_bytes_max)
        LJ_WAIT_IN(MPI_Bcast((char *)data + done, (int)lj_min_i64(bytes - done, lj_comm_bytes_max),
                             MPI_BYTE, root, comm->mpi->comm));
}

void lj_barrier(struct lj_comm *comm)
{
    LJ_WAIT_IN(MPI_Barrier(comm->mpi->comm));
}

void lj_wait_for_all(struct lj_comm *comm, void (*meanwhile)(void *data), void *data)
{
    const struct timespec between = {.tv_nsec = 20000000};
    MPI_Request request;
    int done = 0;
    MPI_Ibarrier(comm->mpi->comm, &request);
    for (MPI_Test(&request, &done, MPI_STATUS_IGNORE); !done;
         MPI_Test(&request, &done, MPI_STATUS_IGNORE)) {
        nanosleep(&between, NULL);
        lj_progress();
        if (meanwhile)
            meanwhile(data);
    }
}

static int64_t all_reduce_i64(struct lj_comm *comm, int64_t value, MPI_Op op)
{
    LJ_WAIT_IN(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, op, comm->mpi->comm));
    return value;
}

int64_t lj_all_min(struct lj_comm *comm, int64_t value)
{
    return all_reduce_i64(comm, value, MPI_MIN);
}

int64_t lj_all_max(struct lj_comm *comm, int64_t value)
{
    return all_reduce_i64(comm, value, MPI_MAX);
}

int64_t lj_all_sum(struct lj_comm *comm, int64_t value)
{
    return all_reduce_i64(comm, value, MPI_SUM);
}

void lj_all_max_f64(struct lj_comm *comm, double *values, int64_t count)
{
    int64_t most = lj_comm_bytes_max / (int64_t)sizeof *values;
    for (int64_t done = 0; done < count; done += most)
        LJ_WAIT_IN(MPI_Allreduce(MPI_IN_PLACE, values + done, (int)lj_min_i64(count - done, most),
                                 MPI_DOUBLE, MPI_MAX, comm->mpi->comm));
}

bool lj_all_alike(struct lj_comm *comm, const char *text)
{
    int64_t hash = (int64_t)(XXH3_64bits(text, strlen(text)) >> 1); /* not negative */
    return lj_all_min(comm, hash) == lj_all_max(comm, hash);
}

void lj_all_gather_f64(struct lj_comm *comm, const double *values, int count, double *all)
{
    LJ_WAIT_IN(MPI_Allgather(values, count, MPI_DOUBLE, all, count, MPI_DOUBLE, comm->mpi->comm));
}

void lj_all_gather_bytes(struct lj_comm *comm, const void *mine, void *all,
                         const int64_t *bytes_of_rank)
{
    int64_t start = 0;
    for (int r = 0; r < comm->size; r++) {
        if (r == comm->rank && bytes_of_rank[r] > 0 && mine != (const char *)all + start)
            memcpy((char *)all + start, mine, (size_t)bytes_of_rank[r]);
        lj_broadcast(comm, (char *)all + start, bytes_of_rank[r], r);
        start += bytes_of_rank[r];
    }
}

void lj_pass_to_root(struct lj_comm *comm, int from, void *data, int64_t bytes)
{
    if (from == 0 || (comm->rank != 0 && comm->rank != from))
        return;
    for (int64_t done = 0; done < bytes; done += lj_comm_bytes_max) {
        char *part = (char *)data + done;
        int count = (int)lj_min_i64(bytes - done, lj_comm_bytes_max);
        if (comm->rank == from)
            LJ_WAIT_IN(MPI_Send(part, count, MPI_BYTE, 0, 0, comm->mpi->comm));
        else
            LJ_WAIT_IN(
                MPI_Recv(part, count, MPI_BYTE, from, 0, comm->mpi->comm, MPI_STATUS_IGNORE));
    }
}
