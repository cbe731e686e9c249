/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: set-up, the lanes of this rank, and the shard of totals.
 *
 * Lanes of this rank run through a chain of carries into the maximal subtrees of the fixed tree. A
 * bucket then moves (move.c): every rank receives everybody's subtrees of its own shard and
 * finishes the same tree there. Additions are the same pairs whatever the number of ranks. */
#include "comm/gradsync/gradsync.h"

#include "comm/lanes.h"

#include <math.h>
#include <string.h>

static void *take(int64_t count, size_t size)
{
    return lj_alloc_array(count, size, "gradient reduction");
}

int64_t lj_shard_first(const struct lj_gradsync *s, int bucket, int rank)
{
    int64_t units = (s->bounds[bucket + 1] - s->bounds[bucket]) / LJ_SHARD_ALIGN;
    return s->bounds[bucket] + rank * units / s->comm->size * LJ_SHARD_ALIGN;
}

int64_t lj_shard_count(const struct lj_gradsync *s, int bucket, int rank)
{
    return lj_shard_first(s, bucket, rank + 1) - lj_shard_first(s, bucket, rank);
}

int64_t lj_leaf_offset(const struct lj_gradsync *s, int bucket)
{
    return bucket < s->joint ? s->bounds[bucket] : 0;
}

int64_t lj_leaf_width(const struct lj_gradsync *s, int bucket)
{
    return bucket < s->joint ? s->bounds[s->joint] : s->bounds[bucket + 1] - s->bounds[bucket];
}

static int64_t widest_bucket(const struct lj_gradsync *s)
{
    int64_t widest = 0;
    for (int b = 0; b < s->buckets; b++)
        widest = lj_max_i64(widest, s->bounds[b + 1] - s->bounds[b]);
    return widest;
}

/* Blocks of every rank, in order of rank and so of lanes. */
static int index_blocks(struct lj_gradsync *s)
{
    s->blocks_of_rank = take(s->comm->size + 1, sizeof *s->blocks_of_rank);
    if (!s->blocks_of_rank)
        return LJ_ERR_RESOURCE;
    struct lj_subtree own[LJ_SUBTREES_MAX];
    int64_t first, end;
    for (int pass = 0; pass < 2; pass++) {
        int total = 0;
        for (int r = 0; r < s->comm->size; r++) {
            lj_lanes_of_rank(s->lanes, s->comm->size, r, &first, &end);
            int count = s->fast ? 1 : lj_lane_subtrees(first, end, s->lanes, own);
            if (pass == 1 && !s->fast)
                memcpy(s->all_blocks + total, own, (size_t)count * sizeof *own);
            s->blocks_of_rank[r] = total;
            total += count;
        }
        s->blocks_of_rank[s->comm->size] = total;
        if (pass == 0 && !(s->all_blocks = take(total, sizeof *s->all_blocks)))
            return LJ_ERR_RESOURCE;
    }
    return LJ_OK;
}

/* Who keeps all weights: whoever computes lanes, and the root, which writes checkpoints. */
static int choose_whole(struct lj_gradsync *s, bool everywhere)
{
    int64_t first, end;
    s->whole = take(s->comm->size, sizeof *s->whole);
    if (!s->whole)
        return LJ_ERR_RESOURCE;
    s->all_whole = true;
    for (int r = 0; r < s->comm->size; r++) {
        lj_lanes_of_rank(s->lanes, s->comm->size, r, &first, &end);
        s->whole[r] = everywhere || r == 0 || end > first;
        s->all_whole &= s->whole[r];
    }
    s->shard.whole = s->whole[s->comm->rank];
    return LJ_OK;
}

static int lay_out_shard(struct lj_gradsync *s)
{
    int64_t *first = take(s->buckets, sizeof *first), *count = take(s->buckets, sizeof *count);
    int64_t *offset = take(s->buckets, sizeof *offset);
    s->shard.buckets = s->buckets;
    s->shard.first = first;
    s->shard.count = count;
    s->shard.shard_offset = offset;
    if (!first || !count || !offset)
        return LJ_ERR_RESOURCE;
    for (int b = 0; b < s->buckets; b++) {
        first[b] = lj_shard_first(s, b, s->comm->rank);
        count[b] = lj_shard_count(s, b, s->comm->rank);
        offset[b] = s->shard.elements;
        s->shard.elements += count[b];
    }
    s->shard.weights_first = s->shard.whole ? first : offset;
    s->shard.weights_elements = s->shard.whole ? s->bounds[s->buckets] : s->shard.elements;
    s->shard.gradient = take(s->shard.elements, sizeof(float));
    s->square_sums = take(s->bounds[s->buckets] / LJ_SHARD_ALIGN + 1, sizeof(double));
    return s->shard.gradient && s->square_sums ? LJ_OK : LJ_ERR_RESOURCE;
}

static int allocate_leaves(struct lj_gradsync *s)
{
    int64_t width = lj_max_i64(s->bounds[s->joint], widest_bucket(s));
    int depth = s->fast ? 1 : lj_lane_depth(s->first_lane, s->end_lane, s->lanes);
    int workers = s->end_lane > s->first_lane ? s->workers : 0;
    s->free_count = 0;
    s->buffer_count = workers + depth;
    s->free_buffers = take(s->buffer_count, sizeof *s->free_buffers);
    s->buffers = take(s->buffer_count, sizeof *s->buffers);
    s->leaf = take(s->workers, sizeof *s->leaf);
    if (!s->free_buffers || !s->buffers || !s->leaf)
        return LJ_ERR_RESOURCE;
    for (int i = 0; i < s->buffer_count; i++) {
        s->buffers[i] = lj_alloc_array(width, sizeof(float), "gradient leaves");
        if (!s->buffers[i])
            return LJ_ERR_RESOURCE;
        s->free_buffers[s->free_count++] = s->buffers[i];
    }
    return LJ_OK;
}

static int create_locally(struct lj_gradsync *s, const struct lj_gradsync_plan *plan)
{
    LJ_TRY(lj_fault("gradsync-create", -1));
    int64_t *bounds = take(plan->buckets + 1, sizeof *bounds);
    if (!bounds)
        return LJ_ERR_RESOURCE;
    memcpy(bounds, plan->bounds, (size_t)(plan->buckets + 1) * sizeof *bounds);
    s->bounds = bounds;
    LJ_TRY(index_blocks(s));
    LJ_TRY(choose_whole(s, plan->whole_everywhere));
    LJ_TRY(lay_out_shard(s));
    LJ_TRY(allocate_leaves(s));
    return lj_gradsync_allocate_moves(s, widest_bucket(s));
}

int lj_gradsync_create(struct lj_gradsync **sync, struct lj_comm *comm,
                       const struct lj_gradsync_plan *plan, struct lj_ledger *ledger)
{
    LJ_CHECK(plan->lanes > 0 && plan->buckets > 0 && plan->bounds[plan->buckets] > 0,
             "a plan of %lld lanes and %d buckets", (long long)plan->lanes, plan->buckets);
    struct lj_gradsync *s = lj_alloc(sizeof *s, "gradient reduction");
    int status = LJ_ERR_RESOURCE;
    *sync = NULL;
    if (s) {
        s->comm = comm;
        s->lanes = plan->lanes;
        s->buckets = plan->buckets;
        s->workers = plan->workers;
        s->joint = plan->joint;
        s->fast = plan->fast;
        s->chain.lanes = plan->lanes;
        s->limit = (float)(0x1p127 / (double)plan->lanes);
        s->ledger_gradient = lj_ledger_entry(ledger, "gradient",
                                             plan->fast ? "MPI_Ireduce_scatter" : "MPI_Ialltoallv");
        s->ledger_weights = lj_ledger_entry(ledger, "weights", "MPI_Iallgatherv");
        s->ledger_norm = lj_ledger_entry(ledger, "norm", "MPI_Allreduce");
        lj_lanes_of_rank(s->lanes, comm->size, comm->rank, &s->first_lane, &s->end_lane);
        status = create_locally(s, plan);
        if (!s->all_whole)
            s->ledger_weights->collective = "MPI_Ialltoallv";
    }
    status = lj_agree(comm, status);
    if (status == LJ_OK)
        *sync = s;
    else
        lj_gradsync_destroy(s);
    return status;
}

void lj_gradsync_destroy(struct lj_gradsync *s)
{
    if (!s)
        return;
    for (int i = 0; s->buffers && i < s->buffer_count; i++)
        lj_free(s->buffers[i]);
    lj_gradsync_free_moves(s);
    lj_free(s->buffers);
    lj_free(s->free_buffers);
    lj_free(s->leaf);
    lj_free(s->whole);
    lj_free(s->blocks_of_rank);
    lj_free(s->all_blocks);
    lj_free((void *)s->bounds);
    lj_free((void *)s->shard.first);
    lj_free((void *)s->shard.count);
    lj_free((void *)s->shard.shard_offset);
    lj_free(s->shard.gradient);
    lj_free(s->square_sums);
    lj_free(s);
}

/* Elements at or above the limit or not a number. */
static int64_t count_nonfinite(const float *x, int64_t count, float limit)
{
    int64_t nonfinite = 0;
#pragma omp parallel for schedule(static) reduction(+ : nonfinite) if (count > 1 << 16)
    for (int64_t subtree = 0; subtree < count; subtree += LJ_SHARD_ALIGN) {
        int here = 0;
        for (int i = 0; i < LJ_SHARD_ALIGN; i++)
            here += !(fabsf(x[subtree + i]) < limit);
        nonfinite += here;
    }
    return nonfinite;
}

static void release(void *context, float *buffer)
{
    struct lj_gradsync *s = context;
    s->free_buffers[s->free_count++] = buffer;
}

void lj_gradsync_take_leaves(struct lj_gradsync *s, int count)
{
    for (int worker = 0; worker < count; worker++) {
        LJ_CHECK(s->free_count > 0 && !s->leaf[worker], "no free leaf for worker %d", worker);
        s->leaf[worker] = s->free_buffers[--s->free_count];
    }
}

float *lj_gradsync_leaf(struct lj_gradsync *s, int bucket, int worker)
{
    return s->leaf[worker] + lj_leaf_offset(s, bucket);
}

void lj_gradsync_add(struct lj_gradsync *s, int bucket, int worker, int64_t lane)
{
    int64_t width = lj_leaf_width(s, bucket);
    float *data = s->leaf[worker];
    s->leaf[worker] = NULL;
    s->nonfinite_here += count_nonfinite(data, width, s->limit);
    if (s->fast && s->chain.depth == 1) {
        lj_add_in_parallel(s->chain.data[0], data, width);
        release(s, data);
        return;
    }
    lj_chain_add(&s->chain, (struct lj_subtree){lane, 0}, data, width, release, s);
}

void lj_gradsync_reset_chain(struct lj_gradsync *s)
{
    while (s->chain.depth > 0)
        release(s, s->chain.data[--s->chain.depth]);
}

const struct lj_shard *lj_gradsync_shard(const struct lj_gradsync *s)
{
    return &s->shard;
}
