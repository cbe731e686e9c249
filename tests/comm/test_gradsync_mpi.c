/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction on several ranks, against a tree written here by recursion. A lane's leaf
 * depends on (step, lane, element) alone, so the expected totals are known to every rank; their
 * bits must not depend on the number of ranks, workers, threads, or on how buckets are filled. */
#include "comm/tree.h"
#include "mpi_case.h"

#include <math.h>
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MOST = 4, RANKS_MOST = 8, UNITS_MOST = 64, UNIT = LJ_SHARD_ALIGN };

struct layout {
    int64_t lanes;
    int buckets;
    int64_t units[BUCKETS_MOST + 1]; /* bounds in units of LJ_SHARD_ALIGN */
    int workers, by_wave, threads;
};

/* Powers of two and not, more and fewer lanes than ranks, parts of no element, a bucket that
 * threads share, none, some and all buckets by wave. */
static const struct layout layouts[] = {
    {6, 4, {0, 1, 3, 4, 9}, 1, 0, 1},  {6, 4, {0, 1, 3, 4, 9}, 2, 4, 2},
    {6, 4, {0, 1, 3, 4, 9}, 3, 2, 2},  {1, 1, {0, 2}, 1, 0, 1},
    {3, 2, {0, 17, 18}, 2, 1, 2},      {5, 2, {0, 17, 36}, 2, 0, 2},
    {13, 3, {0, 1, 2, 3}, 4, 1, 1},    {8, 2, {0, 5, 9}, 8, 2, 2},
    {40, 2, {0, 1, 2}, 3, 0, 1},       {16, 3, {0, 8, 9, 17}, 5, 3, 1},
    {40, 3, {0, 17, 18, 20}, 3, 2, 2}, {64, 2, {0, 2, 3}, 4, 2, 1},
};
enum { LAYOUTS = sizeof layouts / sizeof *layouts };

static struct lj_comm *world;

/* ---- leaves ------------------------------------------------------------------------------ */

/* One element of one lane's leaf; tests of nonfinite values replace it. */
typedef float (*leaf_value)(int64_t step, int64_t lane, int64_t element);

static uint64_t mixed(uint64_t x) /* splitmix64 */
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Magnitudes from 2^-20 to 2^20, either sign. */
static float wild(int64_t step, int64_t lane, int64_t element)
{
    uint64_t bits = mixed(mixed(mixed((uint64_t)element + 1) + (uint64_t)lane) + (uint64_t)step);
    float mantissa = 1 + (float)(bits >> 41) * 0x1p-23f;
    float sign = bits & 1 ? -1.0f : 1.0f;
    return sign * ldexpf(mantissa, (int)((bits >> 8) % 41) - 20);
}

/* ---- running the reduction --------------------------------------------------------------- */

struct run {
    const struct layout *layout;
    struct lj_comm *comm;
    struct lj_gradsync *sync;
    struct lj_ledger ledger;
    int64_t bounds[BUCKETS_MOST + 1], first_lane, end_lane;
    bool rounded[UNITS_MOST]; /* to bf16 */
    leaf_value value;
    int64_t step;
};

/* Manners of a run: MPI's own reductions; all weights on ranks without lanes, too; most units in
 * bf16. */
enum { FAST = 1, EVERYWHERE = 2, BF16 = 4 };

static void run_begin(struct run *r, struct lj_comm *comm, const struct layout *layout, int manner)
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
    int status = lj_gradsync_create(&r->sync, comm, &plan, &r->ledger);
    cr_assert_eq(status, LJ_OK, "%s", lj_error_text()); /* the same on every rank */
    lj_lanes_of_rank(layout->lanes, comm->size, comm->rank, &r->first_lane, &r->end_lane);
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

/* Returns the number of nonfinite elements. */
static int64_t run_step(struct run *r, int64_t step)
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

static float total(const struct run *r, int64_t element)
{
    int64_t width = 1;
    while (width < r->layout->lanes)
        width *= 2;
    return sum_of(r, element, 0, width);
}

/* My shard, element by element: the parameter's index that lies at shard[*at], -1 at the end. */
static int64_t shard_element(const struct lj_shard *shard, int64_t at)
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

static void assert_totals(const struct run *r)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    int64_t at = find_difference(r), element = at < 0 ? 0 : shard_element(shard, at);
    lj_all_assert(r->comm, at < 0, "step %lld, %lld lanes, element %lld is %a, expected %a",
                  (long long)r->step, (long long)r->layout->lanes, (long long)element,
                  (double)shard->gradient[at < 0 ? 0 : at], (double)total(r, element));
}

/* ---- totals ------------------------------------------------------------------------------ */

/* What this rank sends in a step: to each rank that owns a part of a bucket, its subtrees cut to
 * that part. Owners say themselves what they own. */
static void expect_sent(const struct run *r, int64_t *messages, int64_t *bytes)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    struct lj_forest plan;
    double mine[BUCKETS_MOST], all[BUCKETS_MOST * RANKS_MOST];
    lj_forest_plan(&plan, r->layout->lanes, r->first_lane, r->end_lane);
    for (int b = 0; b < shard->buckets; b++) {
        mine[b] = 0;
        for (int64_t u = shard->first[b] / UNIT, i = 0; i < shard->count[b]; u++, i += UNIT)
            mine[b] += r->rounded[u] ? 2 * UNIT : 4 * UNIT;
    }
    lj_all_gather_f64(r->comm, mine, shard->buckets, all);
    *messages = *bytes = 0;
    for (int i = 0; i < r->comm->size * shard->buckets; i++) {
        if (i / shard->buckets == r->comm->rank || all[i] <= 0 || plan.count == 0)
            continue;
        ++*messages;
        *bytes += (int64_t)all[i] * plan.count;
    }
}

static void assert_ledger(struct run *r, int steps)
{
    const struct lj_ledger_entry *e = lj_ledger_entry(&r->ledger, "gradient", "");
    const struct lj_ledger_entry *count = lj_ledger_entry(&r->ledger, "nonfinite", "");
    int64_t calls = r->comm->size == 1 ? 0 : steps * r->layout->buckets, messages, bytes;
    expect_sent(r, &messages, &bytes);
    lj_all_assert(r->comm,
                  e->calls == calls && e->bytes == steps * bytes && e->messages == steps * messages,
                  "%lld calls, %lld bytes, %lld messages; expected %lld, %lld and %lld",
                  (long long)e->calls, (long long)e->bytes, (long long)e->messages,
                  (long long)calls, (long long)(steps * bytes), (long long)(steps * messages));
    lj_all_assert(r->comm,
                  e->predicted_bytes_per_call == bytes / r->layout->buckets &&
                      e->predicted_bytes_per_step == bytes &&
                      e->predicted_messages_per_step == messages,
                  "predicted %lld bytes a call; a step %lld in %lld messages",
                  (long long)e->predicted_bytes_per_call, (long long)e->predicted_bytes_per_step,
                  (long long)e->predicted_messages_per_step);
    lj_all_assert(r->comm, e->exposed_seconds >= 0 && e->seconds >= 0 && e->seconds < 60,
                  "%g s, %g exposed", e->seconds, e->exposed_seconds);
    int64_t counts = r->comm->size == 1 ? 0 : steps;
    lj_all_assert(r->comm, count->calls == counts && count->bytes == 8 * counts,
                  "%lld sums of nonfinite elements", (long long)count->calls);
}

static void check_totals(int manner, int steps)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++) {
        struct run r;
        int64_t before = lj_open_blocks();
        run_begin(&r, world, &layouts[l], manner);
        int64_t calls = lj_memory_calls();
        for (int64_t step = 0; step < steps; step++) {
            int64_t nonfinite = run_step(&r, step);
            assert_totals(&r);
            lj_all_assert(world, nonfinite == 0, "%lld nonfinite", (long long)nonfinite);
        }
        lj_all_assert(world, lj_memory_calls() == calls, "a step allocates");
        assert_ledger(&r, steps);
        lj_gradsync_destroy(r.sync);
        lj_all_assert(world, lj_open_blocks() == before, "layout %d leaks", l);
    }
    lj_case_end(world);
}

Test(gradsync_mpi, totals_have_the_bits_of_the_tree, .timeout = 120)
{
    check_totals(0, 3);
}

Test(gradsync_mpi, totals_of_bf16_are_rounded_at_every_node, .timeout = 120)
{
    check_totals(BF16, 2);
}

/* ---- nonfinite values -------------------------------------------------------------------- */

static float with_nan(int64_t step, int64_t lane, int64_t element)
{
    return step == 1 && lane == 4 && element == 2 * UNIT + 7 ? NAN : wild(step, lane, element);
}

static float with_infinities(int64_t step, int64_t lane, int64_t element)
{
    if (step == 1 && element == 0 && lane < 2)
        return lane == 0 ? INFINITY : -INFINITY;
    return wild(step, lane, element);
}

/* Every lane is finite, and so are the sums of one or two; the total is not. */
static float with_overflow(int64_t step, int64_t lane, int64_t element)
{
    return step == 1 && element == 9 * UNIT - 1 ? 0x1p126f : wild(step, lane, element);
}

static void check_nonfinite(const struct layout *layout, int manner, leaf_value value,
                            int64_t expected)
{
    struct run r;
    run_begin(&r, world, layout, manner);
    r.value = value;
    for (int64_t step = 0; step < 3; step++) {
        int64_t nonfinite = run_step(&r, step), wanted = step == 1 ? expected : 0;
        lj_all_assert(world, nonfinite == wanted,
                      "step %lld, %d by wave: %lld nonfinite, expected %lld", (long long)step,
                      layout->by_wave, (long long)nonfinite, (long long)wanted);
    }
    lj_gradsync_destroy(r.sync);
}

Test(gradsync_mpi, nonfinite_values_are_known_to_everybody, .timeout = 120)
{
    static const int manners[] = {0, FAST, BF16};
    world = lj_case_begin();
    for (int l = 0; l < 3; l++) /* six lanes, in three manners */
        for (int m = 0; m < 3; m++) {
            check_nonfinite(&layouts[l], manners[m], with_nan, 1);
            check_nonfinite(&layouts[l], manners[m], with_infinities, 2);
            check_nonfinite(&layouts[l], manners[m], with_overflow, 6);
        }
    lj_case_end(world);
}

/* ---- shards: norm, gather, collect; reduce: fast ----------------------------------------- */

/* The norm of the same gradient by a reduction of one rank, and in long double. */
static void norm_alone(const struct run *r, double norm[2])
{
    struct run alone;
    struct lj_comm *self = NULL;
    MPI_Comm mpi_self = MPI_COMM_SELF;
    long double sum = 0;
    cr_assert_eq(lj_comm_create(&self, &mpi_self), LJ_OK);
    run_begin(&alone, self, r->layout, 0);
    run_step(&alone, r->step);
    norm[0] = lj_gradsync_norm(alone.sync);
    for (int64_t i = 0; i < r->bounds[r->layout->buckets]; i++) {
        long double x = (long double)total(&alone, i);
        sum += x * x;
    }
    norm[1] = (double)sqrtl(sum);
    lj_gradsync_destroy(alone.sync);
    lj_comm_destroy(self);
}

static void assert_norm(struct run *r)
{
    double norm = lj_gradsync_norm(r->sync), expected[2];
    if (lj_comm_is_root(r->comm))
        norm_alone(r, expected);
    lj_broadcast(r->comm, expected, sizeof expected, 0);
    lj_all_assert(r->comm, norm == expected[0], "norm %a, on one rank %a", norm, expected[0]);
    lj_all_assert(r->comm, fabs(norm / expected[1] - 1) < 1e-14, "norm %.17g, expected %.17g", norm,
                  expected[1]);
}

/* The parameter's index that lies at weights[at] of this rank. */
static int64_t weight_element(const struct lj_shard *shard, int64_t at)
{
    return shard->whole ? at : shard_element(shard, at);
}

/* Who keeps all weights: the root, ranks with lanes, and everybody where that was asked for. */
static void assert_whole(const struct run *r, bool everywhere)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    bool whole = everywhere || r->comm->rank == 0 || r->end_lane > r->first_lane;
    int64_t elements = whole ? r->bounds[r->layout->buckets] : shard->elements;
    lj_all_assert(r->comm, shard->whole == whole && shard->weights_elements == elements,
                  "whole %d, %lld weights", shard->whole, (long long)shard->weights_elements);
}

static float *take_weights(const struct lj_shard *shard)
{
    float *weights = lj_alloc_array(shard->weights_elements, sizeof *weights, "test");
    for (int64_t i = 0; i < shard->weights_elements; i++)
        weights[i] = -1;
    return weights;
}

static void assert_weights(const struct run *r, const float *weights, int64_t key)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    int64_t wrong = 0;
    for (int64_t i = 0; i < shard->weights_elements; i++)
        wrong += weights[i] != wild(0, key, weight_element(shard, i));
    lj_all_assert(r->comm, wrong == 0, "%lld weights are wrong", (long long)wrong);
}

/* All weights, of which my parts have their values. */
static float *take_my_weights(const struct lj_shard *shard)
{
    float *weights = take_weights(shard);
    for (int b = 0; b < shard->buckets; b++)
        for (int64_t i = 0; i < shard->count[b]; i++)
            weights[shard->weights_first[b] + i] = wild(0, 77, shard->first[b] + i);
    return weights;
}

static void assert_gather(struct run *r)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    float *weights = take_my_weights(shard);
    if (r->comm->size == 1)
        lj_all_assert(r->comm, shard->elements == r->bounds[r->layout->buckets],
                      "one rank owns everything");
    lj_gradsync_gather(r->sync, weights);
    assert_weights(r, weights, 77);
    lj_free(weights);
}

/* Weights arrive while other things are done, with progress alone; finishing books the time. */
static void assert_gather_meanwhile(struct run *r)
{
    const struct lj_ledger_entry *e = lj_ledger_entry(&r->ledger, "weights", "");
    float *weights = take_my_weights(lj_gradsync_shard(r->sync));
    double start = lj_now_s(), before = e->seconds;
    lj_gradsync_gather_finish(r->sync); /* nothing is under way */
    lj_gradsync_gather_start(r->sync, weights);
    while (lj_gradsync_gathering(r->sync) && lj_now_s() - start < 60)
        lj_gradsync_progress(r->sync);
    bool arrived = !lj_gradsync_gathering(r->sync);
    lj_all_assert(r->comm, arrived, "weights do not arrive");
    assert_weights(r, weights, 77);
    lj_gradsync_gather_finish(r->sync);
    lj_all_assert(r->comm,
                  e->seconds >= before && e->exposed_seconds <= e->seconds &&
                      e->seconds <= before + lj_now_s() - start,
                  "%g s, %g exposed", e->seconds, e->exposed_seconds);
    lj_free(weights);
}

/* A run that fails destroys the reduction while weights are under way. */
static void assert_destroy_meanwhile(struct run *r)
{
    float *weights = take_my_weights(lj_gradsync_shard(r->sync));
    lj_gradsync_gather_start(r->sync, weights);
    lj_gradsync_destroy(r->sync);
    r->sync = NULL;
    lj_free(weights);
}

/* From the root to the shards, in the root's own array, and from there to everybody. */
static void assert_scatter_weights(struct run *r)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    bool root = lj_comm_is_root(r->comm);
    float *weights = take_weights(shard);
    for (int64_t i = 0; root && i < shard->weights_elements; i++)
        weights[i] = wild(0, 55, i);
    lj_gradsync_scatter(r->sync, root ? weights : NULL, weights, shard->weights_first);
    lj_gradsync_gather(r->sync, weights);
    assert_weights(r, weights, 55);
    lj_free(weights);
}

static void assert_scatter_moment(struct run *r)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    bool root = lj_comm_is_root(r->comm);
    int64_t elements = r->bounds[r->layout->buckets], wrong = 0;
    float *mine = lj_alloc_array(shard->elements, sizeof *mine, "test");
    float *whole = root ? lj_alloc_array(elements, sizeof *whole, "test") : NULL;
    for (int64_t i = 0; root && i < elements; i++)
        whole[i] = wild(0, 33, i);
    lj_gradsync_scatter(r->sync, whole, mine, shard->shard_offset);
    for (int64_t i = 0; i < shard->elements; i++)
        wrong += mine[i] != wild(0, 33, shard_element(shard, i));
    lj_free(mine);
    lj_free(whole);
    lj_all_assert(r->comm, wrong == 0, "%lld elements are wrong", (long long)wrong);
}

static void assert_collect(struct run *r)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    bool root = lj_comm_is_root(r->comm);
    int64_t elements = r->bounds[r->layout->buckets], wrong = 0;
    float *mine = lj_alloc_array(shard->elements, sizeof *mine, "test");
    float *whole = root ? lj_alloc_array(elements, sizeof *whole, "test") : NULL;
    float *more = lj_alloc_array(shard->elements, sizeof *mine, "test");
    float *more_whole = root ? lj_alloc_array(elements, sizeof *whole, "test") : NULL;
    for (int64_t i = 0; i < shard->elements; i++) {
        mine[i] = wild(0, 99, shard_element(shard, i));
        more[i] = wild(1, 99, shard_element(shard, i));
    }
    lj_gradsync_collect_start(r->sync, mine, whole);
    lj_gradsync_collect_start(r->sync, more, more_whole);
    while (!lj_gradsync_collected(r->sync)) {
    }
    lj_gradsync_collect_finish(r->sync);
    for (int64_t i = 0; root && i < elements; i++)
        wrong += (whole[i] != wild(0, 99, i)) + (more_whole[i] != wild(1, 99, i));
    lj_free(mine);
    lj_free(whole);
    lj_free(more);
    lj_free(more_whole);
    lj_all_assert(r->comm, wrong == 0, "%lld elements are wrong", (long long)wrong);
}

/* Each part is sent to every other rank that keeps all weights. */
static void assert_ledger_of_gather(struct run *r, bool everywhere)
{
    const struct lj_ledger_entry *e = lj_ledger_entry(&r->ledger, "weights", "");
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    int64_t first, end, others = 0, parts = 0;
    for (int rank = 0; rank < r->comm->size; rank++) {
        lj_lanes_of_rank(r->layout->lanes, r->comm->size, rank, &first, &end);
        others += (everywhere || rank == 0 || end > first) && rank != r->comm->rank;
    }
    for (int b = 0; b < shard->buckets; b++)
        parts += shard->count[b] > 0;
    int64_t bytes = 4 * shard->elements * others, messages = parts * others;
    lj_all_assert(
        r->comm, e->bytes == bytes && e->messages == messages && e->calls == (r->comm->size > 1),
        "%lld bytes in %lld messages of %lld calls, expected %lld in %lld", (long long)e->bytes,
        (long long)e->messages, (long long)e->calls, (long long)bytes, (long long)messages);
    lj_ledger_restart(&r->ledger);
    lj_all_assert(r->comm, e->bytes == 0 && e->calls == 0 && e->messages == 0,
                  "the ledger began again");
    lj_all_assert(r->comm,
                  e->predicted_bytes_per_call == bytes && e->predicted_bytes_per_step == bytes &&
                      e->predicted_messages_per_step == messages,
                  "predicted %lld, %lld", (long long)e->predicted_bytes_per_call,
                  (long long)e->predicted_messages_per_step);
}

static void check_shards(const struct layout *layout, bool everywhere)
{
    struct run r;
    run_begin(&r, world, layout, everywhere ? EVERYWHERE : 0);
    assert_whole(&r, everywhere);
    assert_gather(&r); /* before any step, too */
    assert_ledger_of_gather(&r, everywhere);
    assert_scatter_weights(&r);
    for (int64_t step = 0; step < 2; step++) {
        run_step(&r, step);
        assert_norm(&r);
        assert_gather(&r);
        assert_gather_meanwhile(&r);
        assert_collect(&r);
        assert_scatter_moment(&r);
        assert_totals(&r); /* none of these touches the totals */
    }
    assert_destroy_meanwhile(&r);
}

Test(gradsync_mpi, shards_are_measured_and_gathered, .timeout = 120)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++)
        check_shards(&layouts[l], l % 2 == 0);
    check_shards(&layouts[3], true); /* one lane */
    lj_case_end(world);
}

/* Each total may be off by a rounding an addition, of sums of magnitudes. */
Test(gradsync_mpi, fast_agrees_to_rounding, .timeout = 120)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++) {
        struct run r;
        run_begin(&r, world, &layouts[l], FAST);
        for (int64_t step = 0; step < 2; step++) {
            const struct lj_shard *shard = lj_gradsync_shard(r.sync);
            int64_t wrong = 0, nonfinite = run_step(&r, step);
            for (int64_t i = 0; i < shard->elements; i++) {
                double sum = 0, magnitude = 0;
                for (int64_t lane = 0; lane < layouts[l].lanes; lane++) {
                    double x = (double)wild(step, lane, shard_element(shard, i));
                    sum += x;
                    magnitude += fabs(x);
                }
                wrong += !(fabs((double)shard->gradient[i] - sum) <=
                           (double)layouts[l].lanes * 0x1p-24 * magnitude);
            }
            lj_all_assert(world, wrong == 0 && nonfinite == 0,
                          "layout %d: %lld wrong, %lld nonfinite", l, (long long)wrong,
                          (long long)nonfinite);
        }
        lj_gradsync_destroy(r.sync);
    }
    lj_case_end(world);
}
