/* SPDX-License-Identifier: Apache-2.0 */
#include "gradsync_case.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Powers of two and not, more and fewer lanes than ranks, parts of no element, a bucket that
 * threads share, none, some and all buckets by wave. */
const struct layout layouts[LAYOUTS] = {
    {6, 4, {0, 1, 3, 4, 9}, 1, 0, 1},  {6, 4, {0, 1, 3, 4, 9}, 2, 4, 2},
    {6, 4, {0, 1, 3, 4, 9}, 3, 2, 2},  {1, 1, {0, 2}, 1, 0, 1},
    {3, 2, {0, 17, 18}, 2, 1, 2},      {5, 2, {0, 17, 36}, 2, 0, 2},
    {13, 3, {0, 1, 2, 3}, 4, 1, 1},    {8, 2, {0, 5, 9}, 8, 2, 2},
    {40, 2, {0, 1, 2}, 3, 0, 1},       {16, 3, {0, 8, 9, 17}, 5, 3, 1},
    {40, 3, {0, 17, 18, 20}, 3, 2, 2}, {64, 2, {0, 2, 3}, 4, 2, 1},
};

/* What LJ_NODES makes of the ranks: one node, blocks, by turns, nodes of one rank and of several.
 * Ranks exchange where there is no text. */
const char *const node_maps[NODE_MAPS] = {NULL, "0", "0 0 1 1", "0 1", "0 1 1 0 2", "0 0 0 1"};

/* ---- leaves ------------------------------------------------------------------------------ */

static uint64_t mixed(uint64_t x) /* splitmix64 */
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

float wild(int64_t step, int64_t lane, int64_t element)
{
    uint64_t bits = mixed(mixed(mixed((uint64_t)element + 1) + (uint64_t)lane) + (uint64_t)step);
    float mantissa = 1 + (float)(bits >> 41) * 0x1p-23f;
    float sign = bits & 1 ? -1.0f : 1.0f;
    return sign * ldexpf(mantissa, (int)((bits >> 8) % 41) - 20);
}

/* ---- running the reduction --------------------------------------------------------------- */

/* Takes ranks for those of several nodes, and says which are on which. */
static void pretend_nodes(struct run *r, struct lj_gradsync_plan *plan, const char *nodes)
{
    int count = nodes ? ((int)strlen(nodes) + 1) / 2 : 0; /* numbers of one digit */
    for (int rank = 0; rank < r->comm->size; rank++)
        r->node[rank] = nodes ? nodes[2 * (rank % count)] : rank;
    plan->exchange = nodes ? LJ_COMM_EXCHANGE_NODES : LJ_COMM_EXCHANGE_RANKS;
    if (nodes)
        setenv("LJ_NODES", nodes, 1);
}

void run_begin(struct run *r, struct lj_comm *comm, const struct layout *layout, int manner,
               const char *nodes)
{
    *r = (struct run){.layout = layout, .comm = comm, .value = wild};
    for (int b = 0; b <= layout->buckets; b++)
        r->bounds[b] = layout->units[b] * UNIT;
    for (int u = 0; u < UNITS_MOST; u++)
        r->rounded[u] = (manner & BF16) && u % 4 != 3;
    struct lj_gradsync_plan plan = {.lanes = layout->lanes,
                                    .buckets = layout->buckets,
                                    .bounds = r->bounds,
                                    .workers = layout->workers,
                                    .by_wave = layout->by_wave,
                                    .fast = manner & FAST,
                                    .rounded = manner & BF16 ? r->rounded : NULL,
                                    .whole_everywhere = manner & EVERYWHERE};
    omp_set_num_threads(layout->threads);
    pretend_nodes(r, &plan, nodes);
    int status = lj_gradsync_create(&r->sync, comm, &plan, &r->ledger);
    cr_assert_eq(status, LJ_OK, "%s", lj_error_text()); /* the same on every rank */
    unsetenv("LJ_NODES");
    lj_lanes_of_rank(layout->lanes, comm->size, comm->rank, &r->first_lane, &r->end_lane);
}

void hesitate(const struct run *r, int64_t occasion)
{
    uint64_t bits = mixed((uint64_t)(occasion * RANKS_MOST + r->comm->rank + 1));
    if (r->hesitates && bits % 4 == 0)
        usleep((useconds_t)(bits >> 8) % 300);
}

static void fill_leaf(struct run *r, int bucket, int worker, int64_t lane)
{
    float *leaf = lj_gradsync_leaf(r->sync, worker);
    for (int64_t i = r->bounds[bucket]; i < r->bounds[bucket + 1]; i++)
        leaf[i - r->bounds[bucket]] = r->value(r->step, lane, i);
}

static void fill_wave(struct run *r, int bucket, int64_t first)
{
    int count = (int)lj_min_i64(r->layout->workers, r->end_lane - first);
    lj_gradsync_take_leaves(r->sync, count);
    for (int worker = count - 1; worker >= 0; worker--) /* in any order */
        fill_leaf(r, bucket, worker, first + worker);
    for (int worker = 0; worker < count; worker++)
        lj_gradsync_add(r->sync, bucket, worker, first + worker);
    hesitate(r, r->step * 100 + bucket);
    lj_gradsync_progress(r->sync);
}

static void fill_bucket(struct run *r, int bucket)
{
    for (int64_t lane = r->first_lane; lane < r->end_lane; lane += r->layout->workers)
        fill_wave(r, bucket, lane);
    lj_gradsync_start(r->sync, bucket);
}

/* Buckets [0, by_wave): each wave fills all of them. Ranks without lanes start them, too. */
static void fill_by_wave(struct run *r)
{
    int64_t lane = r->first_lane;
    do {
        for (int b = r->layout->by_wave - 1; b >= 0; b--) {
            lj_gradsync_take_up(r->sync, b);
            fill_wave(r, b, lane);
            bool last = lane + r->layout->workers >= r->end_lane;
            (last ? lj_gradsync_start : lj_gradsync_set_aside)(r->sync, b);
        }
    } while ((lane += r->layout->workers) < r->end_lane);
}

int64_t run_step(struct run *r, int64_t step)
{
    int64_t nonfinite = -1;
    r->step = step;
    for (int b = r->layout->buckets - 1; b >= r->layout->by_wave; b--)
        fill_bucket(r, b);
    fill_by_wave(r);
    lj_gradsync_finish(r->sync, &nonfinite);
    return nonfinite;
}

/* A leaf or sum: where it is rounded, to 8 significant bits, ties to even. Numbers here are far
 * from the least and the largest of bf16. */
static float node(const struct run *r, int64_t element, float x)
{
    int exponent;
    if (!r->rounded[element / UNIT])
        return x;
    frexpf(x, &exponent);
    return ldexpf(rintf(ldexpf(x, 8 - exponent)), exponent - 8);
}

/* Sum over lanes [start, start + width) of the batch: halves first, absent halves left out. */
static float sum_of(const struct run *r, int64_t element, int64_t start, int64_t width)
{
    if (width == 1)
        return node(r, element, r->value(r->step, start, element));
    float left = sum_of(r, element, start, width / 2);
    if (start + width / 2 >= r->layout->lanes)
        return left;
    return node(r, element, left + sum_of(r, element, start + width / 2, width / 2));
}

float total(const struct run *r, int64_t element)
{
    int64_t width = 1;
    while (width < r->layout->lanes)
        width *= 2;
    return sum_of(r, element, 0, width);
}

int64_t shard_element(const struct lj_shard *shard, int64_t at)
{
    for (int b = 0; b < shard->buckets; b++)
        if (at < shard->shard_offset[b] + shard->count[b])
            return shard->first[b] + at - shard->shard_offset[b];
    return -1;
}

/* Place in my shard where a total differs from the tree; -1: none. */
static int64_t find_difference(const struct run *r)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    for (int64_t i = 0; i < shard->elements; i++) {
        float expected = total(r, shard_element(shard, i));
        if (memcmp(&expected, &shard->gradient[i], sizeof expected) != 0)
            return i;
    }
    return -1;
}

void assert_totals(const struct run *r)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    int64_t at = find_difference(r), element = at < 0 ? 0 : shard_element(shard, at);
    lj_all_assert(r->comm, at < 0, "step %lld, %lld lanes, element %lld is %a, expected %a",
                  (long long)r->step, (long long)r->layout->lanes, (long long)element,
                  (double)shard->gradient[at < 0 ? 0 : at], (double)total(r, element));
}
