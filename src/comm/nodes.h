/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: which ranks are on which node, and memory that the ranks of a node have in
 * common. */
#ifndef LEJEPA_COMM_NODES_H
#define LEJEPA_COMM_NODES_H

#include "comm/comm_mpi.h"

/* ---- who is where ------------------------------------------------------------------------ */

/* Nodes are numbered by their lowest rank, and the ranks of each by their rank. They need not
 * follow each other. */
struct lj_node_map {
    MPI_Comm comm;   /* the ranks of this node; MPI_COMM_NULL if each is taken alone */
    int nodes, most; /* most: ranks of the node that has most of them */
    int mine;        /* this rank's node */
    int *node;       /* (size) of each rank */
    int *place;      /* (size) which of the ranks of its node each rank is, 0, 1, ... */
    int *first;      /* (nodes + 1) where the ranks of each node begin in member */
    int *member;     /* (size) the ranks of node 0, 1, ... */
};

/* Which ranks share a node's memory. Collective.
 *   map  out  owned by the caller: lj_node_map_free
 * Errors, on every rank alike: LJ_ERR_RESOURCE. */
int lj_node_map_create(struct lj_node_map *map, struct lj_comm *comm) LJ_MUST_USE;
/* Each rank alone, as if on a node of its own. Local. Errors: LJ_ERR_RESOURCE. */
int lj_node_map_alone(struct lj_node_map *map, const struct lj_comm *comm) LJ_MUST_USE;
/* Collective; an empty map is freed as nothing. */
void lj_node_map_free(struct lj_node_map *map);
/* Ranks of a node. Local. */
int lj_node_ranks(const struct lj_node_map *map, int node);
/* The rank of a node that sends to rank `other` of another node, and receives from it, for all of
 * its node: the one at the same place, or, where its node has fewer ranks, at what is left of
 * that. So a rank has to do with one rank of each node, and all of a node take part. Local. */
int lj_node_speaker(const struct lj_node_map *map, int node, int other);
/* Is that this rank? False for a rank of this node. Local. */
bool lj_node_speaks_to(const struct lj_node_map *map, int rank, int other);

/* ---- memory ------------------------------------------------------------------------------ */

/* A window of MPI whose memory all ranks of a node read and write, from its creation to its end in
 * one passive epoch. */
struct lj_window {
    MPI_Win handle;
    void *memory; /* at a page's boundary; NULL: there is no window */
};

/* Allocates, on all ranks of the node or on none: false where there is no room in /dev/shm, or MPI
 * fails. Collective over the node.
 *   node   in  MPI's communicator of its ranks; may be freed then
 *   bytes  in  the same on all of them */
bool lj_window_create(struct lj_window *window, MPI_Comm node, int64_t bytes) LJ_MUST_USE;
/* Writes a 0 to each page of mapped memory. False where there is no page to be had behind it, such
 * as in a file system that others have filled meanwhile: whoever writes there ends by SIGBUS.
 * Local; replaces the process's handler of SIGBUS for that time. */
bool lj_pages_take(void *memory, int64_t bytes) LJ_MUST_USE;
/* Orders this rank's accesses to the memory before and after. Local. */
void lj_window_sync(const struct lj_window *window);
/* Collective over the node, whose ranks wait for each other; none is freed as nothing. */
void lj_window_free(struct lj_window *window);

#endif
