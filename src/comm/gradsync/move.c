/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: buckets on their way between ranks.
 *
 * What rank r sends to rank p: the sums of r's subtrees, each cut to p's part of the bucket, one
 * after the other; then one number: how many elements of r's lanes cannot be summed (not finite, or
 * too large). So everybody knows before an update whether it may happen, without a collective of
 * its own. Elements of lanes are counted, not of partial sums: which of these exist depends on the
 * number of ranks. */
#include "comm/gradsync/gradsync.h"

#include <limits.h>
#include <string.h>

static int allocate_move(struct lj_gradsync *s, struct lj_move *move)
{
    int size = s->comm->size, sums = lj_subtrees_of(s, s->comm->rank);
    int64_t widest = lj_widest_bucket(s), part = 0;
    for (int b = 0; b < s->buckets; b++)
        part = lj_max_i64(part, lj_part_count(s, b, s->comm->rank));
    int64_t sent = widest * sums + size;
    int64_t received = part * s->first_subtree[size] + size;
    if (sent > INT_MAX || received > INT_MAX)
        return lj_fail(
            LJ_ERR_CONFIG,
            "a layer of %lld parameters in %d subtrees exceeds what one MPI call can move; "
            "use fewer lanes per rank (a power of two)",
            (long long)widest, sums);
    move->send = lj_alloc_array(sent, sizeof(float), "gradient buffers");
    move->receive = lj_alloc_array(received, sizeof(float), "gradient buffers");
    move->send_count = lj_alloc_array(4 * size, sizeof(int), "gradient reduction");
    if (!move->send || !move->receive || !move->send_count)
        return LJ_ERR_RESOURCE;
    move->send_start = move->send_count + size;
    move->receive_count = move->send_start + size;
    move->receive_start = move->receive_count + size;
    return LJ_OK;
}

int lj_gradsync_allocate_moves(struct lj_gradsync *s)
{
    for (int i = 0; i < 2; i++) {
        s->move[i].bucket = -1;
        s->move[i].request = MPI_REQUEST_NULL;
    }
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
        lj_free(s->move[i].send_count);
    }
}

/* The bucket's elements in sum j of the forest. */
static const float *bucket_of_sum(const struct lj_gradsync *s, int bucket, int j)
{
    return s->forest.sum[j] + lj_leaf_offset(s, bucket);
}

/* What this rank knows of nonfinite elements leaves with the bucket that moves next. */
static float take_nonfinite(struct lj_gradsync *s)
{
    int64_t nonfinite = lj_min_i64(s->nonfinite_here, LJ_NONFINITE_MAX);
    s->nonfinite_here = 0;
    return (float)nonfinite;
}

/* Lays the sums out by receiver. A rank without lanes sends nothing but its count of zero; with
 * MPI's own reduction it sends zeros. */
static void pack(struct lj_gradsync *s, struct lj_move *move, int bucket)
{
    int size = s->comm->size, me = s->comm->rank, sums = lj_subtrees_of(s, me);
    float nonfinite = take_nonfinite(s);
    int64_t at = 0, from = 0;
    LJ_CHECK(s->fast || s->forest.count == sums, "bucket %d has %d of this rank's %d subtrees",
             bucket, s->forest.count, sums);
    for (int p = 0; p < size; p++) {
        int64_t count = lj_part_count(s, bucket, p);
        int64_t offset = lj_part_first(s, bucket, p) - s->bounds[bucket];
        move->send_start[p] = (int)at;
        for (int j = 0; j < sums; j++, at += count) {
            if (j < s->forest.count)
                memcpy(move->send + at, bucket_of_sum(s, bucket, j) + offset,
                       (size_t)count * sizeof(float));
            else
                memset(move->send + at, 0, (size_t)count * sizeof(float));
        }
        move->send[at++] = nonfinite;
        move->send_count[p] = (int)at - move->send_start[p];
        int64_t incoming = lj_subtrees_of(s, p) * lj_part_count(s, bucket, me) + 1;
        move->receive_start[p] = (int)from;
        move->receive_count[p] = (int)incoming;
        from += incoming;
    }
}

/* Adds everybody's subtrees, cut to my part of the bucket, up to the root of the tree. */
static void finish_tree(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t count = s->shard.count[move->bucket];
    const struct lj_forest_sums sums = {.elements = count};
    struct lj_forest all = {.lanes = s->lanes};
    for (int r = 0; r < s->comm->size; r++) {
        float *sum = move->receive + move->receive_start[r];
        for (int j = s->first_subtree[r]; j < s->first_subtree[r + 1]; j++, sum += count)
            lj_forest_append(&all, s->subtrees[j], sum, &sums);
        s->nonfinite += (int64_t)*sum;
    }
    LJ_CHECK(all.count == 1, "the tree has %d roots", all.count);
    memcpy(s->shard.gradient + s->shard.shard_offset[move->bucket], all.sum[0],
           (size_t)count * sizeof(float));
}

static void take_reduced(struct lj_gradsync *s, struct lj_move *move)
{
    int64_t count = s->shard.count[move->bucket];
    memcpy(s->shard.gradient + s->shard.shard_offset[move->bucket], move->receive,
           (size_t)count * sizeof(float));
    s->nonfinite += (int64_t)move->receive[count];
}

static void complete(struct lj_gradsync *s, struct lj_move *move)
{
    if (move->bucket < 0)
        return;
    double start = lj_now_s();
    lj_phase_begin(LJ_PHASE_GRADIENT_COMM);
    LJ_WAIT_IN(MPI_Wait(&move->request, MPI_STATUS_IGNORE));
    lj_phase_end();
    double end = lj_now_s();
    s->ledger_gradient->exposed_seconds += end - start;
    s->ledger_gradient->seconds += (move->ended > 0 ? move->ended : end) - move->started;
    if (s->fast)
        take_reduced(s, move);
    else
        finish_tree(s, move);
    move->bucket = -1;
}

/* One rank: its only subtree is the total. */
static void take_own(struct lj_gradsync *s, int bucket)
{
    LJ_CHECK(s->forest.count == 1, "the tree has %d roots", s->forest.count);
    s->nonfinite += s->nonfinite_here;
    s->nonfinite_here = 0;
    memcpy(s->shard.gradient + s->shard.shard_offset[bucket], bucket_of_sum(s, bucket, 0),
           (size_t)s->shard.count[bucket] * sizeof(float));
}

static void move_bucket(struct lj_gradsync *s, int bucket)
{
    struct lj_move *move = &s->move[s->turn ^= 1];
    complete(s, move);
    pack(s, move, bucket);
    move->bucket = bucket;
    move->started = lj_now_s();
    move->ended = 0;
    if (s->fast)
        MPI_Ireduce_scatter(move->send, move->receive, move->send_count, MPI_FLOAT, MPI_SUM,
                            s->comm->mpi->comm, &move->request);
    else
        MPI_Ialltoallv(move->send, move->send_count, move->send_start, MPI_FLOAT, move->receive,
                       move->receive_count, move->receive_start, MPI_FLOAT, s->comm->mpi->comm,
                       &move->request);
    int last = s->comm->size - 1;
    s->ledger_gradient->calls++;
    s->ledger_gradient->bytes +=
        (int64_t)(move->send_start[last] + move->send_count[last]) * (int64_t)sizeof(float);
}

void lj_gradsync_start(struct lj_gradsync *s, int bucket)
{
    if (s->comm->size == 1)
        take_own(s, bucket);
    else
        move_bucket(s, bucket);
    if (bucket >= s->joint || bucket == 0)
        lj_gradsync_clear_forest(s);
}

void lj_gradsync_progress(struct lj_gradsync *s)
{
    for (int i = 0; i < 2; i++) {
        struct lj_move *move = &s->move[i];
        int done = 0;
        if (move->request == MPI_REQUEST_NULL)
            continue;
        MPI_Test(&move->request, &done, MPI_STATUS_IGNORE);
        if (done)
            move->ended = lj_now_s();
    }
}

void lj_gradsync_finish(struct lj_gradsync *s, int64_t *nonfinite)
{
    if (s->comm->size > 1) {
        complete(s, &s->move[s->turn ^ 1]);
        complete(s, &s->move[s->turn]);
    }
    *nonfinite = lj_min_i64(s->nonfinite, LJ_NONFINITE_MAX);
    s->nonfinite = 0;
}
