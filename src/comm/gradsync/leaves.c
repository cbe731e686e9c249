/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: where lanes write their gradients, and the forest that this rank's lanes
 * grow into. A buffer is free, a worker's leaf, or a sum of the forest.
 *
 * Where buckets are filled by wave, a forest is set aside until the bucket's next wave, with its
 * sums in memory of their own: there are as many buffers as one bucket needs. A forest is a stack,
 * whose sums are added to from the right, so sum i set aside is sum i of the forest as long as it
 * is in use, and lies at one place. */
#include "comm/bf16.h"
#include "comm/gradsync/gradsync.h"

#include <math.h>

static int most_sums(const struct lj_gradsync *s)
{
    struct lj_forest plan;
    lj_forest_plan(&plan, s->lanes, s->first_lane, s->end_lane);
    return s->fast ? 1 : plan.most;
}

/* Room for what is set aside: the sums that lie side by side between two waves. */
static int allocate_aside(struct lj_gradsync *s)
{
    int sums = lj_lanes_sums_between_waves(s->lanes, s->first_lane, s->end_lane, s->workers);
    s->aside_count = s->by_wave == 0 ? 0 : s->fast && sums > 1 ? 1 : sums;
    s->aside = lj_alloc_array(s->by_wave, sizeof *s->aside, "gradient reduction");
    s->aside_sums = lj_alloc_array(s->aside_count, sizeof *s->aside_sums, "gradient reduction");
    if (!s->aside || !s->aside_sums)
        return LJ_ERR_RESOURCE;
    for (int b = 0; b < s->by_wave; b++)
        s->aside[b].lanes = s->lanes;
    for (int i = 0; i < s->aside_count; i++) {
        s->aside_sums[i] = lj_alloc_array(s->bounds[s->by_wave], sizeof(float), "gradient sums");
        if (!s->aside_sums[i])
            return LJ_ERR_RESOURCE;
    }
    return LJ_OK;
}

int lj_gradsync_allocate_leaves(struct lj_gradsync *s)
{
    int64_t width = lj_widest_bucket(s);
    int workers = s->end_lane > s->first_lane ? s->workers : 0;
    s->forest.lanes = s->lanes;
    s->free_count = 0;
    s->buffer_count = workers + most_sums(s);
    s->free_buffers =
        lj_alloc_array(s->buffer_count, sizeof *s->free_buffers, "gradient reduction");
    s->buffers = lj_alloc_array(s->buffer_count, sizeof *s->buffers, "gradient reduction");
    s->leaf = lj_alloc_array(s->workers, sizeof *s->leaf, "gradient reduction");
    if (!s->free_buffers || !s->buffers || !s->leaf)
        return LJ_ERR_RESOURCE;
    for (int i = 0; i < s->buffer_count; i++) {
        s->buffers[i] = lj_alloc_array(width, sizeof(float), "gradient leaves");
        if (!s->buffers[i])
            return LJ_ERR_RESOURCE;
        s->free_buffers[s->free_count++] = s->buffers[i];
    }
    return allocate_aside(s);
}

void lj_gradsync_free_leaves(struct lj_gradsync *s)
{
    for (int i = 0; s->buffers && i < s->buffer_count; i++)
        lj_free(s->buffers[i]);
    lj_free(s->buffers);
    lj_free(s->free_buffers);
    lj_free(s->leaf);
    for (int i = 0; s->aside_sums && i < s->aside_count; i++)
        lj_free(s->aside_sums[i]);
    lj_free(s->aside_sums);
    lj_free(s->aside);
}

/* A sum that is no longer needed: if it lies in a buffer, that is free again. */
static void release(void *context, float *sum)
{
    struct lj_gradsync *s = context;
    for (int i = 0; i < s->buffer_count; i++)
        if (sum == s->buffers[i])
            s->free_buffers[s->free_count++] = sum;
}

void lj_gradsync_take_leaves(struct lj_gradsync *s, int count)
{
    for (int worker = 0; worker < count; worker++) {
        LJ_CHECK(s->free_count > 0 && !s->leaf[worker], "no free leaf for worker %d", worker);
        s->leaf[worker] = s->free_buffers[--s->free_count];
    }
}

float *lj_gradsync_leaf(struct lj_gradsync *s, int worker)
{
    return s->leaf[worker];
}

/* Counts elements whose magnitude is at or above the limit, or that are not a number, and rounds
 * the units that are to be rounded while they are in the cache. */
static int64_t count_and_round(float *x, int64_t count, float limit, const bool *rounded)
{
    int64_t nonfinite = 0;
#pragma omp parallel for schedule(static) reduction(+ : nonfinite) if (count > 1 << 16)
    for (int64_t first = 0; first < count; first += LJ_SHARD_ALIGN) {
        int here = 0;
        for (int i = 0; i < LJ_SHARD_ALIGN; i++)
            here += !(fabsf(x[first + i]) < limit);
        nonfinite += here;
        if (rounded && rounded[first / LJ_SHARD_ALIGN])
            lj_bf16_round(x + first);
    }
    return nonfinite;
}

void lj_gradsync_add(struct lj_gradsync *s, int bucket, int worker, int64_t lane)
{
    int64_t width = lj_bucket_width(s, bucket);
    float *leaf = s->leaf[worker];
    s->leaf[worker] = NULL;
    const bool *rounded = lj_wire_rounded(&s->wire, s->bounds[bucket]);
    s->nonfinite_here += count_and_round(leaf, width, s->limit, rounded);
    if (s->fast && s->forest.count == 1) {
        lj_add_in_parallel(s->forest.sum[0], leaf, width);
        release(s, leaf);
        return;
    }
    const struct lj_forest_sums sums = {
        .elements = width, .rounded = rounded, .release = release, .context = s};
    lj_forest_append(&s->forest, (struct lj_subtree){lane, 0}, leaf, &sums);
}

void lj_gradsync_take_up(struct lj_gradsync *s, int bucket)
{
    s->forest = s->aside[bucket];
}

void lj_gradsync_set_aside(struct lj_gradsync *s, int bucket)
{
    LJ_CHECK(s->forest.count <= s->aside_count, "%d sums to be set aside, room for %d",
             s->forest.count, s->aside_count);
    for (int i = 0; i < s->forest.count; i++) {
        float *place = s->aside_sums[i] + s->bounds[bucket];
        if (s->forest.sum[i] == place)
            continue;
        lj_copy_in_parallel(place, s->forest.sum[i], lj_bucket_width(s, bucket));
        release(s, s->forest.sum[i]);
        s->forest.sum[i] = place;
    }
    s->aside[bucket] = s->forest;
    s->forest.count = 0;
}

void lj_gradsync_clear_forest(struct lj_gradsync *s, int bucket)
{
    while (s->forest.count > 0)
        release(s, s->forest.sum[--s->forest.count]);
    if (bucket < s->by_wave)
        s->aside[bucket].count = 0;
}
