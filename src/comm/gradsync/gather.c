/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: new weights on their way. An owner sends its part of a bucket to every
 * other rank that keeps all weights, which receives it in its place. All buckets are under way at
 * once, and this rank may do other work meanwhile. */
#include "comm/gradsync/gradsync.h"

static int64_t count_requests(const struct lj_gradsync *s)
{
    int64_t requests = 0;
    for (int b = 0; b < s->buckets; b++) {
        bool mine = lj_my_count(s, b) > 0;
        requests += mine ? s->others_whole : 0;
        requests += s->shard.whole ? lj_deal_of(s, b).parts - mine : 0;
    }
    return requests;
}

int lj_gradsync_allocate_gathering(struct lj_gradsync *s)
{
    s->gathering.request =
        lj_alloc_array(count_requests(s), sizeof *s->gathering.request, "gradient reduction");
    return s->gathering.request ? LJ_OK : LJ_ERR_RESOURCE;
}

void lj_gradsync_free_gathering(struct lj_gradsync *s)
{
    lj_gradsync_gather_finish(s);
    lj_free(s->gathering.request);
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
        if (part.rank != s->comm->rank)
            MPI_Irecv(weights + part.first, (int)part.count, MPI_FLOAT, part.rank, LJ_TAG_WEIGHTS,
                      s->comm->mpi->comm, next_request(&s->gathering));
    }
}

static void send_bucket(struct lj_gradsync *s, int bucket, const float *weights)
{
    const float *part = weights + s->shard.weights_first[bucket];
    int me = s->comm->rank, size = s->comm->size, count = (int)lj_my_count(s, bucket);
    if (count == 0)
        return;
    for (int r = (me + 1) % size; r != me; r = (r + 1) % size)
        if (s->whole[r])
            MPI_Isend(part, count, MPI_FLOAT, r, LJ_TAG_WEIGHTS, s->comm->mpi->comm,
                      next_request(&s->gathering));
    s->ledger_weights->messages += s->others_whole;
    s->gathering.bytes += (int64_t)count * s->others_whole * (int64_t)sizeof *part;
}

void lj_gradsync_gather_start(struct lj_gradsync *s, float *weights)
{
    struct lj_gathering *g = &s->gathering;
    if (s->comm->size == 1)
        return;
    LJ_CHECK(!g->under_way, "weights are gathered while they are gathered");
    g->under_way = true;
    g->requests = 0;
    g->bytes = 0;
    g->started = lj_now_s();
    g->ended = 0;
    for (int b = 0; b < s->buckets && s->shard.whole; b++)
        receive_bucket(s, b, weights);
    for (int b = 0; b < s->buckets; b++)
        send_bucket(s, b, weights);
    s->ledger_weights->calls++;
    s->ledger_weights->bytes += g->bytes;
    s->ledger_weights->exposed_seconds += lj_now_s() - g->started;
}

void lj_gathering_progress(struct lj_gradsync *s)
{
    struct lj_gathering *g = &s->gathering;
    int done = 0;
    if (!lj_gradsync_gathering(s))
        return;
    MPI_Testall(g->requests, g->request, &done, MPI_STATUSES_IGNORE);
    if (done)
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
    LJ_WAIT_IN(MPI_Waitall(g->requests, g->request, MPI_STATUSES_IGNORE));
    g->under_way = false;
    if (g->ended <= 0) {
        g->ended = lj_now_s();
        s->ledger_weights->exposed_seconds += g->ended - start;
    }
    s->ledger_weights->seconds += g->ended - g->started;
    lj_trace_add(LJ_TRACK_WEIGHTS, "weights", g->started, g->ended, g->bytes);
}
