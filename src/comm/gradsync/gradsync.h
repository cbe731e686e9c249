/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: the state of the gradient reduction. The functions for other modules are in
 * comm.h.
 *
 * Lanes of this rank grow into the maximal subtrees of the fixed tree that they fill. A bucket then
 * moves: every rank receives everybody's subtrees, cut to its own part of the bucket, and finishes
 * the same tree there. So the same pairs are added whatever the number of ranks.
 *
 * Calls go one way, from a file to those below it:
 *
 *     gradsync.c   create and destroy
 *     move.c       buckets on their way between ranks: start, progress, finish
 *     shard.c      what is done with the totals: norm, gather, collect, scatter
 *     leaves.c     leaves, and the forest of this rank's lanes
 *     layout.c     who owns which part of what, and where it lies
 *
 * move.c and shard.c do not know each other; shard.c borrows the idle buffers of the moves. */
#ifndef LEJEPA_COMM_GRADSYNC_H
#define LEJEPA_COMM_GRADSYNC_H

#include "comm/comm_mpi.h"
#include "comm/tree.h"

/* One bucket on its way. Two of them take turns, so that one can be packed while
 * the other moves. */
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
    int workers;
    int joint;
    bool fast;

    /* layout.c */
    const int64_t *bounds;       /* (buckets + 1) owned */
    bool *whole;                 /* (size) does that rank keep all weights? */
    bool all_whole;              /* every rank does */
    struct lj_subtree *subtrees; /* of rank 0, rank 1, ...; unused with MPI's own reduction */
    int *first_subtree;          /* (size + 1) first of each rank */
    struct lj_shard shard;
    double *square_sums; /* one per LJ_SHARD_ALIGN parameters */

    /* leaves.c */
    float **leaf;                    /* (workers) where a lane writes now; NULL: none taken */
    float **buffers, **free_buffers; /* (buffer_count) all of them; a stack of idle ones */
    int buffer_count, free_count;
    struct lj_forest forest; /* of this rank's lanes so far, in the bucket being filled */
    float limit;             /* magnitude from which a sum over lanes might overflow */
    int64_t nonfinite_here;  /* elements of my lanes at or above it, not yet sent */

    /* move.c */
    struct lj_move move[2];
    int turn;
    int64_t nonfinite; /* of everybody, received */

    struct lj_ledger_entry *ledger_gradient, *ledger_weights, *ledger_norm;
};

/* Counts above this are not told apart: the largest that float32 sums reach exactly. */
enum { LJ_NONFINITE_MAX = 1 << 24 };

/* ---- layout.c ---------------------------------------------------------------------------- */

/* Copies the bounds, says which subtrees and weights each rank has, and lays out this rank's shard.
 * Local. Errors: LJ_ERR_RESOURCE. */
int lj_gradsync_lay_out(struct lj_gradsync *sync, const struct lj_gradsync_plan *plan) LJ_MUST_USE;
void lj_gradsync_free_layout(struct lj_gradsync *sync);

/* A rank's part of a bucket: its first element among all parameters, and its length, which may
 * be 0. Over all buckets, the lengths of two ranks differ by at most LJ_SHARD_ALIGN. */
int64_t lj_part_first(const struct lj_gradsync *sync, int bucket, int rank);
int64_t lj_part_count(const struct lj_gradsync *sync, int bucket, int rank);
/* Elements of the longest bucket. */
int64_t lj_widest_bucket(const struct lj_gradsync *sync);
/* Where a bucket starts in its leaf, and the leaf's length; elements. */
int64_t lj_leaf_offset(const struct lj_gradsync *sync, int bucket);
int64_t lj_leaf_width(const struct lj_gradsync *sync, int bucket);
/* How many subtrees, and so sums, a rank sends of each bucket. */
int lj_subtrees_of(const struct lj_gradsync *sync, int rank);
/* How often this rank puts its part of the weights into the call that gathers them. */
int64_t lj_gather_copies(const struct lj_gradsync *sync);

/* ---- leaves.c ---------------------------------------------------------------------------- */

int lj_gradsync_allocate_leaves(struct lj_gradsync *sync) LJ_MUST_USE;
void lj_gradsync_free_leaves(struct lj_gradsync *sync);
/* The forest becomes empty and its buffers free. */
void lj_gradsync_clear_forest(struct lj_gradsync *sync);

/* ---- move.c ------------------------------------------------------------------------------ */

/* Makes both moves idle, and takes their buffers if there is anybody to send to. */
int lj_gradsync_allocate_moves(struct lj_gradsync *sync) LJ_MUST_USE;
void lj_gradsync_free_moves(struct lj_gradsync *sync);

#endif
