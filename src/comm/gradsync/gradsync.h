/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: the state of the gradient reduction. The functions for other modules are in
 * comm.h.
 *
 * Lanes of this rank grow into the maximal subtrees of the fixed tree that they fill, and then, in
 * the memory of their node, those of all its ranks. A bucket then moves: every rank receives every
 * node's subtrees, cut to its own part of the bucket, and finishes the same tree there. So the same
 * pairs are added whatever the number of ranks and wherever they are.
 *
 * The ranks of a node share its work: each speaks for it to one rank of every other node, to which
 * it sends the node's sums, and from which it receives new weights for all of its node. Where ranks
 * exchange instead of nodes (comm.exchange), each is taken for a node of its own, without shared
 * memory, and all below is the same. No message is sent to a rank for which there is nothing: on
 * many ranks most own no part of a bucket.
 *
 * Calls go one way, from a file to those below it:
 *
 *     gradsync.c   create, destroy, progress
 *     move.c       buckets on their way between ranks: start, finish
 *     gather.c     new weights on their way from their owners to everybody
 *     shard.c      norm of the totals; whole arrays to and from the root
 *     sums.c       the sums of a node's ranks become the node's
 *     node.c       memory of the ranks of a node, and what they let each other know
 *     leaves.c     leaves, and the forest of this rank's lanes
 *     layout.c     who owns which part of what, and where it lies
 *     wire.c       float32 or bf16: what a sum looks like on its way
 *
 * move.c, gather.c and shard.c do not know each other. */
#ifndef LEJEPA_COMM_GRADSYNC_H
#define LEJEPA_COMM_GRADSYNC_H

#include "comm/nodes.h"
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

/* A sum that a node sends of each bucket, and its place among those of node 0, 1, ... */
struct lj_sum {
    struct lj_subtree subtree;
    int at;
};

/* One bucket on its way. Two of them take turns, so that one can be packed while the other
 * moves. */
struct lj_move {
    int bucket;     /* -1: idle */
    int64_t number; /* of all buckets that have moved since the reduction was created, from 1 */
    bool sent;      /* this rank has sent what it has to send: its node's sums were there */
    const float **input;  /* (node_sums) sums of the ranks of this node, whole buckets */
    void *send;           /* the node's sums as they travel */
    float *receive;       /* all nodes' */
    MPI_Request *request; /* of the messages, (requests) of them in use */
    int requests;
    int *count;            /* (size) elements of each rank's part, for MPI's own reduction */
    int64_t bytes;         /* that this rank sends */
    double started, ended; /* ended 0: not seen to have completed */
};

/* New weights on their way. */
struct lj_gathering {
    int64_t number;       /* of all since the reduction was created, from 1 */
    float *weights;       /* this rank's */
    MPI_Request *request; /* (requests): what arrives of bucket 0, 1, ...; then what is sent */
    int requests;
    int *arriving; /* (buckets + 1) the first request of each bucket */
    int arrived;   /* buckets of which all that this rank receives is there */
    int copied;    /* buckets that are in this rank's weights */
    bool under_way;
    int64_t bytes;         /* that this rank sends */
    double started, ended; /* ended 0: not seen to have completed */
};

/* What a rank lets the others of its node know: numbers that only grow. */
enum lj_notice {
    LJ_NOTICE_FILLED,  /* the last bucket whose sums it has put into the common memory */
    LJ_NOTICE_SUMMED,  /* the last bucket of which it does not read sums there any more */
    LJ_NOTICE_ARRIVED, /* buckets of new weights of which it has put there what it has to */
    LJ_NOTICE_COPIED,  /* the last gathering of new weights of which it reads none any more */
    LJ_NOTICES
};
struct lj_notices; /* of a rank; node.c */

/* Memory of the ranks of a node. A pointer is NULL where there is none of it; all are on a node of
 * one rank. */
struct lj_common {
    struct lj_window window;
    int64_t bytes;
    struct lj_notices *notices; /* (ranks of the node) */
    float *sums;    /* (2, node_sums, widest bucket) of each move: those of all ranks of the node */
    float *weights; /* (all parameters) new ones, where a rank of the node keeps them */
};

enum { LJ_COLLECTING_MAX = 3 }; /* arrays on their way to the root at once */

struct lj_gradsync {
    struct lj_comm *comm;
    int64_t lanes, first_lane, end_lane; /* of the batch; of this rank */
    int buckets;
    int workers;
    int by_wave;
    bool fast;

    /* node.c */
    struct lj_node_map map;
    struct lj_common common;

    /* layout.c */
    const int64_t *bounds; /* (buckets + 1) owned */
    bool *node_whole;      /* (nodes) does any rank of that node keep all weights? */
    int others_whole;      /* nodes of which one does, but for this one */
    int my_sums;           /* of this rank's subtrees; 1 with MPI's own reduction */
    int node_sums;         /* of all ranks of this node, in order of lanes */
    int my_first_sum;      /* of them */
    int *joins;            /* (node_sums) how they become those that this node sends */
    int spare_sums;        /* that lie side by side meanwhile, besides those that are left */
    float *spare;          /* (workers, spare_sums, LJ_SHARD_ALIGN) */
    int *first_sum;        /* (nodes + 1) first of each node, of those that nodes send */
    struct lj_sum *sums;   /* (first_sum[nodes]) of all nodes, in order of lanes */
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
    int turn;                      /* the one that started last */
    int64_t moved;                 /* buckets */
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

/* Copies the bounds, says which sums and weights each node has, and lays out this rank's shard.
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
/* How many sums the ranks of a node have of each bucket before they are added to each other, and
 * how many the node sends. */
int lj_node_inputs(const struct lj_gradsync *sync, int node);
int lj_node_outputs(const struct lj_gradsync *sync, int node);
/* Does any rank of the node keep all weights? */
bool lj_node_keeps_weights(const struct lj_gradsync *sync, int node, bool everywhere);

/* ---- node.c ------------------------------------------------------------------------------ */

/* Says who is on which node, and takes the node's memory. Collective. Errors, on every rank alike:
 * LJ_ERR_RESOURCE. */
int lj_gradsync_join_nodes(struct lj_gradsync *sync,
                           const struct lj_gradsync_plan *plan) LJ_MUST_USE;
/* Collective. */
void lj_gradsync_leave_nodes(struct lj_gradsync *sync);
/* Where sum i of the node lies in the common memory while a move uses it. */
float *lj_common_sum(const struct lj_gradsync *sync, int move, int i);
/* Lets the others of the node know of what this rank has done. */
void lj_node_tell(struct lj_gradsync *sync, enum lj_notice notice, int64_t number);
/* Have all ranks of the node come so far? True on a node of one rank. */
bool lj_node_told(struct lj_gradsync *sync, enum lj_notice notice, int64_t number);
/* A moment between two such questions of a rank that waits: MPI moves on, other processes run. */
void lj_node_pause(struct lj_gradsync *sync);

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
/* Packs so many sums of these elements where they lie, one after the other. */
void lj_wire_pack_in_place(const struct lj_wire *wire, int64_t first, int64_t count, float *sums,
                           int number);
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

/* ---- sums.c ------------------------------------------------------------------------------ */

/* What this node sends of elements [first, first + count) of a bucket. Local; splits elements over
 * OpenMP threads.
 *   input  (node_sums) in: sums of the node's ranks, at the beginning of the bucket
 *   out    (lj_node_outputs of this node, count) out */
void lj_sum_node(const struct lj_gradsync *sync, const float *const *input, int bucket,
                 int64_t first, int64_t count, float *out);

/* ---- shard.c ----------------------------------------------------------------------------- */

int lj_gradsync_allocate_collecting(struct lj_gradsync *sync) LJ_MUST_USE;
void lj_gradsync_free_collecting(struct lj_gradsync *sync);

/* ---- gather.c ---------------------------------------------------------------------------- */

int lj_gradsync_allocate_gathering(struct lj_gradsync *sync) LJ_MUST_USE;
void lj_gradsync_free_gathering(struct lj_gradsync *sync);
/* Lets MPI move the weights that are on their way. */
void lj_gathering_progress(struct lj_gradsync *sync);

#endif
