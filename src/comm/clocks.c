/* SPDX-License-Identifier: Apache-2.0 */
/* How far the clocks of ranks are apart, by messages there and back: of several, the fastest tells,
 * since the moment at which the other rank looked at its clock lies within it. Ranks of one node
 * have one clock; those of other nodes began when these did. So an offset no larger than its error
 * is that of one clock: none. */
#include "comm/comm_mpi.h"

#include <math.h>

enum { ROUNDS = 8, TAG = 0 };

/* Rank 0's part: what it finds of one rank. */
static void ask(struct lj_comm *comm, int rank, double found[2])
{
    double there = 0;
    found[1] = INFINITY;
    for (int i = 0; i < ROUNDS; i++) {
        double before = lj_now_s();
        MPI_Send(NULL, 0, MPI_DOUBLE, rank, TAG, comm->mpi->comm);
        LJ_WAIT_IN(MPI_Recv(&there, 1, MPI_DOUBLE, rank, TAG, comm->mpi->comm, MPI_STATUS_IGNORE));
        double after = lj_now_s();
        if ((after - before) / 2 < found[1]) {
            found[0] = there - (before + after) / 2;
            found[1] = (after - before) / 2;
        }
    }
    if (fabs(found[0]) <= found[1])
        found[0] = found[1] = 0;
    MPI_Send(found, 2, MPI_DOUBLE, rank, TAG, comm->mpi->comm);
}

static void answer(struct lj_comm *comm, double found[2])
{
    for (int i = 0; i < ROUNDS; i++) {
        LJ_WAIT_IN(MPI_Recv(NULL, 0, MPI_DOUBLE, 0, TAG, comm->mpi->comm, MPI_STATUS_IGNORE));
        double now = lj_now_s();
        MPI_Send(&now, 1, MPI_DOUBLE, 0, TAG, comm->mpi->comm);
    }
    LJ_WAIT_IN(MPI_Recv(found, 2, MPI_DOUBLE, 0, TAG, comm->mpi->comm, MPI_STATUS_IGNORE));
}

void lj_clock_offset(struct lj_comm *comm, double *offset_s, double *error_s)
{
    double found[2] = {0, 0};
    for (int r = 1; r < comm->size && comm->rank == 0; r++)
        ask(comm, r, found);
    if (comm->rank == 0)
        found[0] = found[1] = 0;
    else
        answer(comm, found);
    *offset_s = found[0];
    *error_s = found[1];
}
