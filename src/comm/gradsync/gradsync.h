/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: the state of the gradient reduction. */
#ifndef LEJEPA_GRADSYNC_H
#define LEJEPA_GRADSYNC_H

#include "comm/tree.h"
#include "comm/comm_mpi.h"

/* One bucket on its way. Two of them take turns, so that one can be packed while the other moves. */
struct lj_move {
    int bucket; /* -1: idle */
    float *send, *receive;
    int *send_count, *send_start, *receive_count, *receive_start; /* (size) elements */
    MPI_Request request;
    double started, ended; /* ended 0: not seen to have completed */
};

struct lj_gradsync {
    struct lj_comm *comm;
    int64_t lanes, first_lane, end_lane; /* of the batch; of this rank */
    int buckets;
    const int64_t *bounds; /* (buckets + 1) owned */
    int workers;
    int joint;
    bool fast;
    bool all_whole; /* every rank keeps all weights */
    bool *whole;    /* (size) does it? */

    float **leaf;                    /* (workers) where a lane writes now; NULL: none taken */
    float **buffers, **free_buffers; /* (buffer_count) all of them; a stack of idle ones */
    int buffer_count, free_count;
    struct lj_chain chain;

    struct lj_subtree *all_blocks; /* of rank 0, rank 1, ... */
    int *blocks_of_rank;           /* (size + 1) first subtree of each rank */

    struct lj_move move[2];
    int turn;
    float limit;            /* magnitude from which a sum over lanes might overflow */
    int64_t nonfinite_here; /* elements of my lanes at or above it, not yet sent */
    int64_t nonfinite;      /* of everybody, received */
    struct lj_shard shard;
    double *square_sums; /* one per LJ_SHARD_ALIGN parameters */
    struct lj_ledger_entry *ledger_gradient, *ledger_weights, *ledger_norm;
};

/* Counts above this are not told apart: the largest that float32 sums reach exactly. */
enum { LJ_UNFIT_MAX = 1 << 24 };

/* First element of rank's shard of the bucket (of the bucket's end for rank == size), and its length. */
int64_t lj_shard_first(const struct lj_gradsync *sync, int bucket, int rank);
int64_t lj_shard_count(const struct lj_gradsync *sync, int bucket, int rank);
/* Where a bucket starts in its leaf, and the leaf's length; elements. */
int64_t lj_leaf_offset(const struct lj_gradsync *sync, int bucket);
int64_t lj_leaf_width(const struct lj_gradsync *sync, int bucket);
/* How often this rank puts a shard of weights into the call that gathers them. */
int64_t lj_gather_copies(const struct lj_gradsync *sync);
/* The chain's buffers become free again. */
void lj_gradsync_reset_chain(struct lj_gradsync *sync);
/* Makes both moves idle, and takes their buffers if there is anybody to send to. */
int lj_gradsync_allocate_moves(struct lj_gradsync *sync, int64_t widest_bucket);
void lj_gradsync_free_moves(struct lj_gradsync *sync);

#endif
