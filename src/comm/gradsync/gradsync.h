/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: the state of the gradient reduction. The functions for other modules are in
 * comm.h.
 *
 * Lanes of this rank grow into the maximal subtrees of the fixed tree that they fill. A bucket then
 * moves: every rank receives everybody's subtrees, cut to its own part of the bucket, and finishes
 * the same tree there. So the same pairs are added whatever the number of ranks.
 *
 * Ranks send each other messages, and none to a rank for which there is nothing: on many ranks most
 * own no part of a bucket.
 *
 * Calls go one way, from a file to those below it:
 *
 *     gradsync.c   create, destroy, progress
 *     move.c       buckets on their way between ranks: start, finish
 *     gather.c     new weights on their way from their owners to everybody
 *     shard.c      norm of the totals; whole arrays to and from the root
 *     leaves.c     leaves, and the forest of this rank's lanes
 *     layout.c     who owns which part of what, and where it lies
 *     wire.c       float32 or bf16: what a sum looks like on its way
 *
 * move.c, gather.c and shard.c do not know each other. */
#ifndef LEJEPA_COMM_GRADSYNC_H
#define LEJEPA_COMM_GRADSYNC_H

#include "comm/comm_mpi.h"
#include "comm/tree.h"

/* How a bucket is dealt out: its units of LJ_SHARD_ALIGN elements go to the ranks as cards do, one
 * each, beginning with the rank after the one that got the last unit of the bucket before. So all
 * ranks own equally many units of all buckets together, but for one, even where a bucket has fewer
 * units than there are ranks. What a rank gets of a bucket lies together, in order of turns. */
struct lj_deal {
    int size;      /* ranks */
    int dealer;    /* the rank of turn 0 */
    int parts;     /* how many are not empty: those of turns 0 .. parts - 1 */
    int64_t first; /* element of the bucket, among all parameters */
    int64_t each;  /* units of every rank; the ranks of turns below `more` get one more */
    int64_t more;
};

/* A rank's part of a bucket. */
struct lj_part {
    int rank;
    int64_t count; /* elements; 0: the rank owns nothing of this bucket */
    int64_t first; /* element among all parameters */
};

/* How sums travel between ranks, in units of LJ_SHARD_ALIGN elements. */
struct lj_wire {
    bool *rounded;   /* (units) owned; as in the plan: bf16; NULL: all are float32 */
    int64_t *before; /* (units + 1) owned; bytes of the units before */
};

/* One bucket on its way. Two of them take turns, so that one can be packed while the other
 * moves. */
struct lj_move {
    int bucket;           /* -1: idle */
    void *send;           /* my sums as they travel */
    float *receive;       /* everybody's */
    MPI_Request *request; /* of the messages, (requests) of them in use */
    int requests;
    int *count;            /* (size) elements of each rank's part, for MPI's own reduction */
    int64_t bytes;         /* that this rank sends */
    double started, ended; /* ended 0: not seen to have completed */
};

/* New weights on their way. */
struct lj_gathering {
    MPI_Request *request; /* (requests) */
    int requests;
    bool under_way;
    int64_t bytes;         /* that this rank sends */
    double started, ended; /* ended 0: not seen to have completed */
};

enum { LJ_COLLECTING_MAX = 3 }; /* arrays on their way to the root at once */

struct lj_gradsync {
    struct lj_comm *comm;
    int64_t lanes, first_lane, end_lane; /* of the batch; of this rank */
    int buckets;
    int workers;
    int by_wave;
    bool fast;

    /* layout.c */
    const int64_t *bounds;       /* (buckets + 1) owned */
    bool *whole;                 /* (size) does that rank keep all weights? */
    int others_whole;            /* ranks that do, but for this one */
    struct lj_subtree *subtrees; /* of rank 0, rank 1, ...; unused with MPI's own reduction */
    int *first_subtree;          /* (size + 1) first of each rank */
    struct lj_wire wire;
    struct lj_shard shard;
    double *square_sums;          /* one per LJ_SHARD_ALIGN parameters */
    int *part_count, *part_start; /* (size) of a bucket, for shard.c */

    /* leaves.c */
    float **leaf;                    /* (workers) where a lane writes now; NULL: none taken */
    float **buffers, **free_buffers; /* (buffer_count) all of them; a stack of idle ones */
    int buffer_count, free_count;
    struct lj_forest forest; /* of this rank's lanes so far, in the bucket being filled */
    struct lj_forest *aside; /* (by_wave) of the buckets whose next wave is to come */
    float **aside_sums;      /* (aside_count) sum i of any of these, at the bucket's elements */
    int aside_count;
    float limit;            /* magnitude from which a sum over lanes might overflow */
    int64_t nonfinite_here; /* elements of my lanes at or above it, not yet sent */

    /* move.c */
    struct lj_move move[2];
    int turn;
    MPI_Request nonfinite_request; /* of the sum over ranks of nonfinite_here */
    int64_t nonfinite;             /* of everybody, received */
    double nonfinite_started;

    /* gather.c */
    struct lj_gathering gathering;

    /* shard.c */
    MPI_Request *collecting; /* (messages_collecting) in use */
    int messages_collecting, arrays_collecting;

    struct lj_ledger_entry *ledger_gradient, *ledger_nonfinite, *ledger_weights, *ledger_norm;
};

/* What a message is about. Messages of one kind between two ranks arrive in the order in which they
 * were sent, and both ranks go through the buckets in the same order. */
enum { LJ_TAG_GRADIENT = 1, LJ_TAG_WEIGHTS, LJ_TAG_COLLECT };

/* ---- layout.c ---------------------------------------------------------------------------- */

/* Copies the bounds, says which subtrees and weights each rank has, and lays out this rank's shard.
 * Local. Errors: LJ_ERR_RESOURCE. */
int lj_gradsync_lay_out(struct lj_gradsync *sync, const struct lj_gradsync_plan *plan) LJ_MUST_USE;
void lj_gradsync_free_layout(struct lj_gradsync *sync);

/* How the bucket is dealt out, here and among any number of ranks; the part dealt at a turn,
 * 0 .. size - 1; the turn of a rank. */
struct lj_deal lj_deal_among(int size, const int64_t *bounds, int bucket);
struct lj_deal lj_deal_of(const struct lj_gradsync *sync, int bucket);
struct lj_part lj_deal_part(const struct lj_deal *deal, int turn);
int lj_deal_turn(const struct lj_deal *deal, int rank);
/* The rank's part of the bucket. */
struct lj_part lj_part_of(const struct lj_gradsync *sync, int bucket, int rank);
/* Elements of this rank's part of the bucket, and of the longest such part. */
int64_t lj_my_count(const struct lj_gradsync *sync, int bucket);
int64_t lj_my_widest(const struct lj_gradsync *sync);
/* Elements of a bucket, of the longest one. */
int64_t lj_bucket_width(const struct lj_gradsync *sync, int bucket);
int64_t lj_widest_bucket(const struct lj_gradsync *sync);
/* How many subtrees, and so sums, a rank sends of each bucket. */
int lj_subtrees_of(const struct lj_gradsync *sync, int rank);

/* ---- wire.c ------------------------------------------------------------------------------ */

/* Of any number of ranks. Local. Errors: LJ_ERR_RESOURCE; the caller frees it all the same. */
int lj_wire_create(struct lj_wire *wire, const struct lj_gradsync_plan *plan) LJ_MUST_USE;
void lj_wire_free(struct lj_wire *wire);
/* Bytes that elements [first, first + count) of a sum travel in; whole units, here and below. */
int64_t lj_wire_bytes(const struct lj_wire *wire, int64_t first, int64_t count);
/* Which units are rounded, from that of element `first` on; NULL: none. */
const bool *lj_wire_rounded(const struct lj_wire *wire, int64_t first);
/* Writes a sum's elements [first, first + count), which begin at `sum`, as they travel. */
void lj_wire_pack(const struct lj_wire *wire, int64_t first, int64_t count, const float *sum,
                  void *packed);
/* So many sums of these elements travel in one message, which is received at the end of their
 * place; unpacking makes floats of it there. */
void *lj_wire_arrival(const struct lj_wire *wire, int64_t first, int64_t count, float *sums,
                      int number);
void lj_wire_unpack(const struct lj_wire *wire, int64_t first, int64_t count, float *sums,
                    int number);

/* ---- leaves.c ---------------------------------------------------------------------------- */

int lj_gradsync_allocate_leaves(struct lj_gradsync *sync) LJ_MUST_USE;
void lj_gradsync_free_leaves(struct lj_gradsync *sync);
/* The forest of the bucket that has started becomes empty and its buffers free. */
void lj_gradsync_clear_forest(struct lj_gradsync *sync, int bucket);

/* ---- move.c ------------------------------------------------------------------------------ */

/* Makes both moves idle, and takes their buffers if there is anybody to send to. */
int lj_gradsync_allocate_moves(struct lj_gradsync *sync) LJ_MUST_USE;
void lj_gradsync_free_moves(struct lj_gradsync *sync);
/* Lets MPI move the buckets that are on their way. */
void lj_moves_progress(struct lj_gradsync *sync);

/* ---- shard.c ----------------------------------------------------------------------------- */

int lj_gradsync_allocate_collecting(struct lj_gradsync *sync) LJ_MUST_USE;
void lj_gradsync_free_collecting(struct lj_gradsync *sync);

/* ---- gather.c ---------------------------------------------------------------------------- */

int lj_gradsync_allocate_gathering(struct lj_gradsync *sync) LJ_MUST_USE;
void lj_gradsync_free_gathering(struct lj_gradsync *sync);
/* Lets MPI move the weights that are on their way. */
void lj_gathering_progress(struct lj_gradsync *sync);

#endif
