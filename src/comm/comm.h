/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. comm: everything that needs MPI: agreement on failure, exact sums, the gradient reduction, and
 * the ledger that counts bytes and seconds. mpi.h is included nowhere else.
 *
 * A local function never communicates. A collective function ends with the same status on every
 * rank: local work, lj_agree, then all go on or all return. */
#ifndef LEJEPA_COMM_COMM_H
#define LEJEPA_COMM_COMM_H

#include "lejepa/comm.h"

#include "base/base.h"

/* ---- agreement and small collectives -------------------------------------------------------- */

/* All ranks receive the status of the lowest failing rank, and its error text with "rank r: " in
 * front when size > 1; LJ_OK if nobody failed. Collective. Cost: one allreduce of 8 bytes. */
int lj_agree(struct lj_comm *comm, int status) LJ_MUST_USE;

/* Long work of rank 0 alone:
 *
 *     lj_root_section_begin(comm);
 *     int status = lj_comm_is_root(comm) ? work() : LJ_OK;
 *     LJ_TRY(lj_root_section_end(comm, status));
 *
 * The others wait in lj_root_section_end, where each lj_progress of rank 0 is theirs too (at most once a second:
 * a broadcast of 4 bytes); it ends as lj_agree does. No other collective in between; not nested.
 * Collective. */
void lj_root_section_begin(struct lj_comm *comm);
int lj_root_section_end(struct lj_comm *comm, int status) LJ_MUST_USE;

/* Collective. The root's bytes reach everybody; split above 2^30 bytes. */
void lj_broadcast(struct lj_comm *comm, void *data, int64_t bytes, int root);
void lj_barrier(struct lj_comm *comm);
int64_t lj_all_min(struct lj_comm *comm, int64_t value);
int64_t lj_all_max(struct lj_comm *comm, int64_t value);
int64_t lj_all_sum(struct lj_comm *comm, int64_t value);

/* Everybody's values side by side in rank order. Collective.
 *   values  (count) in;  all  (size, count) out */
void lj_all_gather_f64(struct lj_comm *comm, const double *values, int count, double *all);

/* Rows of rank 0, 1, ... one after the other reach every rank. Collective.
 *   mine  (mine_bytes) in;  all  (sum of bytes) out;  bytes_of_rank  (size) in, same everywhere */
void lj_all_gather_bytes(struct lj_comm *comm, const void *mine, void *all,
                         const int64_t *bytes_of_rank);

/* The bytes of one rank reach the root, into an array of its own; nothing when that is the root.
 * Collective in effect: rank `from` and the root call it, in the same order.
 *   data  (bytes) in on rank from, out on the root */
void lj_pass_to_root(struct lj_comm *comm, int from, void *data, int64_t bytes);

/* True on rank 0: who prints, picks names and writes files. */
bool lj_comm_is_root(const struct lj_comm *comm);

/* Names of distinct hosts and this machine's model are the caller's to collect. */

/* ---- ledger ---------------------------------------------------------------------------------- */

struct lj_ledger_entry {
    const char *name;       /* "sigreg", "gradient", "weights", ... */
    const char *collective; /* "MPI_Allreduce", ... */
    int64_t calls;
    int64_t bytes;                    /* that this rank put in, all calls */
    int64_t predicted_bytes_per_call; /* from the plan, before training */
    double seconds;                   /* from start to completion */
    double exposed_seconds;           /* during which this rank did nothing else */
};
enum { LJ_LEDGER_MAX = 16 };
struct lj_ledger {
    struct lj_ledger_entry entry[LJ_LEDGER_MAX];
    int count;
};
/* The entry of that name, made on first use. */
struct lj_ledger_entry *lj_ledger_entry(struct lj_ledger *ledger, const char *name,
                                        const char *collective);
/* Calls, bytes and seconds of every entry become 0: set-up is not counted. */
void lj_ledger_restart(struct lj_ledger *ledger);

/* ---- exact sums ------------------------------------------------------------------------------ */

/* Sums of 64-bit integers over all ranks, in place: the same bits whatever the rank count and the
 * MPI algorithm. One MPI_Allreduce (several only above 2^30 bytes). Collective.
 *   entry  in  the ledger's line that this call is booked on; NULL: none */
void lj_sum_exact(struct lj_comm *comm, struct lj_ledger_entry *entry, int64_t *values,
                  int64_t count);

/* ---- lanes ----------------------------------------------------------------------------------- */

/* Lanes [first, end) of rank r of P: floor(rG/P) .. floor((r+1)G/P). */
void lj_lanes_of_rank(int64_t lanes, int size, int rank, int64_t *first, int64_t *end);

/* A subtree of the fixed tree over [0, 2^ceil(log2 G)): lanes [start, start + 2^level) below G. */
struct lj_subtree {
    int64_t start;
    int level;
};
enum { LJ_SUBTREES_MAX = 128 };
/* The maximal aligned subtrees that lanes [first, end) of `lanes` reduce to, in order of start;
 * absent lanes beyond the last count as present, because they are passed through.
 * Returns their number. */
int lj_lane_subtrees(int64_t first, int64_t end, int64_t lanes, struct lj_subtree *subtrees);

/* ---- gradient reduction ---------------------------------------------------------------------- */

/* Sums every lane's gradient along the fixed tree, so that the bits do not depend on the number of
 * ranks. Parameters are cut into buckets; each bucket into `size` shards of whole blocks of
 * LJ_SHARD_ALIGN elements; a rank ends up with the total of its shard of each bucket.
 *
 *   for each bucket, from the last to the first:
 *       for each wave of lanes:  leaf = lj_gradsync_leaf(...)   fill them, then
 *                                lj_gradsync_add(...) in ascending order of lanes
 *       lj_gradsync_start(...)                                  starts moving
 *   lj_gradsync_finish(...)                                     totals are in the shard
 *   ... optimiser on the shards ...
 *   lj_gradsync_gather(...)                                     everybody's new weights
 */
enum { LJ_SHARD_ALIGN = 4096 };

struct lj_gradsync_plan {
    int64_t lanes; /* G */
    int buckets;
    const int64_t *bounds; /* (buckets + 1) first element of each bucket; borrowed until create
                                   returns; multiples of LJ_SHARD_ALIGN */
    int workers;           /* lanes worked on at once */
    int joint;             /* buckets [0, joint) share one leaf, for backward that goes lane by
                                lane; the others have a leaf of their own */
    bool fast;             /* MPI's own reductions instead of the tree: reduce: fast */
    bool whole_everywhere; /* ranks without lanes need all weights, too (evaluation) */
};
struct lj_gradsync;

/* Collective; all ranks pass the same plan. Allocates every buffer. */
int lj_gradsync_create(struct lj_gradsync **sync, struct lj_comm *comm,
                       const struct lj_gradsync_plan *plan, struct lj_ledger *ledger) LJ_MUST_USE;
void lj_gradsync_destroy(struct lj_gradsync *sync);

/* Takes the leaves of workers 0 .. count-1, before threads fill them. Local; main thread. */
void lj_gradsync_take_leaves(struct lj_gradsync *sync, int count);

/* Where the lane worked on in `worker` writes its gradient of `bucket`: (bounds[b+1] - bounds[b])
 * floats, all of which it must write. Local; valid from lj_gradsync_take_leaves to lj_gradsync_add. Joint buckets
 * lie behind one another in one leaf. */
float *lj_gradsync_leaf(struct lj_gradsync *sync, int bucket, int worker);

/* Adds the leaf in `worker` as that lane's; once for all joint buckets. Lanes of this rank come in
 * ascending order per bucket. Local; splits elements over OpenMP threads. */
void lj_gradsync_add(struct lj_gradsync *sync, int bucket, int worker, int64_t lane);

/* All lanes of this rank are in: starts moving the bucket. Collective (nonblocking), buckets from
 * the last to the first on every rank. */
void lj_gradsync_start(struct lj_gradsync *sync, int bucket);

/* Lets MPI progress; call between layers from the main thread. Local. */
void lj_gradsync_progress(struct lj_gradsync *sync);

/* Completes all buckets. Collective in effect.
 *   nonfinite  out  elements of all lanes that were not finite, or so large (2^127 / G and above)
 *                   that a sum over lanes might not be; at most 2^24. The same value everywhere and on
 *                   any number of ranks: 0 means that every total is finite */
void lj_gradsync_finish(struct lj_gradsync *sync, int64_t *nonfinite);

/* My shards, concatenated in order of buckets: shard b is elements [first[b], first[b] + count[b])
 * of the parameters and lies at shard_offset[b] of the shard. Local. */
struct lj_shard {
    int buckets;
    const int64_t *first, *count, *shard_offset; /* (buckets) */
    int64_t elements;                            /* of the shard */
    float *gradient;                             /* (elements) totals after finish */
    /* This rank's array of weights: everybody's, or, on a rank that has neither lanes nor the root's duties,
     * the shard alone. Piece b lies at weights_first[b] of it. */
    bool whole;
    const int64_t *weights_first; /* (buckets) */
    int64_t weights_elements;     /* length of the array */
};
const struct lj_shard *lj_gradsync_shard(const struct lj_gradsync *sync);

/* Euclidean norm of the whole gradient: squares in fixed subtrees of 4096 along a fixed tree. The same
 * bits on any number of ranks. Collective: one allreduce of 8 bytes per subtree. */
double lj_gradsync_norm(struct lj_gradsync *sync);

/* Everybody's shards reach those with whole weights.
 *   weights  (shard->weights_elements) in: mine are current; out: all are. Collective. */
void lj_gradsync_gather(struct lj_gradsync *sync, float *weights);

/* Pieces of a sharded array (like an optimiser moment) collected into a whole one on the root only.
 *   shard  (elements) in;  whole  (bounds[buckets]) out on root, NULL elsewhere. Collective. */
void lj_gradsync_collect(struct lj_gradsync *sync, const float *shard, float *whole);

/* The inverse: everybody receives its shards of an array that the root has.
 *   whole  (bounds[buckets]) in on root, NULL elsewhere
 *   mine   out: shard b at mine + at[b];  at  shard_offset or weights_first. `whole` itself, with
 *          weights_first, on the root. Collective. */
void lj_gradsync_scatter(struct lj_gradsync *sync, const float *whole, float *mine,
                         const int64_t *at);

#endif
