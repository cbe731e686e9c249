/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: new weights on their way. An owner sends its part of a bucket to every
 * other node of which a rank keeps all weights. There the rank that speaks to the owner receives
 * it: alone, in its place; on a node of several ranks, in the common memory, into which the node's
 * own ranks put their parts, and from which each copies a bucket when all its parts are there. All
 * buckets are under way at once, and this rank may do other work meanwhile. */
#include "comm/gradsync/gradsync.h"

/* Does this rank receive the part, for itself or for its node? */
static bool receives(const struct lj_gradsync *s, const struct lj_part *part)
{
    return s->node_whole[s->map.mine] && lj_node_speaks_to(&s->map, s->comm->rank, part->rank);
}

static int64_t count_requests(const struct lj_gradsync *s)
{
    int64_t requests = 0;
    for (int b = 0; b < s->buckets; b++) {
        struct lj_deal deal = lj_deal_of(s, b);
        requests += lj_my_count(s, b) > 0 ? s->others_whole : 0;
        for (int turn = 0; turn < deal.parts; turn++) {
            struct lj_part part = lj_deal_part(&deal, turn);
            requests += receives(s, &part);
        }
    }
    return requests;
}

int lj_gradsync_allocate_gathering(struct lj_gradsync *s)
{
    struct lj_gathering *g = &s->gathering;
    g->request = lj_alloc_array(count_requests(s), sizeof *g->request, "gradient reduction");
    g->arriving = lj_alloc_array(s->buckets + 1, sizeof *g->arriving, "gradient reduction");
    return g->request && g->arriving ? LJ_OK : LJ_ERR_RESOURCE;
}

void lj_gradsync_free_gathering(struct lj_gradsync *s)
{
    lj_gradsync_gather_finish(s);
    lj_free(s->gathering.request);
    lj_free(s->gathering.arriving);
}

static MPI_Request *next_request(struct lj_gathering *g)
{
    return &g->request[g->requests++];
}

/* Beginning with the owner after this rank, so that not all ranks turn to the same one. */
static void receive_bucket(struct lj_gradsync *s, int bucket, float *weights)
{
    struct lj_deal deal = lj_deal_of(s, bucket);
    for (int i = 0, turn = lj_deal_turn(&deal, s->comm->rank); i < deal.parts; i++) {
        turn = (turn + 1) % deal.parts;
        struct lj_part part = lj_deal_part(&deal, turn);
        if (receives(s, &part))
            MPI_Irecv(weights + part.first, (int)part.count, MPI_FLOAT, part.rank, LJ_TAG_WEIGHTS,
                      s->comm->mpi->comm, next_request(&s->gathering));
    }
}

static void send_bucket(struct lj_gradsync *s, int bucket)
{
    const float *part = s->gathering.weights + s->shard.weights_first[bucket];
    int nodes = s->map.nodes, count = (int)lj_my_count(s, bucket);
    if (count == 0)
        return;
    for (int i = 1; i < nodes; i++) {
        int node = (s->map.mine + i) % nodes;
        if (s->node_whole[node])
            MPI_Isend(part, count, MPI_FLOAT, lj_node_speaker(&s->map, node, s->comm->rank),
                      LJ_TAG_WEIGHTS, s->comm->mpi->comm, next_request(&s->gathering));
    }
    s->ledger_weights->messages += s->others_whole;
    s->gathering.bytes += (int64_t)count * s->others_whole * (int64_t)sizeof *part;
}

/* ---- in the common memory ---------------------------------------------------------------- */

/* Buckets that have arrived in all gatherings before this one. */
static int64_t arrived_before(const struct lj_gradsync *s)
{
    return (s->gathering.number - 1) * s->buckets;
}

/* Until no rank of the node reads the last weights any more. It has them all: what it needs of
 * other ranks to go on has left these. */
static void wait_for_place(struct lj_gradsync *s)
{
    if (lj_node_told(s, LJ_NOTICE_COPIED, s->gathering.number - 1))
        return;
    lj_progress_wait(true);
    while (!lj_node_told(s, LJ_NOTICE_COPIED, s->gathering.number - 1))
        lj_node_pause(s);
    lj_progress_wait(false);
}

static void put_mine(struct lj_gradsync *s)
{
    for (int b = 0; b < s->buckets; b++)
        lj_copy_in_parallel(s->common.weights + s->shard.first[b],
                            s->gathering.weights + s->shard.weights_first[b], lj_my_count(s, b));
}

/* All of a bucket but my own part. */
static void copy_bucket(struct lj_gradsync *s, int bucket)
{
    int64_t mine = s->shard.first[bucket], after = mine + lj_my_count(s, bucket);
    int64_t first = s->bounds[bucket], end = s->bounds[bucket + 1];
    float *to = s->gathering.weights;
    const float *from = s->common.weights;
    lj_copy_in_parallel(to + first, from + first, mine - first);
    lj_copy_in_parallel(to + after, from + after, end - after);
}

/* Copies the buckets that the node has got meanwhile. */
static void copy_arrived(struct lj_gradsync *s)
{
    struct lj_gathering *g = &s->gathering;
    while (g->copied < s->buckets &&
           lj_node_told(s, LJ_NOTICE_ARRIVED, arrived_before(s) + g->copied + 1))
        copy_bucket(s, g->copied++);
    if (g->copied == s->buckets)
        lj_node_tell(s, LJ_NOTICE_COPIED, g->number);
}

/* ---- start, progress, finish ------------------------------------------------------------- */

void lj_gradsync_gather_start(struct lj_gradsync *s, float *weights)
{
    struct lj_gathering *g = &s->gathering;
    if (s->comm->size == 1)
        return;
    LJ_CHECK(!g->under_way, "weights are gathered while they are gathered");
    double started = lj_now_s();
    *g = (struct lj_gathering){.number = g->number + 1,
                               .weights = weights,
                               .request = g->request,
                               .arriving = g->arriving,
                               .under_way = true,
                               .started = started};
    if (s->common.weights) {
        wait_for_place(s);
        put_mine(s);
    }
    for (int b = 0; b < s->buckets; b++) {
        g->arriving[b] = g->requests;
        receive_bucket(s, b, s->common.weights ? s->common.weights : weights);
    }
    g->arriving[s->buckets] = g->requests;
    for (int b = 0; b < s->buckets; b++)
        send_bucket(s, b);
    g->copied = s->common.weights && s->shard.whole ? 0 : s->buckets;
    lj_gathering_progress(s);
    s->ledger_weights->calls++;
    s->ledger_weights->bytes += g->bytes;
    s->ledger_weights->exposed_seconds += (g->ended > 0 ? g->ended : lj_now_s()) - started;
}

/* Does what requests [first, end) stand for lie behind? */
static bool has_ended(struct lj_gathering *g, int first, int end)
{
    int done = 0;
    MPI_Testall(end - first, g->request + first, &done, MPI_STATUSES_IGNORE);
    return done;
}

void lj_gathering_progress(struct lj_gradsync *s)
{
    struct lj_gathering *g = &s->gathering;
    int arrived = g->arrived;
    if (!lj_gradsync_gathering(s))
        return;
    while (g->arrived < s->buckets &&
           has_ended(g, g->arriving[g->arrived], g->arriving[g->arrived + 1]))
        g->arrived++;
    if (g->arrived > arrived)
        lj_node_tell(s, LJ_NOTICE_ARRIVED, arrived_before(s) + g->arrived);
    copy_arrived(s);
    if (g->arrived == s->buckets && g->copied == s->buckets &&
        has_ended(g, g->arriving[s->buckets], g->requests))
        g->ended = lj_now_s();
}

bool lj_gradsync_gathering(const struct lj_gradsync *s)
{
    return s->gathering.under_way && s->gathering.ended <= 0;
}

void lj_gradsync_gather_finish(struct lj_gradsync *s)
{
    struct lj_gathering *g = &s->gathering;
    if (!g->under_way)
        return;
    double start = lj_now_s();
    bool hidden = g->ended > 0;
    lj_progress_wait(true);
    while (s->common.weights && lj_gradsync_gathering(s)) {
        lj_node_pause(s);
        lj_gathering_progress(s);
    }
    MPI_Waitall(g->requests, g->request, MPI_STATUSES_IGNORE);
    lj_progress_wait(false);
    g->under_way = false;
    if (g->ended <= 0)
        g->ended = lj_now_s();
    s->ledger_weights->exposed_seconds += hidden ? 0 : g->ended - start;
    s->ledger_weights->seconds += g->ended - g->started;
    lj_trace_add(LJ_TRACK_WEIGHTS, "weights", g->started, g->ended, g->bytes);
}
