/* SPDX-License-Identifier: Apache-2.0 */
/* A program that fails as its arguments say, while the other ranks wait for it: fail_on_purpose
 * mpi|created|invariant RANK. Without a handler of ours the waiting ranks would hang, or mpirun
 * would return another code. */
#include "comm/comm.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

/* A root that no communicator has. */
static void fail_in_mpi(struct lj_comm *comm)
{
    int64_t value = 0;
    lj_broadcast(comm, &value, sizeof value, 1 << 20);
}

int main(int argc, char **argv)
{
    struct lj_comm *world = NULL, *created = NULL;
    if (argc != 3 || lj_comm_start(&world) != LJ_OK)
        return 1;
    MPI_Comm mpi_world = MPI_COMM_WORLD;
    if (lj_comm_create(&created, &mpi_world) != LJ_OK)
        return 1;
    bool mine = world->rank == atoi(argv[2]) || atoi(argv[2]) < 0;
    if (mine && strcmp(argv[1], "mpi") == 0)
        fail_in_mpi(world);
    if (mine && strcmp(argv[1], "created") == 0)
        fail_in_mpi(created);
    LJ_CHECK(!mine || strcmp(argv[1], "invariant") != 0, "rank %d was told to", world->rank);
    lj_barrier(world);
    lj_comm_destroy(created);
    lj_comm_finish(world);
    return 0;
}
