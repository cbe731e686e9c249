/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: which part of each bucket a rank owns, which subtrees it sends, whether
 * it keeps all weights, and where all that lies. */
#include "comm/gradsync/gradsync.h"

#include <string.h>

static void *take(int64_t count, size_t size)
{
    return lj_alloc_array(count, size, "gradient reduction");
}

struct lj_deal lj_deal_among(int size, const int64_t *bounds, int bucket)
{
    int64_t dealt = bounds[bucket] / LJ_SHARD_ALIGN;
    int64_t units = (bounds[bucket + 1] - bounds[bucket]) / LJ_SHARD_ALIGN;
    return (struct lj_deal){.size = size,
                            .dealer = (int)(dealt % size),
                            .parts = (int)lj_min_i64(units, size),
                            .first = bounds[bucket],
                            .each = units / size,
                            .more = units % size};
}

struct lj_deal lj_deal_of(const struct lj_gradsync *s, int bucket)
{
    return lj_deal_among(s->comm->size, s->bounds, bucket);
}

struct lj_part lj_deal_part(const struct lj_deal *deal, int turn)
{
    int64_t before = turn * deal->each + lj_min_i64(turn, deal->more);
    return (struct lj_part){.rank = (deal->dealer + turn) % deal->size,
                            .count = (deal->each + (turn < deal->more)) * LJ_SHARD_ALIGN,
                            .first = deal->first + before * LJ_SHARD_ALIGN};
}

int lj_deal_turn(const struct lj_deal *deal, int rank)
{
    return (rank - deal->dealer + deal->size) % deal->size;
}

struct lj_part lj_part_of(const struct lj_gradsync *s, int bucket, int rank)
{
    struct lj_deal deal = lj_deal_of(s, bucket);
    return lj_deal_part(&deal, lj_deal_turn(&deal, rank));
}

int64_t lj_my_count(const struct lj_gradsync *s, int bucket)
{
    return s->shard.count[bucket];
}

int64_t lj_my_widest(const struct lj_gradsync *s)
{
    int64_t widest = 0;
    for (int b = 0; b < s->buckets; b++)
        widest = lj_max_i64(widest, s->shard.count[b]);
    return widest;
}

int64_t lj_bucket_width(const struct lj_gradsync *s, int bucket)
{
    return s->bounds[bucket + 1] - s->bounds[bucket];
}

int64_t lj_widest_bucket(const struct lj_gradsync *s)
{
    int64_t widest = 0;
    for (int b = 0; b < s->buckets; b++)
        widest = lj_max_i64(widest, lj_bucket_width(s, b));
    return widest;
}

int lj_subtrees_of(const struct lj_gradsync *s, int rank)
{
    return s->first_subtree[rank + 1] - s->first_subtree[rank];
}

static void plan_forest(const struct lj_gradsync *s, int rank, struct lj_forest *forest)
{
    int64_t first, end;
    lj_lanes_of_rank(s->lanes, s->comm->size, rank, &first, &end);
    lj_forest_plan(forest, s->lanes, first, end);
}

/* Subtrees of every rank, in order of rank and so of lanes. With MPI's own reduction every rank
 * sends one sum, whatever its lanes. */
static int index_subtrees(struct lj_gradsync *s)
{
    struct lj_forest forest;
    int size = s->comm->size;
    s->first_subtree = take(size + 1, sizeof *s->first_subtree);
    if (!s->first_subtree)
        return LJ_ERR_RESOURCE;
    for (int r = 0; r < size; r++) {
        plan_forest(s, r, &forest);
        s->first_subtree[r + 1] = s->first_subtree[r] + (s->fast ? 1 : forest.count);
    }
    s->subtrees = take(s->first_subtree[size], sizeof *s->subtrees);
    if (!s->subtrees)
        return LJ_ERR_RESOURCE;
    for (int r = 0; r < size && !s->fast; r++) {
        plan_forest(s, r, &forest);
        memcpy(s->subtrees + s->first_subtree[r], forest.subtree,
               (size_t)forest.count * sizeof *s->subtrees);
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
    for (int r = 0; r < s->comm->size; r++) {
        lj_lanes_of_rank(s->lanes, s->comm->size, r, &first, &end);
        s->whole[r] = everywhere || r == 0 || end > first;
        s->others_whole += s->whole[r] && r != s->comm->rank;
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
        struct lj_part part = lj_part_of(s, b, s->comm->rank);
        first[b] = part.first;
        count[b] = part.count;
        offset[b] = s->shard.elements;
        s->shard.elements += count[b];
    }
    s->shard.weights_first = s->shard.whole ? first : offset;
    s->shard.weights_elements = s->shard.whole ? s->bounds[s->buckets] : s->shard.elements;
    s->shard.gradient = take(s->shard.elements, sizeof(float));
    s->square_sums = take(s->bounds[s->buckets] / LJ_SHARD_ALIGN + 1, sizeof(double));
    s->part_count = take(2 * (int64_t)s->comm->size, sizeof *s->part_count);
    if (!s->shard.gradient || !s->square_sums || !s->part_count)
        return LJ_ERR_RESOURCE;
    s->part_start = s->part_count + s->comm->size;
    return LJ_OK;
}

int lj_gradsync_lay_out(struct lj_gradsync *s, const struct lj_gradsync_plan *plan)
{
    int64_t *bounds = take(plan->buckets + 1, sizeof *bounds);
    if (!bounds)
        return LJ_ERR_RESOURCE;
    memcpy(bounds, plan->bounds, (size_t)(plan->buckets + 1) * sizeof *bounds);
    s->bounds = bounds;
    LJ_TRY(lj_wire_create(&s->wire, plan));
    LJ_TRY(index_subtrees(s));
    LJ_TRY(choose_whole(s, plan->whole_everywhere));
    return lay_out_shard(s);
}

void lj_gradsync_free_layout(struct lj_gradsync *s)
{
    lj_wire_free(&s->wire);
    lj_free(s->whole);
    lj_free(s->first_subtree);
    lj_free(s->subtrees);
    lj_free((void *)s->bounds);
    lj_free((void *)s->shard.first);
    lj_free((void *)s->shard.count);
    lj_free((void *)s->shard.shard_offset);
    lj_free(s->shard.gradient);
    lj_free(s->square_sums);
    lj_free(s->part_count);
}

const struct lj_shard *lj_gradsync_shard(const struct lj_gradsync *s)
{
    return &s->shard;
}
