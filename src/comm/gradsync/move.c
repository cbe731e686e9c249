/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: buckets on their way between ranks.
 *
 * What rank r sends to rank p, if it speaks for its node to p: the sums of its node, each cut to
 * p's part of the bucket, one after the other. Nothing is sent to a rank that owns no part, or by a
 * node without lanes. On a node of several ranks, these sums can be made when all its ranks have
 * put theirs into the common memory; whoever waits for something looks whether they have.
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
    int sums = 1;
    for (int node = 0; node < s->map.nodes && !s->fast; node++)
        sums = sums > lj_node_outputs(s, node) ? sums : lj_node_outputs(s, node);
    return lj_max_i64(units, (units + size - 1) / size * sums) * LJ_SHARD_ALIGN;
}

/* Does this rank send its node's sums of that part? */
static bool sends(const struct lj_gradsync *s, const struct lj_part *part)
{
    return lj_node_outputs(s, s->map.mine) > 0 &&
           lj_node_speaks_to(&s->map, s->comm->rank, part->rank);
}

/* Bytes in which a part is made ready to be sent: where sums are added first, those of floats. */
static int64_t bytes_to_send(const struct lj_gradsync *s, const struct lj_part *part)
{
    int64_t floats = part->count * (int64_t)sizeof(float);
    return lj_node_outputs(s, s->map.mine) *
           (s->common.sums ? floats : lj_wire_bytes(&s->wire, part->first, part->count));
}

/* The same of a bucket, at most. */
static int64_t most_sent(const struct lj_gradsync *s)
{
    int64_t most = s->fast ? lj_widest_bucket(s) * (int64_t)sizeof(float) : 0;
    for (int b = 0; b < s->buckets && !s->fast; b++) {
        struct lj_deal deal = lj_deal_of(s, b);
        int64_t sent = 0;
        for (int turn = 0; turn < deal.parts; turn++) {
            struct lj_part part = lj_deal_part(&deal, turn);
            sent += sends(s, &part) ? bytes_to_send(s, &part) : 0;
        }
        most = lj_max_i64(most, sent);
    }
    return most;
}

/* In the common memory, the sums of a move have their places once and for all. */
static void place_inputs(struct lj_gradsync *s)
{
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < s->node_sums && s->common.sums; j++)
            s->move[i].input[j] = lj_common_sum(s, i, j);
}

static int allocate_move(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t size = s->comm->size, widest = lj_widest_bucket(s);
    if (largest_count(s) > INT_MAX)
        return lj_fail(
            LJ_ERR_CONFIG, "a layer of %lld parameters exceeds what one MPI call can move; use %s",
            (long long)widest,
            widest > INT_MAX ? "a narrower layer" : "more ranks, or a power of two lanes on each");
    int64_t received = lj_my_widest(s) * (s->fast ? 1 : s->first_sum[s->map.nodes]);
    move->send = lj_alloc_array(most_sent(s), 1, "gradient buffers");
    move->receive = lj_alloc_array(received, sizeof(float), "gradient buffers");
    move->input = lj_alloc_array(s->node_sums, sizeof *move->input, "gradient reduction");
    move->request = lj_alloc_array(2 * size, sizeof *move->request, "gradient reduction");
    move->count = lj_alloc_array(size, sizeof *move->count, "gradient reduction");
    bool good = move->send && move->receive && move->input && move->request && move->count;
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
    LJ_TRY(allocate_move(s, &s->move[1]));
    place_inputs(s);
    return LJ_OK;
}

void lj_gradsync_free_moves(struct lj_gradsync *s)
{
    for (int i = 0; i < 2; i++) {
        lj_free(s->move[i].send);
        lj_free(s->move[i].receive);
        lj_free(s->move[i].input);
        lj_free(s->move[i].request);
        lj_free(s->move[i].count);
    }
}

/* ---- a bucket starts --------------------------------------------------------------------- */

/* Every node's sums, cut to my part of the bucket, lie one after the other in order of nodes. */
static float *arriving(const struct lj_gradsync *s, const struct lj_move *move, int node)
{
    return move->receive + s->first_sum[node] * lj_my_count(s, move->bucket);
}

/* Beginning with the node after this one, so that not all turn to the same one. */
static void receive_sums(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t count = lj_my_count(s, move->bucket), first = s->shard.first[move->bucket];
    int64_t words = lj_wire_bytes(&s->wire, first, count) / WORD;
    for (int i = 1; i < s->map.nodes && count > 0; i++) {
        int node = (s->map.mine + i) % s->map.nodes, sums = lj_node_outputs(s, node);
        if (sums > 0)
            MPI_Irecv(lj_wire_arrival(&s->wire, first, count, arriving(s, move, node), sums),
                      (int)(sums * words), MPI_UINT32_T,
                      lj_node_speaker(&s->map, node, s->comm->rank), LJ_TAG_GRADIENT,
                      s->comm->mpi->comm, &move->request[move->requests++]);
    }
}

static void unpack_sums(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t count = lj_my_count(s, move->bucket), first = s->shard.first[move->bucket];
    for (int node = 0; node < s->map.nodes && count > 0; node++)
        if (node != s->map.mine)
            lj_wire_unpack(&s->wire, first, count, arriving(s, move, node),
                           lj_node_outputs(s, node));
}

/* Writes the node's sums of a part as they travel. A rank that is alone has them already. */
static void pack_part(const struct lj_gradsync *s, const struct lj_move *move,
                      const struct lj_part *part, void *to)
{
    int64_t bytes = lj_wire_bytes(&s->wire, part->first, part->count);
    int64_t offset = part->first - s->bounds[move->bucket];
    if (s->common.sums) {
        lj_sum_node(s, move->input, move->bucket, part->first, part->count, to);
        lj_wire_pack_in_place(&s->wire, part->first, part->count, to,
                              lj_node_outputs(s, s->map.mine));
        return;
    }
    for (int i = 0; i < s->node_sums; i++)
        lj_wire_pack(&s->wire, part->first, part->count, move->input[i] + offset,
                     (char *)to + i * bytes);
}

static void send_part(struct lj_gradsync *s, struct lj_move *move, const struct lj_part *part,
                      const void *packed)
{
    int64_t bytes =
        lj_node_outputs(s, s->map.mine) * lj_wire_bytes(&s->wire, part->first, part->count);
    MPI_Isend(packed, (int)(bytes / WORD), MPI_UINT32_T, part->rank, LJ_TAG_GRADIENT,
              s->comm->mpi->comm, &move->request[move->requests++]);
    s->ledger_gradient->messages++;
    s->ledger_gradient->bytes += bytes;
    move->bytes += bytes;
}

/* Each part is sent as soon as it is packed, beginning with the owner after this rank, so that not
 * all ranks send to the same one. My own part goes to its place among those that arrive. */
static void send_sums(struct lj_gradsync *s, struct lj_move *move)
{
    struct lj_deal deal = lj_deal_of(s, move->bucket);
    int turn = lj_deal_turn(&deal, s->comm->rank);
    char *to = move->send;
    for (int i = 0; i < deal.parts; i++) {
        turn = (turn + 1) % deal.parts;
        struct lj_part part = lj_deal_part(&deal, turn);
        if (part.rank == s->comm->rank)
            lj_sum_node(s, move->input, move->bucket, part.first, part.count,
                        arriving(s, move, s->map.mine));
        if (!sends(s, &part))
            continue;
        pack_part(s, move, &part, to);
        send_part(s, move, &part, to);
        to += bytes_to_send(s, &part);
    }
    move->sent = true;
}

/* Puts my sums where all ranks of the node read them; alone, I read them where they are. */
static void fill(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t width = lj_bucket_width(s, move->bucket);
    LJ_CHECK(s->forest.count == s->my_sums, "bucket %d has %d of this rank's %d subtrees",
             move->bucket, s->forest.count, s->my_sums);
    for (int i = 0; i < s->my_sums; i++) {
        if (s->common.sums)
            lj_copy_in_parallel(lj_common_sum(s, (int)(move - s->move), s->my_first_sum + i),
                                s->forest.sum[i], width);
        else
            move->input[i] = s->forest.sum[i];
    }
    lj_node_tell(s, LJ_NOTICE_FILLED, move->number);
}

/* With MPI's own reduction every rank sends one sum, laid out by receiver; a rank without lanes
 * sends zeros. */
static void start_reduction(struct lj_gradsync *s, struct lj_move *move)
{
    struct lj_deal deal = lj_deal_of(s, move->bucket);
    int64_t at = 0;
    float *send = move->send;
    for (int r = 0; r < s->comm->size; r++) {
        struct lj_part part = lj_deal_part(&deal, lj_deal_turn(&deal, r));
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
    s->ledger_gradient->bytes += move->bytes;
    move->sent = true;
}

/* ---- it arrives -------------------------------------------------------------------------- */

/* Adds all nodes' sums, cut to my part of the bucket, up to the root of the tree; with MPI's own
 * reduction their sum has arrived. */
static void take_total(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t count = lj_my_count(s, move->bucket);
    const struct lj_forest_sums sums = {
        .elements = count, .rounded = lj_wire_rounded(&s->wire, s->shard.first[move->bucket])};
    struct lj_forest all = {.lanes = s->lanes};
    const float *total = move->receive;
    if (!s->fast) {
        unpack_sums(s, move);
        for (int j = 0; j < s->first_sum[s->map.nodes]; j++)
            lj_forest_append(&all, s->sums[j].subtree, move->receive + s->sums[j].at * count,
                             &sums);
        LJ_CHECK(all.count == 1, "the tree has %d roots", all.count);
        total = all.sum[0];
    }
    memcpy(s->shard.gradient + s->shard.shard_offset[move->bucket], total,
           (size_t)count * sizeof(float));
}

/* Sends what can be sent, now that more of the node's ranks may have filled their sums. */
static void advance(struct lj_gradsync *s, struct lj_move *move)
{
    int done = 0;
    if (move->bucket < 0 || move->ended > 0)
        return;
    if (!move->sent && lj_node_told(s, LJ_NOTICE_FILLED, move->number)) {
        send_sums(s, move);
        lj_node_tell(s, LJ_NOTICE_SUMMED, move->number);
    }
    MPI_Testall(move->requests, move->request, &done, MPI_STATUSES_IGNORE);
    if (done && move->sent)
        move->ended = lj_now_s();
}

/* The bucket that started first is sent first, as its receiver expects. */
static void advance_both(struct lj_gradsync *s)
{
    struct lj_move *first = &s->move[s->turn ^ 1];
    advance(s, first);
    if (first->bucket < 0 || first->sent)
        advance(s, &s->move[s->turn]);
}

static double begin_wait(void)
{
    lj_phase_begin(LJ_PHASE_GRADIENT_COMM);
    lj_progress_wait(true);
    return lj_now_s();
}

static double end_wait(struct lj_gradsync *s, double started)
{
    double now = lj_now_s();
    lj_progress_wait(false);
    lj_phase_end();
    s->ledger_gradient->exposed_seconds += now - started;
    return now;
}

/* On a node of several ranks, what others may wait for goes on meanwhile. */
static void complete(struct lj_gradsync *s, struct lj_move *move)
{
    if (move->bucket < 0)
        return;
    double start = begin_wait();
    advance_both(s);
    while (s->common.notices && move->ended <= 0) {
        lj_node_pause(s);
        advance_both(s);
    }
    MPI_Waitall(move->requests, move->request, MPI_STATUSES_IGNORE);
    double end = end_wait(s, start);
    if (move->ended <= 0)
        move->ended = end;
    s->ledger_gradient->seconds += move->ended - move->started;
    lj_trace_add(move == s->move ? LJ_TRACK_GRADIENT_ONE : LJ_TRACK_GRADIENT_NEXT, "gradient",
                 move->started, move->ended, move->bytes);
    take_total(s, move);
    move->bucket = -1;
}

/* Until no rank of the node reads the sums any more that lie where this move's will. */
static void wait_for_place(struct lj_gradsync *s, const struct lj_move *move)
{
    if (!s->common.sums || lj_node_told(s, LJ_NOTICE_SUMMED, move->number))
        return;
    double start = begin_wait();
    while (!lj_node_told(s, LJ_NOTICE_SUMMED, move->number)) {
        lj_node_pause(s);
        advance_both(s);
    }
    end_wait(s, start);
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
    struct lj_move *move = &s->move[s->turn ^ 1];
    complete(s, move);
    wait_for_place(s, move);
    s->turn ^= 1;
    move->bucket = bucket;
    move->number = ++s->moved;
    move->sent = false;
    move->requests = 0;
    move->bytes = 0;
    move->started = lj_now_s();
    move->ended = 0;
    s->ledger_gradient->calls++;
    if (s->fast) {
        start_reduction(s, move);
        return;
    }
    receive_sums(s, move);
    fill(s, move);
    advance_both(s);
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
    advance_both(s);
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
