/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: buckets on their way between ranks.
 *
 * What rank r sends to rank p: the sums of r's subtrees, each cut to p's part of the bucket, one
 * after the other. Nothing is sent to a rank that owns no part, or by one without lanes.
 *
 * With the last bucket goes a sum over ranks: how many elements of anybody's lanes cannot be summed
 * (not finite, or too large). So everybody knows before an update whether it may happen. Elements
 * of lanes are counted, not of partial sums: which of these exist depends on the number of
 * ranks. */
#include "comm/gradsync/gradsync.h"

#include <limits.h>
#include <string.h>

/* Messages are counted in words of 4 bytes: one number of float32 or two of bf16. */
enum { WORD = 4 };

/* The largest number that a call of MPI will be given, on any rank: words of a message, or elements
 * of a bucket whose parts are moved to and from the root. */
static int64_t largest_count(const struct lj_gradsync *s)
{
    int64_t units = lj_widest_bucket(s) / LJ_SHARD_ALIGN, size = s->comm->size;
    int sums = 0;
    for (int r = 0; r < size; r++)
        sums = sums > lj_subtrees_of(s, r) ? sums : lj_subtrees_of(s, r);
    return lj_max_i64(units, (units + size - 1) / size * sums) * LJ_SHARD_ALIGN;
}

/* Bytes that a sum of any bucket travels in. */
static int64_t widest_wire(const struct lj_gradsync *s)
{
    int64_t widest = 0;
    for (int b = 0; b < s->buckets; b++)
        widest = lj_max_i64(widest, lj_wire_bytes(&s->wire, s->bounds[b], lj_bucket_width(s, b)));
    return widest;
}

static int allocate_move(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t size = s->comm->size, widest = lj_widest_bucket(s);
    if (largest_count(s) > INT_MAX)
        return lj_fail(
            LJ_ERR_CONFIG, "a layer of %lld parameters exceeds what one MPI call can move; use %s",
            (long long)widest,
            widest > INT_MAX ? "a narrower layer" : "more ranks, or a power of two lanes on each");
    int64_t sent = widest_wire(s) * lj_subtrees_of(s, s->comm->rank);
    int64_t received = lj_my_widest(s) * s->first_subtree[size];
    move->send = lj_alloc_array(sent, 1, "gradient buffers");
    move->receive = lj_alloc_array(received, sizeof(float), "gradient buffers");
    move->request = lj_alloc_array(2 * size, sizeof *move->request, "gradient reduction");
    move->count = lj_alloc_array(size, sizeof *move->count, "gradient reduction");
    bool good = move->send && move->receive && move->request && move->count;
    return good ? LJ_OK : LJ_ERR_RESOURCE;
}

int lj_gradsync_allocate_moves(struct lj_gradsync *s)
{
    for (int i = 0; i < 2; i++)
        s->move[i].bucket = -1;
    s->nonfinite_request = MPI_REQUEST_NULL;
    if (s->comm->size == 1)
        return LJ_OK;
    LJ_TRY(allocate_move(s, &s->move[0]));
    return allocate_move(s, &s->move[1]);
}

void lj_gradsync_free_moves(struct lj_gradsync *s)
{
    for (int i = 0; i < 2; i++) {
        lj_free(s->move[i].send);
        lj_free(s->move[i].receive);
        lj_free(s->move[i].request);
        lj_free(s->move[i].count);
    }
}

/* Everybody's subtrees, cut to my part of the bucket, lie one after the other in order of ranks and
 * so of lanes. */
static float *arriving(const struct lj_gradsync *s, const struct lj_move *move, int rank)
{
    return move->receive + s->first_subtree[rank] * lj_my_count(s, move->bucket);
}

static void receive_subtrees(struct lj_gradsync *s, struct lj_move *move)
{
    int me = s->comm->rank, size = s->comm->size;
    int64_t count = lj_my_count(s, move->bucket), first = s->shard.first[move->bucket];
    int64_t words = lj_wire_bytes(&s->wire, first, count) / WORD;
    for (int r = (me + 1) % size; r != me; r = (r + 1) % size) {
        int sums = lj_subtrees_of(s, r);
        if (count > 0 && sums > 0)
            MPI_Irecv(lj_wire_arrival(&s->wire, first, count, arriving(s, move, r), sums),
                      (int)(sums * words), MPI_UINT32_T, r, LJ_TAG_GRADIENT, s->comm->mpi->comm,
                      &move->request[move->requests++]);
    }
}

static void unpack_subtrees(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t count = lj_my_count(s, move->bucket), first = s->shard.first[move->bucket];
    for (int r = 0; r < s->comm->size; r++)
        if (r != s->comm->rank && count > 0)
            lj_wire_unpack(&s->wire, first, count, arriving(s, move, r), lj_subtrees_of(s, r));
}

/* Copies my own part of my sums to its place among those that arrive. */
static void keep_part(const struct lj_gradsync *s, const struct lj_move *move,
                      const struct lj_part *part)
{
    float *to = arriving(s, move, part->rank);
    for (int j = 0; j < s->forest.count; j++)
        memcpy(to + j * part->count, s->forest.sum[j] + part->first - s->bounds[move->bucket],
               (size_t)part->count * sizeof(float));
}

/* Copies a rank's part out of my sums, to the buffer it is sent from. */
static const void *pack_part(const struct lj_gradsync *s, const struct lj_move *move,
                             const struct lj_part *part)
{
    int64_t start = s->bounds[move->bucket], offset = part->first - start;
    int64_t bytes = lj_wire_bytes(&s->wire, part->first, part->count);
    char *to = (char *)move->send + s->forest.count * lj_wire_bytes(&s->wire, start, offset);
    for (int j = 0; j < s->forest.count; j++)
        lj_wire_pack(&s->wire, part->first, part->count, s->forest.sum[j] + offset, to + j * bytes);
    return to;
}

/* Each part is sent as soon as it is packed, beginning with the owner after this rank, so that not
 * all ranks send to the same one. */
static void send_subtrees(struct lj_gradsync *s, struct lj_move *move)
{
    struct lj_deal deal = lj_deal_of(s, move->bucket);
    int sums = s->forest.count, turn = lj_deal_turn(&deal, s->comm->rank);
    LJ_CHECK(sums == lj_subtrees_of(s, s->comm->rank),
             "bucket %d has %d of this rank's %d subtrees", move->bucket, sums,
             lj_subtrees_of(s, s->comm->rank));
    for (int i = 0; i < deal.parts && sums > 0; i++) {
        turn = (turn + 1) % deal.parts;
        struct lj_part part = lj_deal_part(&deal, turn);
        if (part.rank == s->comm->rank) {
            keep_part(s, move, &part);
            continue;
        }
        int64_t bytes = sums * lj_wire_bytes(&s->wire, part.first, part.count);
        MPI_Isend(pack_part(s, move, &part), (int)(bytes / WORD), MPI_UINT32_T, part.rank,
                  LJ_TAG_GRADIENT, s->comm->mpi->comm, &move->request[move->requests++]);
        s->ledger_gradient->messages++;
        move->bytes += bytes;
    }
}

/* With MPI's own reduction every rank sends one sum, laid out by receiver; a rank without lanes
 * sends zeros. */
static void start_reduction(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t at = 0;
    float *send = move->send;
    for (int r = 0; r < s->comm->size; r++) {
        struct lj_part part = lj_part_of(s, move->bucket, r);
        size_t bytes = (size_t)part.count * sizeof(float);
        if (s->forest.count > 0)
            memcpy(send + at, s->forest.sum[0] + part.first - s->bounds[move->bucket], bytes);
        else
            memset(send + at, 0, bytes);
        move->count[r] = (int)part.count;
        at += part.count;
    }
    MPI_Ireduce_scatter(send, move->receive, move->count, MPI_FLOAT, MPI_SUM, s->comm->mpi->comm,
                        &move->request[move->requests++]);
    move->bytes += at * (int64_t)sizeof(float);
}

/* Adds everybody's subtrees, cut to my part of the bucket, up to the root of the tree; with MPI's
 * own reduction their sum has arrived. */
static void take_total(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t count = lj_my_count(s, move->bucket);
    const struct lj_forest_sums sums = {
        .elements = count, .rounded = lj_wire_rounded(&s->wire, s->shard.first[move->bucket])};
    struct lj_forest all = {.lanes = s->lanes};
    const float *total = move->receive;
    if (!s->fast) {
        unpack_subtrees(s, move);
        for (int j = 0; j < s->first_subtree[s->comm->size]; j++)
            lj_forest_append(&all, s->subtrees[j], move->receive + j * count, &sums);
        LJ_CHECK(all.count == 1, "the tree has %d roots", all.count);
        total = all.sum[0];
    }
    memcpy(s->shard.gradient + s->shard.shard_offset[move->bucket], total,
           (size_t)count * sizeof(float));
}

static void complete(struct lj_gradsync *s, struct lj_move *move)
{
    if (move->bucket < 0)
        return;
    double start = lj_now_s();
    lj_phase_begin(LJ_PHASE_GRADIENT_COMM);
    LJ_WAIT_IN(MPI_Waitall(move->requests, move->request, MPI_STATUSES_IGNORE));
    lj_phase_end();
    double end = lj_now_s();
    if (move->ended <= 0)
        move->ended = end;
    s->ledger_gradient->exposed_seconds += end - start;
    s->ledger_gradient->seconds += move->ended - move->started;
    lj_trace_add(move == s->move ? LJ_TRACK_GRADIENT_ONE : LJ_TRACK_GRADIENT_NEXT, "gradient",
                 move->started, move->ended, move->bytes);
    take_total(s, move);
    move->bucket = -1;
}

/* One rank: its only subtree is the total. */
static void take_own(struct lj_gradsync *s, int bucket)
{
    LJ_CHECK(s->forest.count == 1, "the tree has %d roots", s->forest.count);
    memcpy(s->shard.gradient + s->shard.shard_offset[bucket], s->forest.sum[0],
           (size_t)s->shard.count[bucket] * sizeof(float));
}

static void move_bucket(struct lj_gradsync *s, int bucket)
{
    struct lj_move *move = &s->move[s->turn ^= 1];
    complete(s, move);
    move->bucket = bucket;
    move->requests = 0;
    move->bytes = 0;
    move->started = lj_now_s();
    move->ended = 0;
    s->ledger_gradient->calls++;
    if (s->fast) {
        start_reduction(s, move);
    } else {
        receive_subtrees(s, move);
        send_subtrees(s, move);
    }
    s->ledger_gradient->bytes += move->bytes;
}

/* Counts are complete when the last bucket starts. */
static void sum_nonfinite(struct lj_gradsync *s)
{
    s->nonfinite_started = lj_now_s();
    MPI_Iallreduce(&s->nonfinite_here, &s->nonfinite, 1, MPI_INT64_T, MPI_SUM, s->comm->mpi->comm,
                   &s->nonfinite_request);
    s->ledger_nonfinite->calls++;
    s->ledger_nonfinite->bytes += (int64_t)sizeof s->nonfinite;
}

void lj_gradsync_start(struct lj_gradsync *s, int bucket)
{
    if (s->comm->size == 1)
        take_own(s, bucket);
    else
        move_bucket(s, bucket);
    if (bucket == 0 && s->comm->size > 1)
        sum_nonfinite(s);
    lj_gradsync_clear_forest(s, bucket);
}

void lj_moves_progress(struct lj_gradsync *s)
{
    int done = 0;
    for (int i = 0; i < 2; i++) {
        struct lj_move *move = &s->move[i];
        if (move->bucket < 0 || move->ended > 0)
            continue;
        MPI_Testall(move->requests, move->request, &done, MPI_STATUSES_IGNORE);
        if (done)
            move->ended = lj_now_s();
    }
    if (s->nonfinite_request != MPI_REQUEST_NULL)
        MPI_Test(&s->nonfinite_request, &done, MPI_STATUS_IGNORE);
}

/* Time here is booked on the sum alone: the buckets have come. */
static void complete_nonfinite(struct lj_gradsync *s)
{
    double start = lj_now_s();
    lj_phase_begin(LJ_PHASE_GRADIENT_COMM);
    LJ_WAIT_IN(MPI_Wait(&s->nonfinite_request, MPI_STATUS_IGNORE));
    lj_phase_end();
    double end = lj_now_s();
    s->ledger_nonfinite->seconds += end - start;
    s->ledger_nonfinite->exposed_seconds += end - start;
    lj_trace_add(LJ_TRACK_COLLECTIVES, s->ledger_nonfinite->name, s->nonfinite_started, end,
                 (int64_t)sizeof s->nonfinite);
}

void lj_gradsync_finish(struct lj_gradsync *s, int64_t *nonfinite)
{
    if (s->comm->size > 1) {
        complete(s, &s->move[s->turn ^ 1]);
        complete(s, &s->move[s->turn]);
        complete_nonfinite(s);
    } else {
        s->nonfinite = s->nonfinite_here;
    }
    *nonfinite = s->nonfinite;
    s->nonfinite_here = 0;
}
