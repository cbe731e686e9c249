/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: where lanes write their gradients, and the forest that this rank's lanes
 * grow into. A buffer is free, a worker's leaf, or a sum of the forest. */
#include "comm/gradsync/gradsync.h"

#include <math.h>

static int most_sums(const struct lj_gradsync *s)
{
    struct lj_forest plan;
    lj_forest_plan(&plan, s->lanes, s->first_lane, s->end_lane);
    return s->fast ? 1 : plan.most;
}

int lj_gradsync_allocate_leaves(struct lj_gradsync *s)
{
    int64_t width = lj_max_i64(s->bounds[s->joint], lj_widest_bucket(s));
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
    return LJ_OK;
}

void lj_gradsync_free_leaves(struct lj_gradsync *s)
{
    for (int i = 0; s->buffers && i < s->buffer_count; i++)
        lj_free(s->buffers[i]);
    lj_free(s->buffers);
    lj_free(s->free_buffers);
    lj_free(s->leaf);
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

/* Elements whose magnitude is at or above the limit, or that are not a number. */
static int64_t count_nonfinite(const float *x, int64_t count, float limit)
{
    int64_t nonfinite = 0;
#pragma omp parallel for schedule(static) reduction(+ : nonfinite) if (count > 1 << 16)
    for (int64_t first = 0; first < count; first += LJ_SHARD_ALIGN) {
        int here = 0;
        for (int i = 0; i < LJ_SHARD_ALIGN; i++)
            here += !(fabsf(x[first + i]) < limit);
        nonfinite += here;
    }
    return nonfinite;
}

void lj_gradsync_add(struct lj_gradsync *s, int bucket, int worker, int64_t lane)
{
    int64_t width = lj_leaf_width(s, bucket);
    float *leaf = s->leaf[worker];
    s->leaf[worker] = NULL;
    s->nonfinite_here += count_nonfinite(leaf, width, s->limit);
    if (s->fast && s->forest.count == 1) {
        lj_add_in_parallel(s->forest.sum[0], leaf, width);
        release(s, leaf);
        return;
    }
    const struct lj_forest_sums sums = {.elements = width, .release = release, .context = s};
    lj_forest_append(&s->forest, (struct lj_subtree){lane, 0}, leaf, &sums);
}

void lj_gradsync_clear_forest(struct lj_gradsync *s)
{
    while (s->forest.count > 0)
        release(s, s->forest.sum[--s->forest.count]);
}
