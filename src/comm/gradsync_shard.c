/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: what is done with the shards: the norm of the whole gradient, and gathering
 * weights or moments. */
#include "gradsync.h"

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
    for (int64_t i = 0; i < count; i += 8) /* count is a multiple of LJ_PIECE_ALIGN */
        for (int j = 0; j < 8; j++)
            part[j] += (double)x[i + j] * (double)x[i + j];
    return ((part[0] + part[1]) + (part[2] + part[3])) +
           ((part[4] + part[5]) + (part[6] + part[7]));
}

/* Every block has one owner and zeros elsewhere, so this sum has one term and is exact. */
static void share_square_sums(struct lj_gradsync *s, int blocks)
{
    struct lj_ledger_entry *ledger = s->ledger_norm;
    double start = lj_now_s();
    MPI_Allreduce(MPI_IN_PLACE, s->square_sums, blocks, MPI_DOUBLE, MPI_SUM, s->comm->mpi->comm);
    double seconds = lj_now_s() - start;
    ledger->calls++;
    ledger->bytes += blocks * (int64_t)sizeof *s->square_sums;
    ledger->seconds += seconds;
    ledger->exposed_seconds += seconds;
}

double lj_gradsync_norm(struct lj_gradsync *s)
{
    int64_t blocks = s->bounds[s->buckets] / LJ_PIECE_ALIGN;
    double *sums = s->square_sums;
    memset(sums, 0, (size_t)blocks * sizeof *sums);
    for (int b = 0; b < s->buckets; b++)
        for (int64_t i = 0; i < s->shard.count[b]; i += LJ_PIECE_ALIGN)
            sums[(s->shard.first[b] + i) / LJ_PIECE_ALIGN] =
                square_sum(s->shard.gradient + s->shard.shard_offset[b] + i, LJ_PIECE_ALIGN);
    if (s->comm->size > 1)
        share_square_sums(s, (int)blocks);
    return sqrt(tree_sum(sums, 0, blocks));
}

void lj_gradsync_gather(struct lj_gradsync *s, float *weights)
{
    if (s->comm->size == 1)
        return;
    double start = lj_now_s();
    for (int b = 0; b < s->buckets; b++) {
        struct lj_move *move = &s->move[b % 2]; /* idle now; lends its request and counts */
        MPI_Wait(&move->request, MPI_STATUS_IGNORE);
        for (int r = 0; r < s->comm->size; r++) {
            int64_t first = lj_piece_first(s, b, r);
            move->receive_start[r] = (int)(first - s->bounds[b]);
            move->receive_count[r] = (int)(lj_piece_first(s, b, r + 1) - first);
        }
        MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, weights + s->bounds[b],
                        move->receive_count, move->receive_start, MPI_FLOAT, s->comm->mpi->comm,
                        &move->request);
        s->ledger_weights->calls++;
        s->ledger_weights->bytes += s->shard.count[b] * (int64_t)sizeof(float);
    }
    MPI_Wait(&s->move[0].request, MPI_STATUS_IGNORE);
    MPI_Wait(&s->move[1].request, MPI_STATUS_IGNORE);
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
        for (int r = 0; r < s->comm->size; r++) {
            int64_t first = lj_piece_first(s, b, r);
            move->receive_start[r] = (int)(first - s->bounds[b]);
            move->receive_count[r] = (int)(lj_piece_first(s, b, r + 1) - first);
        }
        MPI_Gatherv(shard + s->shard.shard_offset[b], (int)s->shard.count[b], MPI_FLOAT,
                    whole ? whole + s->bounds[b] : NULL, move->receive_count, move->receive_start,
                    MPI_FLOAT, 0, s->comm->mpi->comm);
    }
}
