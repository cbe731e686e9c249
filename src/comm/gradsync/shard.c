/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: what is done with the totals. The norm of the whole gradient, gathering
 * weights, and moving whole arrays to and from the root. */
#include "comm/gradsync/gradsync.h"

#include <math.h>
#include <string.h>

/* Sum along a balanced tree over [first, end): the same additions whatever the number of ranks. */
static double tree_sum(const double *x, int64_t first, int64_t end)
{
    if (end - first == 1)
        return x[first];
    int64_t middle = first + (end - first) / 2;
    return tree_sum(x, first, middle) + tree_sum(x, middle, end);
}

static double square_sum(const float *x, int64_t count)
{
    double part[8] = {0};
    for (int64_t i = 0; i < count; i += 8) /* count is a multiple of LJ_SHARD_ALIGN */
        for (int j = 0; j < 8; j++)
            part[j] += (double)x[i + j] * (double)x[i + j];
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
}

/* A sum of squares is its owner's, and zero on all other ranks: adding them is exact. */
static void share_square_sums(struct lj_gradsync *s, int count)
{
    struct lj_ledger_entry *ledger = s->ledger_norm;
    double start = lj_now_s();
    LJ_WAIT_IN(MPI_Allreduce(MPI_IN_PLACE, s->square_sums, count, MPI_DOUBLE, MPI_SUM,
                             s->comm->mpi->comm));
    double seconds = lj_now_s() - start;
    ledger->calls++;
    ledger->bytes += count * (int64_t)sizeof *s->square_sums;
    ledger->seconds += seconds;
    ledger->exposed_seconds += seconds;
}

double lj_gradsync_norm(struct lj_gradsync *s)
{
    int64_t count = s->bounds[s->buckets] / LJ_SHARD_ALIGN;
    double *sums = s->square_sums;
    memset(sums, 0, (size_t)count * sizeof *sums);
    for (int b = 0; b < s->buckets; b++)
        for (int64_t i = 0; i < s->shard.count[b]; i += LJ_SHARD_ALIGN)
            sums[(s->shard.first[b] + i) / LJ_SHARD_ALIGN] =
                square_sum(s->shard.gradient + s->shard.shard_offset[b] + i, LJ_SHARD_ALIGN);
    if (s->comm->size > 1)
        share_square_sums(s, (int)count);
    return sqrt(tree_sum(sums, 0, count));
}

/* Length of each rank's part of the bucket, and where it begins in the bucket. */
static void lay_out_parts(const struct lj_gradsync *s, int bucket, int *count, int *start)
{
    for (int r = 0; r < s->comm->size; r++) {
        int64_t first = lj_part_first(s, bucket, r);
        start[r] = (int)(first - s->bounds[bucket]);
        count[r] = (int)lj_part_count(s, bucket, r);
    }
}

static void gather_everywhere(struct lj_gradsync *s, int bucket, float *weights,
                              struct lj_move *move)
{
    lay_out_parts(s, bucket, move->receive_count, move->receive_start);
    MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, weights + s->bounds[bucket],
                    move->receive_count, move->receive_start, MPI_FLOAT, s->comm->mpi->comm,
                    &move->request);
}

/* Elements that rank `from` sends to rank `to`: its part, to those that keep all weights. */
static int gather_count(const struct lj_gradsync *s, int bucket, int from, int to)
{
    return s->whole[to] && from != to ? (int)lj_part_count(s, bucket, from) : 0;
}

/* The part is sent from a copy: Open MPI takes equal addresses, as rank 0's would
 * be, for MPI_IN_PLACE. */
static void gather_where_whole(struct lj_gradsync *s, int bucket, float *weights,
                               struct lj_move *move)
{
    int me = s->comm->rank;
    float *part = move->receive;
    memcpy(part, weights + s->shard.weights_first[bucket],
           (size_t)s->shard.count[bucket] * sizeof *part);
    lay_out_parts(s, bucket, move->receive_count, move->receive_start);
    for (int r = 0; r < s->comm->size; r++) {
        move->send_count[r] = gather_count(s, bucket, me, r);
        move->send_start[r] = 0;
        move->receive_count[r] = gather_count(s, bucket, r, me);
    }
    MPI_Ialltoallv(part, move->send_count, move->send_start, MPI_FLOAT,
                   s->shard.whole ? weights + s->bounds[bucket] : NULL, move->receive_count,
                   move->receive_start, MPI_FLOAT, s->comm->mpi->comm, &move->request);
}

void lj_gradsync_gather(struct lj_gradsync *s, float *weights)
{
    if (s->comm->size == 1)
        return;
    double start = lj_now_s();
    for (int b = 0; b < s->buckets; b++) {
        struct lj_move *move = &s->move[b % 2]; /* idle now: lends its request and counts */
        LJ_WAIT_IN(MPI_Wait(&move->request, MPI_STATUS_IGNORE));
        if (s->all_whole)
            gather_everywhere(s, b, weights, move);
        else
            gather_where_whole(s, b, weights, move);
        s->ledger_weights->calls++;
        s->ledger_weights->bytes +=
            s->shard.count[b] * (int64_t)sizeof(float) * lj_gather_copies(s);
    }
    LJ_WAIT_IN(MPI_Wait(&s->move[0].request, MPI_STATUS_IGNORE));
    LJ_WAIT_IN(MPI_Wait(&s->move[1].request, MPI_STATUS_IGNORE));
    s->ledger_weights->seconds += lj_now_s() - start;
    s->ledger_weights->exposed_seconds += lj_now_s() - start;
}

void lj_gradsync_collect(struct lj_gradsync *s, const float *shard, float *whole)
{
    if (s->comm->size == 1) {
        memcpy(whole, shard, (size_t)s->shard.elements * sizeof *whole);
        return;
    }
    struct lj_move *move = &s->move[0];
    for (int b = 0; b < s->buckets; b++) {
        lay_out_parts(s, b, move->receive_count, move->receive_start);
        LJ_WAIT_IN(MPI_Gatherv(shard + s->shard.shard_offset[b], (int)s->shard.count[b], MPI_FLOAT,
                               whole ? whole + s->bounds[b] : NULL, move->receive_count,
                               move->receive_start, MPI_FLOAT, 0, s->comm->mpi->comm));
    }
}

void lj_gradsync_scatter(struct lj_gradsync *s, const float *whole, float *mine, const int64_t *at)
{
    struct lj_move *move = &s->move[0];
    for (int b = 0; b < s->buckets; b++) {
        const float *from = whole ? whole + s->bounds[b] : NULL;
        float *to = mine + at[b];
        int64_t count = s->shard.count[b];
        bool in_place = whole && to == whole + s->shard.first[b];
        if (s->comm->size == 1) {
            if (!in_place)
                memcpy(to, from, (size_t)count * sizeof *to);
            continue;
        }
        lay_out_parts(s, b, move->send_count, move->send_start);
        LJ_WAIT_IN(MPI_Scatterv(from, move->send_count, move->send_start, MPI_FLOAT,
                                in_place ? MPI_IN_PLACE : to, (int)count, MPI_FLOAT, 0,
                                s->comm->mpi->comm));
    }
}
