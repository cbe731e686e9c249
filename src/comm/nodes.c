/* SPDX-License-Identifier: Apache-2.0 */
/* How ranks lie on nodes: ranks that can have memory in common are on one. */
#include "comm/nodes.h"

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

static int allocate(struct lj_node_map *map, int size)
{
    *map = (struct lj_node_map){.comm = MPI_COMM_NULL,
                                .node = lj_alloc_array(size, sizeof *map->node, "nodes"),
                                .place = lj_alloc_array(size, sizeof *map->place, "nodes"),
                                .first = lj_alloc_array(size + 1, sizeof *map->first, "nodes"),
                                .member = lj_alloc_array(size, sizeof *map->member, "nodes")};
    return map->node && map->place && map->first && map->member ? LJ_OK : LJ_ERR_RESOURCE;
}

void lj_node_map_free(struct lj_node_map *map)
{
    if (map->nodes > 0 && map->comm != MPI_COMM_NULL)
        MPI_Comm_free(&map->comm);
    lj_free(map->node);
    lj_free(map->place);
    lj_free(map->first);
    lj_free(map->member);
    *map = (struct lj_node_map){0};
}

/* From the lowest rank of each rank's node, which stands in map->node. */
static void number_nodes(struct lj_node_map *map, int rank, int size)
{
    for (int r = 0; r < size; r++) {
        int lowest = map->node[r];
        map->node[r] = lowest == r ? map->nodes++ : map->node[lowest];
        map->place[r] = map->first[map->node[r] + 1]++;
        map->most = map->most > map->place[r] ? map->most : map->place[r] + 1;
    }
    for (int n = 0; n < map->nodes; n++)
        map->first[n + 1] += map->first[n];
    for (int r = 0; r < size; r++)
        map->member[map->first[map->node[r]] + map->place[r]] = r;
    map->mine = map->node[rank];
}

int lj_node_map_alone(struct lj_node_map *map, const struct lj_comm *comm)
{
    LJ_TRY(allocate(map, comm->size));
    for (int r = 0; r < comm->size; r++)
        map->node[r] = r;
    number_nodes(map, comm->rank, comm->size);
    return LJ_OK;
}

int lj_node_map_create(struct lj_node_map *map, struct lj_comm *comm)
{
    int status = lj_agree(comm, allocate(map, comm->size)), lowest = comm->rank;
    if (status != LJ_OK) {
        lj_node_map_free(map);
        return status;
    }
    map->comm = lj_split_nodes(comm);
    LJ_WAIT_IN(MPI_Bcast(&lowest, 1, MPI_INT, 0, map->comm));
    LJ_WAIT_IN(MPI_Allgather(&lowest, 1, MPI_INT, map->node, 1, MPI_INT, comm->mpi->comm));
    number_nodes(map, comm->rank, comm->size);
    return LJ_OK;
}

int lj_node_ranks(const struct lj_node_map *map, int node)
{
    return map->first[node + 1] - map->first[node];
}

int lj_node_speaker(const struct lj_node_map *map, int node, int other)
{
    return map->member[map->first[node] + map->place[other] % lj_node_ranks(map, node)];
}

bool lj_node_speaks_to(const struct lj_node_map *map, int rank, int other)
{
    int node = map->node[rank];
    return map->node[other] != node && lj_node_speaker(map, node, other) == rank;
}
