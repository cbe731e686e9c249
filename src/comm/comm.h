/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. comm: everything that needs MPI. Agreement on failure, exact sums, the
 * gradient reduction, and the ledger that counts bytes and seconds. mpi.h is included nowhere else.
 *
 * A local function never communicates. A collective function ends with the same status on every
 * rank: local work, lj_agree, then all go on or all return. */
#ifndef LEJEPA_COMM_COMM_H
#define LEJEPA_COMM_COMM_H

#include "lejepa/comm.h"
#include "lejepa/config.h"

#include "base/base.h"

/* ---- agreement and small collectives ----------------------------------------------------- */

/* All ranks receive the status of the lowest failing rank, and its error text with "rank r: " in
 * front when size > 1; LJ_OK if nobody failed. Collective. Cost: one allreduce of 8 bytes, and a
 * broadcast of the text when somebody failed. */
int lj_agree(struct lj_comm *comm, int status) LJ_MUST_USE;

/* A root section is long work that rank 0 does while the others wait:
 *
 *     lj_root_section_begin(comm);
 *     int status = lj_comm_is_root(comm) ? work() : LJ_OK;
 *     LJ_TRY(lj_root_section_end(comm, status));
 *
 * The others wait in lj_root_section_end. They hear of rank 0's calls of lj_progress, at most once
 * a second, by a broadcast of 4 bytes, and call lj_progress themselves, so that their watchdogs
 * stay quiet. The section ends as lj_agree does. No other collective between begin and end;
 * sections do not nest. Collective. */
void lj_root_section_begin(struct lj_comm *comm);
int lj_root_section_end(struct lj_comm *comm, int status) LJ_MUST_USE;

/* The root's bytes reach everybody; split above 2^30 bytes. Collective.
 *   data  (bytes) in on the root, out elsewhere */
void lj_broadcast(struct lj_comm *comm, void *data, int64_t bytes, int root);
/* Returns when all ranks have called it. Collective. */
void lj_barrier(struct lj_comm *comm);
/* The same where others may work for hours, each under a watchdog of its own: this rank's hears of
 * progress meanwhile.
 *   meanwhile  in  called with data some 50 times a second; NULL: nothing is */
void lj_wait_for_all(struct lj_comm *comm, void (*meanwhile)(void *data), void *data);
/* Smallest, largest and sum of everybody's value. Collective: one allreduce of 8 bytes. */
int64_t lj_all_min(struct lj_comm *comm, int64_t value);
int64_t lj_all_max(struct lj_comm *comm, int64_t value);
int64_t lj_all_sum(struct lj_comm *comm, int64_t value);

/* Largest of everybody's values, element by element, in place; none is NaN. Collective.
 *   values  (count) in: mine; out: the largest */
void lj_all_max_f64(struct lj_comm *comm, double *values, int64_t count);

/* Do all ranks give the same text? Collective. Cost: two allreduces of one number. */
bool lj_all_alike(struct lj_comm *comm, const char *text);

/* Everybody's values side by side in rank order. Collective.
 *   values  (count) in;  all  (size, count) out */
void lj_all_gather_f64(struct lj_comm *comm, const double *values, int count, double *all);

/* The bytes of rank 0, 1, ..., one after the other, reach every rank. Collective.
 *   mine           (bytes_of_rank[rank]) in; may lie at its place in all
 *   all            (sum of bytes_of_rank) out
 *   bytes_of_rank  (size) in, the same on every rank */
void lj_all_gather_bytes(struct lj_comm *comm, const void *mine, void *all,
                         const int64_t *bytes_of_rank);

/* The bytes of one rank reach the root, into an array of its own; nothing when that is the root.
 * Collective in effect: rank `from` and the root call it, in the same order.
 *   data  (bytes) in on rank from, out on the root */
void lj_pass_to_root(struct lj_comm *comm, int from, void *data, int64_t bytes);

/* On how many nodes the ranks are, and the most ranks of a node. Collective. */
void lj_comm_nodes(struct lj_comm *comm, int64_t *nodes, int64_t *most_ranks);

/* Name and version of the MPI library, as "Open MPI v4.1.4" or "MPICH Version: 4.0.2". Local. */
void lj_comm_library(char *text, size_t capacity);

/* True on rank 0, which prints, picks names and writes files. Local. */
bool lj_comm_is_root(const struct lj_comm *comm);

/* How far this rank's clock (lj_now_s) is ahead of rank 0's. Collective. Cost: eight messages there
 * and back between rank 0 and each other rank, one rank after the other.
 *   offset_s  out  0 on rank 0
 *   error_s   out  the offset is off by at most half of the fastest way there and back */
void lj_clock_offset(struct lj_comm *comm, double *offset_s, double *error_s);

/* ---- memory of a node -------------------------------------------------------------------- */

/* Memory for what is the same on every rank: once on a node, or, where MPI gives none, once on a
 * rank. Written on rank 0 only, and read by everybody after lj_shared_broadcast. */
struct lj_shared;
/* Allocates. Collective.
 *   shared  out  owned by the caller: lj_shared_destroy
 *   bytes   in   the same on every rank
 * Errors, on every rank alike: LJ_ERR_RESOURCE. */
int lj_shared_create(struct lj_shared **shared, struct lj_comm *comm, int64_t bytes,
                     const char *label) LJ_MUST_USE;
/* Where it lies on this rank; at a 64-byte boundary or, in a window, a page's. Local. */
void *lj_shared_memory(const struct lj_shared *shared);
/* Does each rank of this node have its own? Local. */
bool lj_shared_is_own(const struct lj_shared *shared);
/* What rank 0 wrote reaches every node. Collective. Cost: one broadcast among nodes. */
void lj_shared_broadcast(struct lj_shared *shared);
/* Collective; accepts NULL. */
void lj_shared_destroy(struct lj_shared *shared);

/* ---- ledger ------------------------------------------------------------------------------ */

/* What training communicates: a line for each purpose. */
struct lj_ledger_entry {
    const char *name;       /* "sigreg", "gradient", "weights", ...; not copied */
    const char *collective; /* "MPI_Allreduce", ...; not copied */
    int64_t calls;
    int64_t bytes;    /* that this rank put in, in all calls */
    int64_t messages; /* of them, to one other rank each; 0 where MPI decides who sends what */
    /* From the plan, before training; those of a step only for messages to one other rank. */
    int64_t predicted_bytes_per_call, predicted_bytes_per_step, predicted_messages_per_step;
    double seconds;         /* from start to completion */
    double exposed_seconds; /* of them, those in which this rank did nothing else */
};
enum { LJ_LEDGER_MAX = 16 };
struct lj_ledger {
    struct lj_ledger_entry entry[LJ_LEDGER_MAX];
    int count;
};
/* The entry of that name, made on first use. Local. */
struct lj_ledger_entry *lj_ledger_entry(struct lj_ledger *ledger, const char *name,
                                        const char *collective);
/* Calls, bytes and seconds of every entry become 0, so that set-up is not counted. Local. */
void lj_ledger_restart(struct lj_ledger *ledger);

/* ---- exact sums -------------------------------------------------------------------------- */

/* Sums of 64-bit integers over all ranks, in place: the same bits whatever the rank count and the
 * MPI algorithm. One MPI_Allreduce (several only above 2^30 bytes). Collective.
 *   entry   in      line of the ledger that this call is booked on; NULL: none
 *   values  (count) in: mine; out: the sums over ranks */
void lj_sum_exact(struct lj_comm *comm, struct lj_ledger_entry *entry, int64_t *values,
                  int64_t count);

/* ---- network ----------------------------------------------------------------------------- */

/* What a step's communication costs, on the ranks there are and on others: links are measured in
 * the ways in which a step uses them, a LogGP model is fitted, and from the plan of the reduction
 * it follows what each line of the ledger would take.
 *
 *     lj_network_measure(comm, 3, &network);      a few seconds, all ranks together
 *     lj_network_fit(&network, &model);
 *     lj_network_cost(&model, &step, &cost);      seconds of each line of the ledger */

/* What lies between two ranks: the memory of their node, or the network between nodes. */
enum lj_level { LJ_LEVEL_NODE, LJ_LEVEL_NETWORK, LJ_LEVELS };
const char *lj_level_word(enum lj_level level);

enum lj_pattern {
    LJ_PATTERN_PAIRS,     /* messages to and fro in pairs of ranks at once; half the time of both */
    LJ_PATTERN_POST,      /* a rank's own time for one message that it sends without waiting */
    LJ_PATTERN_EXCHANGE,  /* every rank sends messages to others and receives as many, as buckets
                             of gradients and new weights move */
    LJ_PATTERN_ALLREDUCE, /* a sum of 64-bit integers, as lj_sum_exact */
    LJ_PATTERNS
};
const char *lj_pattern_word(enum lj_pattern pattern);

struct lj_network_sample {
    enum lj_pattern pattern;
    enum lj_level level; /* of its slowest messages */
    int ranks, per_node; /* that take part, of them on a node */
    int pairs;           /* LJ_PATTERN_PAIRS: how many at once */
    int messages;  /* LJ_PATTERN_EXCHANGE: that each rank sends, to as many ranks as there are */
    int64_t bytes; /* of a message; of the vector that is summed */
    int repeats;   /* measurements, of the slowest rank each */
    double seconds, low, high; /* their median and quartiles */
};

enum { LJ_NETWORK_SAMPLES_MAX = 128 };
struct lj_network {
    int ranks, nodes, per_node; /* per_node: the most ranks of a node */
    bool blocks;                /* the ranks of each node follow each other, per_node of each */
    int count;
    struct lj_network_sample sample[LJ_NETWORK_SAMPLES_MAX];
};

/* Measures the links between the ranks of comm: pairs and exchanges of a node (that of rank 0) and
 * between nodes, sums of both, over the sizes of messages that a step has. One rank: no sample.
 * Collective; every rank receives the same numbers.
 *   budget_s  in  about how long to measure; a slow network takes longer, as each sample is taken
 *                 three times at least
 * Errors, on every rank alike: LJ_ERR_RESOURCE. */
int lj_network_measure(struct lj_comm *comm, double budget_s,
                       struct lj_network *network) LJ_MUST_USE;

/* The parameters of LogGP at one level, in seconds and seconds a byte. A message of m bytes between
 * two ranks takes L + 2 o + m G. */
struct lj_link {
    bool measured; /* false: the other level's parameters stand here */
    double L;      /* latency */
    double o;      /* a rank's own time for a message at either end */
    double g;      /* between messages of a rank that sends and receives as many */
    double G;      /* a byte of one pair that is alone */
    double busy_G; /* a byte of a pair when all ranks talk in pairs */
    double full_G; /* a byte each way of a rank when all ranks send and receive */
};
/* What a sum over ranks takes in rounds and bytes at one level. Up to LJ_SUM_SHORT bytes each of
 * the log2 rounds moves the vector; beyond, each takes twice a round's time and the vector moves
 * about twice in all. */
struct lj_sum_cost {
    double round_s, byte_s;           /* short vectors */
    double long_round_s, long_byte_s; /* long ones */
};
enum { LJ_SUM_SHORT = 8192 };
struct lj_network_model {
    struct lj_link link[LJ_LEVELS];
    struct lj_sum_cost sum[LJ_LEVELS];
    int samples;       /* that it was fitted to; 0: it says that nothing takes time */
    double error;      /* median over samples of |model - measured| / measured */
    double error_most; /* the largest */
};

/* Least squares of relative errors, in which single samples that are far off count less; no
 * parameter is negative. Local. */
void lj_network_fit(const struct lj_network *network, struct lj_network_model *model);
/* What the model says that the sample takes, in seconds. Local. */
double lj_network_predict(const struct lj_network_model *model,
                          const struct lj_network_sample *sample);

/* Ranks, the same number on each node but the last, those of a node following each other. */
struct lj_placement {
    int ranks, per_node;
};
/* A sum of so many bytes over all ranks, in seconds; 0 on one rank. Local. */
double lj_network_sum_s(const struct lj_network_model *model, struct lj_placement place,
                        int64_t bytes);

/* Messages of a rank and their bytes, by level. */
struct lj_traffic {
    int64_t sent[LJ_LEVELS], sent_bytes[LJ_LEVELS];
    int64_t received[LJ_LEVELS], received_bytes[LJ_LEVELS];
    int64_t common_bytes; /* without messages, where nodes exchange: those that it writes to the
                             memory of its node or, if more, reads there */
};
/* Who sends what in a step of a planned reduction, on any number of ranks. */
struct lj_traffic_table;
struct lj_gradsync_plan;
/* Allocates. Local.
 *   table  out  owned by the caller: lj_traffic_destroy
 *   plan   in   borrowed for the life of the table, with its bounds
 * Errors: LJ_ERR_RESOURCE. */
int lj_traffic_create(struct lj_traffic_table **table, const struct lj_gradsync_plan *plan,
                      struct lj_placement place) LJ_MUST_USE;
/* Accepts NULL. Local. */
void lj_traffic_destroy(struct lj_traffic_table *table);
/* Of a bucket, what a rank sends and receives of gradients (of the exact reduction) and of new
 * weights. Local. */
struct lj_traffic lj_traffic_gradient(const struct lj_traffic_table *table, int bucket, int rank);
struct lj_traffic lj_traffic_weights(const struct lj_traffic_table *table, int bucket, int rank);

/* A step whose communication is asked for. */
struct lj_network_step {
    const struct lj_gradsync_plan *plan; /* all but workers and by_wave is read */
    struct lj_placement place;
    const struct lj_ledger *ledger; /* of a run of any number of ranks: its sums and their bytes */
    int64_t steps;     /* that the ledger has counted; 0: one call a step of each sum */
    double backward_s; /* seconds in which buckets of gradients travel unseen */
    double between_s;  /* and in which weights do: waiting for the batch, views */
};
struct lj_cost {
    const char *name;          /* the ledger's line */
    double seconds, exposed_s; /* of a step; exposed: that make the step longer */
    double node_s, network_s;  /* parts of seconds, by level */
    int64_t messages, bytes;   /* that the busiest rank sends; a sum's bytes as in the ledger */
};
struct lj_step_cost {
    struct lj_cost entry[LJ_LEDGER_MAX];
    int count;
    double exposed_s;        /* of all entries */
    int64_t messages, bytes; /* of the rank that sends most, sums included */
};
/* What the lines of the ledger take in a step on place.ranks ranks. What moves inside a node is
 * copied by processors, which do nothing else meanwhile: it counts as exposed. What moves between
 * nodes is exposed where backward, or the time between two steps' arithmetic, does not hide it.
 * Local. Errors: LJ_ERR_RESOURCE. */
int lj_network_cost(const struct lj_network_model *model, const struct lj_network_step *step,
                    struct lj_step_cost *cost) LJ_MUST_USE;

/* ---- lanes ------------------------------------------------------------------------------- */

/* Lanes [first, end) of rank r of P: floor(rG/P) .. floor((r+1)G/P), G = lanes of
 * the batch. Local. */
void lj_lanes_of_rank(int64_t lanes, int size, int rank, int64_t *first, int64_t *end);

/* How many sums of each bucket a rank sends at most: as many as its lanes fill subtrees of the
 * fixed tree (see below). One, if every rank has the same number of lanes, a power of two.
 * Local. */
int lj_lanes_most_sums(int64_t lanes, int size);
/* How many sums lie side by side at most between two waves of `workers` lanes each, of a rank with
 * lanes [first, end). Local. */
int lj_lanes_sums_between_waves(int64_t lanes, int64_t first, int64_t end, int workers);
/* The number of ranks nearest to `size`, and the number of lanes nearest to `lanes`, with which
 * every rank has the same number of lanes, a power of two. Local. */
int64_t lj_lanes_nearest_ranks(int64_t lanes, int size);
int64_t lj_lanes_nearest(int64_t lanes, int size);

/* A plan of gathering a piece of equal length from every lane: all ranks get all pieces, in the
 * order of lanes, whatever the number of ranks. */
struct lj_lane_gather;
/* Local; the same on every rank.
 *   gather      out  owned by the caller: lj_lane_gather_destroy
 *   lanes       in   of the batch, dealt as lj_lanes_of_rank says
 *   lane_bytes  in   length of a piece
 *   entry       in   line of the ledger that calls are booked on, which gets the prediction: this
 *                    rank's own pieces; NULL: none
 * Errors: LJ_ERR_RESOURCE. */
int lj_lane_gather_create(struct lj_lane_gather **gather, struct lj_comm *comm, int64_t lanes,
                          int64_t lane_bytes, struct lj_ledger_entry *entry) LJ_MUST_USE;
void lj_lane_gather_destroy(struct lj_lane_gather *gather); /* accepts NULL */
/* One MPI_Allgatherv (broadcasts only above 2^30 bytes). Collective.
 *   all  (lanes, lane_bytes) in: this rank's pieces, at their places; out: everybody's */
void lj_lane_gather(struct lj_lane_gather *gather, void *all);

/* ---- gradient reduction ------------------------------------------------------------------ */

/* Sums every lane's gradient along a fixed binary tree over the lanes of the batch, so that the
 * bits do not depend on the number of ranks.
 *
 * The parameters are cut into buckets. Each bucket is cut into one part for each rank, in units of
 * LJ_SHARD_ALIGN elements (a part may be empty); the ranks take turns, so that they own equally
 * much of all buckets together. A rank's shard is its parts of all buckets, one after the other:
 * the rank receives the totals of its shard and updates those parameters.
 *
 *   for each bucket, from the last to the first:
 *       for each wave of lanes:  lj_gradsync_take_leaves(...)   a leaf for each worker
 *                                lj_gradsync_leaf(...)          threads fill them
 *                                lj_gradsync_add(...)           in ascending order of lanes
 *       lj_gradsync_start(...)                                  the bucket starts moving
 *   for each wave of lanes:
 *       for each of the buckets by wave, from the last to the first:
 *           lj_gradsync_take_up(...), take_leaves, leaf, add as above,
 *           lj_gradsync_set_aside(...) or, of the last wave, lj_gradsync_start(...)
 *   lj_gradsync_finish(...)                                     totals are in the shard
 *   ... optimiser on the shards ...
 *   lj_gradsync_gather(...)                                     everybody's new weights */
enum { LJ_SHARD_ALIGN = 4096 };

struct lj_gradsync_plan {
    int64_t lanes; /* G: lanes of the batch */
    int buckets;
    /* (buckets + 1) first element of each bucket, multiples of LJ_SHARD_ALIGN; borrowed
     * until create returns */
    const int64_t *bounds;
    int workers; /* lanes that are computed at once */
    /* Buckets [0, by_wave) are filled together, one wave of lanes after the other: a bucket's sums
     * are set aside until its next wave. Each of the others is filled by all lanes at once. */
    int by_wave;
    bool fast; /* MPI's own reductions instead of the tree (reduce: fast) */
    /* Units of LJ_SHARD_ALIGN parameters whose leaves and sums are rounded to bf16, every one of
     * them, and travel so: (bounds[buckets] / LJ_SHARD_ALIGN), borrowed as bounds are. NULL: none.
     * Not with fast. */
    const bool *rounded;
    /* Of gradients, unless fast, and of weights; no bit depends on it. */
    enum lj_comm_exchange exchange;
    bool whole_everywhere; /* ranks without lanes need all weights, too (for evaluation) */
};
struct lj_gradsync;

/* Allocates every buffer. Collective; all ranks pass the same plan, but for workers and by_wave.
 *   sync    out  owned by the caller: lj_gradsync_destroy
 *   ledger  in   borrowed for the life of sync; gets the lines gradient, weights and norm
 * Where a node has no shared memory to give, ranks exchange.
 * Errors, on every rank alike: LJ_ERR_RESOURCE; LJ_ERR_CONFIG when a bucket is too long
 * for MPI's counts. */
int lj_gradsync_create(struct lj_gradsync **sync, struct lj_comm *comm,
                       const struct lj_gradsync_plan *plan, struct lj_ledger *ledger) LJ_MUST_USE;
/* Accepts NULL, but then on all ranks. Collective. */
void lj_gradsync_destroy(struct lj_gradsync *sync);

/* Do ranks of a node share memory, and nodes exchange? Returns the bytes of this node's memory for
 * it; 0: ranks exchange. Local. */
int64_t lj_gradsync_common_bytes(const struct lj_gradsync *sync);
/* The same question before there is a reduction, of ranks on so many nodes, of which one has at
 * most so many. Local. */
bool lj_exchange_by_nodes(enum lj_comm_exchange exchange, int64_t nodes, int64_t most_ranks);

/* Takes a leaf for each of the workers 0 .. count - 1, before their threads fill them.
 * Local; main thread. */
void lj_gradsync_take_leaves(struct lj_gradsync *sync, int count);

/* Where a worker writes its lane's gradient of a bucket b: (bounds[b + 1] - bounds[b]) floats, all
 * of which it must write. Valid from lj_gradsync_take_leaves to lj_gradsync_add. Local. */
float *lj_gradsync_leaf(struct lj_gradsync *sync, int worker);

/* Adds the worker's leaf to the sums, as the gradient of `lane`. The lanes of this rank come in
 * ascending order in each bucket. Local; splits elements over OpenMP threads. */
void lj_gradsync_add(struct lj_gradsync *sync, int bucket, int worker, int64_t lane);

/* For buckets by wave: takes up the sums of a bucket where its last wave left them; sets them aside
 * when its wave is added, unless the bucket starts. Local; main thread. */
void lj_gradsync_take_up(struct lj_gradsync *sync, int bucket);
void lj_gradsync_set_aside(struct lj_gradsync *sync, int bucket);

/* Starts moving a bucket to which all lanes of this rank are added. Collective (nonblocking); every
 * rank starts its buckets from the last to the first. */
void lj_gradsync_start(struct lj_gradsync *sync, int bucket);

/* Lets MPI progress with buckets and weights; for the main thread to call between layers and views.
 * Local. */
void lj_gradsync_progress(struct lj_gradsync *sync);

/* Completes all buckets. Collective in effect: it waits for the others.
 *   nonfinite  out  elements of all lanes that were not finite, or so large (2^127 / G and above)
 *                   that a sum over lanes might not be. The same value on every rank and for any
 *                   number of ranks: 0 means that every total is finite */
void lj_gradsync_finish(struct lj_gradsync *sync, int64_t *nonfinite);

/* Where this rank's shard lies. Its part of bucket b is elements [first[b], first[b] + count[b]) of
 * the parameters; in arrays laid out like the shard it begins at shard_offset[b]. */
struct lj_shard {
    int buckets;
    const int64_t *first, *count, *shard_offset; /* (buckets) */
    int64_t elements;                            /* of the shard */
    float *gradient;                             /* (elements) totals, after finish */
    /* This rank's array of weights holds all of them or, on a rank that has neither lanes nor the
     * root's duties, the shard only. The part of bucket b begins at weights_first[b] in it. */
    bool whole;
    const int64_t *weights_first; /* (buckets) */
    int64_t weights_elements;     /* length of that array */
};
/* Owned by sync. Local. */
const struct lj_shard *lj_gradsync_shard(const struct lj_gradsync *sync);

/* Euclidean norm of the whole gradient: sums of LJ_SHARD_ALIGN squares, added along a fixed tree,
 * so that the bits are the same on any number of ranks. Collective: one allreduce of 8 bytes for
 * each LJ_SHARD_ALIGN parameters. */
double lj_gradsync_norm(struct lj_gradsync *sync);

/* Everybody's parts reach the ranks that keep all weights. Between start and finish nobody reads or
 * writes the weights, and lj_gradsync_progress lets them move. Starting is collective; finishing is
 * so in effect, as it waits for the others, and does nothing when nothing was started.
 *   weights  (shard->weights_elements) in: my parts are up to date; out, after finish: all parts
 *            are, if this rank keeps all weights */
void lj_gradsync_gather_start(struct lj_gradsync *sync, float *weights);
void lj_gradsync_gather_finish(struct lj_gradsync *sync);
/* Both. */
void lj_gradsync_gather(struct lj_gradsync *sync, float *weights);
/* Are weights still seen to be under way? Local. */
bool lj_gradsync_gathering(const struct lj_gradsync *sync);

/* Collects arrays laid out like the shards (the moments of the optimiser, say) into whole ones on
 * the root, at most three at a time, while other work goes on. Starting is collective and waits for
 * nobody; finishing waits for the others.
 *   shard  (elements) in; until finish it stays as it is, but for the root's, which is copied
 *   whole  (bounds[buckets]) out on the root, after finish; NULL elsewhere */
void lj_gradsync_collect_start(struct lj_gradsync *sync, const float *shard, float *whole);
void lj_gradsync_collect_finish(struct lj_gradsync *sync);
/* Has all of it arrived, or left, by now? Then finish does not wait. Local. */
bool lj_gradsync_collected(struct lj_gradsync *sync);

/* The inverse: everybody receives its parts of an array that the root has. Collective.
 *   whole  (bounds[buckets]) in on the root, NULL elsewhere
 *   mine   out  the part of bucket b begins at mine + at[b]; on the root it may be `whole` itself,
 *               with at = weights_first
 *   at     (buckets) in  shard_offset or weights_first */
void lj_gradsync_scatter(struct lj_gradsync *sync, const float *whole, float *mine,
                         const int64_t *at);

#endif
