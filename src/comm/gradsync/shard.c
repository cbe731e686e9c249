/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: the norm of the whole gradient, and whole arrays that are collected on
 * the root or come from it. */
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
    double end = lj_now_s();
    int64_t bytes = count * (int64_t)sizeof *s->square_sums;
    ledger->calls++;
    ledger->bytes += bytes;
    ledger->seconds += end - start;
    ledger->exposed_seconds += end - start;
    lj_trace_add(LJ_TRACK_COLLECTIVES, ledger->name, start, end, bytes);
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
static void lay_out_parts(struct lj_gradsync *s, int bucket)
{
    struct lj_deal deal = lj_deal_of(s, bucket);
    for (int turn = 0; turn < s->comm->size; turn++) {
        struct lj_part part = lj_deal_part(&deal, turn);
        s->part_count[part.rank] = (int)part.count;
        s->part_start[part.rank] = (int)(part.first - deal.first);
    }
}

/* Messages of so many arrays. */
int lj_gradsync_allocate_collecting(struct lj_gradsync *s)
{
    int64_t messages = 0;
    for (int b = 0; b < s->buckets && s->comm->size > 1; b++) {
        bool mine = lj_my_count(s, b) > 0;
        messages += lj_comm_is_root(s->comm) ? lj_deal_of(s, b).parts - mine : mine;
    }
    s->collecting =
        lj_alloc_array(LJ_COLLECTING_MAX * messages, sizeof *s->collecting, "gradient reduction");
    return s->collecting ? LJ_OK : LJ_ERR_RESOURCE;
}

void lj_gradsync_free_collecting(struct lj_gradsync *s)
{
    if (s->collecting)
        lj_gradsync_collect_finish(s);
    lj_free(s->collecting);
}

static void receive_parts(struct lj_gradsync *s, int bucket, float *whole)
{
    struct lj_deal deal = lj_deal_of(s, bucket);
    for (int turn = 0; turn < deal.parts; turn++) {
        struct lj_part part = lj_deal_part(&deal, turn);
        if (part.rank != 0)
            MPI_Irecv(whole + part.first, (int)part.count, MPI_FLOAT, part.rank, LJ_TAG_COLLECT,
                      s->comm->mpi->comm, &s->collecting[s->messages_collecting++]);
    }
}

void lj_gradsync_collect_start(struct lj_gradsync *s, const float *shard, float *whole)
{
    const struct lj_shard *mine = &s->shard;
    LJ_CHECK(s->arrays_collecting++ < LJ_COLLECTING_MAX, "too many arrays are collected at once");
    for (int b = 0; b < s->buckets && whole && s->comm->size > 1; b++)
        receive_parts(s, b, whole);
    for (int b = 0; b < s->buckets; b++) {
        const float *part = shard + mine->shard_offset[b];
        if (whole)
            memcpy(whole + mine->first[b], part, (size_t)mine->count[b] * sizeof *part);
        else if (mine->count[b] > 0)
            MPI_Isend(part, (int)mine->count[b], MPI_FLOAT, 0, LJ_TAG_COLLECT, s->comm->mpi->comm,
                      &s->collecting[s->messages_collecting++]);
    }
}

bool lj_gradsync_collected(struct lj_gradsync *s)
{
    int done = 0;
    MPI_Testall(s->messages_collecting, s->collecting, &done, MPI_STATUSES_IGNORE);
    return done;
}

void lj_gradsync_collect_finish(struct lj_gradsync *s)
{
    LJ_WAIT_IN(MPI_Waitall(s->messages_collecting, s->collecting, MPI_STATUSES_IGNORE));
    s->messages_collecting = s->arrays_collecting = 0;
}

void lj_gradsync_scatter(struct lj_gradsync *s, const float *whole, float *mine, const int64_t *at)
{
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
        lay_out_parts(s, b);
        LJ_WAIT_IN(MPI_Scatterv(from, s->part_count, s->part_start, MPI_FLOAT,
                                in_place ? MPI_IN_PLACE : to, (int)count, MPI_FLOAT, 0,
                                s->comm->mpi->comm));
    }
}
