/* SPDX-License-Identifier: Apache-2.0 */
/* How ranks lie on nodes: ranks that can have memory in common are on one. */
#include "comm/comm_mpi.h"

void lj_comm_nodes(struct lj_comm *comm, int64_t *nodes, int64_t *most_ranks)
{
    MPI_Comm node = lj_split_nodes(comm);
    int rank = 0, size = 0;
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &size);
    MPI_Comm_free(&node);
    *nodes = lj_all_sum(comm, rank == 0);
    *most_ranks = lj_all_max(comm, size);
}
