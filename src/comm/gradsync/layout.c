/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: which part of each bucket a rank owns, which sums its node sends, whether
 * it keeps all weights, and where all that lies. */
#include "comm/gradsync/gradsync.h"

#include <stdlib.h>
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

/* Appends the subtrees of all ranks of a node to a row, if there is one; returns how many. They
 * come in order of lanes, as lanes do with ranks. */
static int row_of_node(const struct lj_gradsync *s, int node, struct lj_subtree *row)
{
    int count = 0;
    for (int i = s->map.first[node]; i < s->map.first[node + 1]; i++) {
        struct lj_forest forest;
        int64_t first, end;
        lj_lanes_of_rank(s->lanes, s->comm->size, s->map.member[i], &first, &end);
        lj_forest_plan(&forest, s->lanes, first, end);
        if (row)
            memcpy(row + count, forest.subtree, (size_t)forest.count * sizeof *row);
        count += forest.count;
    }
    return count;
}

int lj_node_inputs(const struct lj_gradsync *s, int node)
{
    return s->fast ? 0 : row_of_node(s, node, NULL);
}

int lj_node_outputs(const struct lj_gradsync *s, int node)
{
    return s->first_sum[node + 1] - s->first_sum[node];
}

static int by_start(const void *a, const void *b)
{
    int64_t first = ((const struct lj_sum *)a)->subtree.start;
    int64_t second = ((const struct lj_sum *)b)->subtree.start;
    return (first > second) - (first < second);
}

/* What each node sends: the maximal subtrees that the lanes of its ranks fill. */
static void grow_all(struct lj_gradsync *s, struct lj_subtree *row)
{
    int at = 0, most;
    for (int node = 0; node < s->map.nodes; node++) {
        int count = lj_subtrees_grow(row, row_of_node(s, node, row), s->lanes, s->joins, &most);
        for (int i = 0; i < count; i++, at++)
            s->sums[at] = (struct lj_sum){row[i], at};
        s->first_sum[node + 1] = at;
    }
    qsort(s->sums, (size_t)at, sizeof *s->sums, by_start);
    s->node_sums = row_of_node(s, s->map.mine, row);
    int left = lj_subtrees_grow(row, s->node_sums, s->lanes, s->joins, &most);
    s->spare_sums = most - left;
}

/* Which of the sums of its node a rank has. */
static void find_mine(struct lj_gradsync *s)
{
    struct lj_forest forest;
    int64_t first, end;
    for (int i = 0; i <= s->map.place[s->comm->rank]; i++) {
        int rank = s->map.member[s->map.first[s->map.mine] + i];
        lj_lanes_of_rank(s->lanes, s->comm->size, rank, &first, &end);
        lj_forest_plan(&forest, s->lanes, first, end);
        s->my_first_sum += s->my_sums;
        s->my_sums = forest.count;
    }
}

/* Sums of this rank, of its node, and of all nodes. With MPI's own reduction every rank sends one
 * sum, whatever its lanes. */
static int index_sums(struct lj_gradsync *s)
{
    int most = 0, all = 0;
    s->my_sums = s->fast;
    for (int node = 0; node < s->map.nodes && !s->fast; node++) {
        int inputs = row_of_node(s, node, NULL);
        most = inputs > most ? inputs : most;
        all += inputs;
    }
    struct lj_subtree *row = take(most, sizeof *row);
    s->joins = take(most, sizeof *s->joins);
    s->sums = take(all, sizeof *s->sums);
    s->first_sum = take(s->map.nodes + 1, sizeof *s->first_sum);
    bool good = row && s->joins && s->sums && s->first_sum;
    if (good && !s->fast) {
        grow_all(s, row);
        find_mine(s);
    }
    lj_free(row);
    s->spare = take((int64_t)s->workers * s->spare_sums * LJ_SHARD_ALIGN, sizeof *s->spare);
    return good && s->spare ? LJ_OK : LJ_ERR_RESOURCE;
}

/* Who keeps all weights: whoever computes lanes, and the root, which writes checkpoints. */
static bool keeps_weights(const struct lj_gradsync *s, int rank, bool everywhere)
{
    int64_t first, end;
    lj_lanes_of_rank(s->lanes, s->comm->size, rank, &first, &end);
    return everywhere || rank == 0 || end > first;
}

bool lj_node_keeps_weights(const struct lj_gradsync *s, int node, bool everywhere)
{
    for (int i = s->map.first[node]; i < s->map.first[node + 1]; i++)
        if (keeps_weights(s, s->map.member[i], everywhere))
            return true;
    return false;
}

static int choose_whole(struct lj_gradsync *s, bool everywhere)
{
    s->node_whole = take(s->map.nodes, sizeof *s->node_whole);
    if (!s->node_whole)
        return LJ_ERR_RESOURCE;
    for (int node = 0; node < s->map.nodes; node++) {
        s->node_whole[node] = lj_node_keeps_weights(s, node, everywhere);
        s->others_whole += s->node_whole[node] && node != s->map.mine;
    }
    s->shard.whole = keeps_weights(s, s->comm->rank, everywhere);
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
    LJ_TRY(index_sums(s));
    LJ_TRY(choose_whole(s, plan->whole_everywhere));
    return lay_out_shard(s);
}

void lj_gradsync_free_layout(struct lj_gradsync *s)
{
    lj_wire_free(&s->wire);
    lj_free(s->node_whole);
    lj_free(s->joins);
    lj_free(s->spare);
    lj_free(s->first_sum);
    lj_free(s->sums);
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
