/* SPDX-License-Identifier: Apache-2.0 */
/* The totals of the gradient reduction on several ranks: their bits, the messages that make them,
 * and values that cannot be summed. */
#include "gradsync_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct lj_comm *world;

/* ---- totals ------------------------------------------------------------------------------ */

/* Lanes of a rank, or of the ranks of its node. */
static bool has_lane(const struct run *r, int node, int64_t lane)
{
    for (int rank = 0; rank < r->comm->size; rank++) {
        int64_t first, end;
        lj_lanes_of_rank(r->layout->lanes, r->comm->size, rank, &first, &end);
        if (r->node[rank] == node && first <= lane && lane < end)
            return true;
    }
    return false;
}

/* Has the node all lanes of [start, start + width) that there are, and are there any? */
static bool fills(const struct run *r, int node, int64_t start, int64_t width)
{
    if (start >= r->layout->lanes)
        return false;
    for (int64_t lane = start; lane < start + width && lane < r->layout->lanes; lane++)
        if (!has_lane(r, node, lane))
            return false;
    return true;
}

/* The largest nodes of the tree that a node's lanes fill, from the root down. */
static int count_subtrees(const struct run *r, int node, int64_t start, int64_t width)
{
    if (fills(r, node, start, width))
        return 1;
    return width == 1 ? 0
                      : count_subtrees(r, node, start, width / 2) +
                            count_subtrees(r, node, start + width / 2, width / 2);
}

static int place_of(const struct run *r, int rank)
{
    int place = 0;
    for (int before = 0; before < rank; before++)
        place += r->node[before] == r->node[rank];
    return place;
}

static int ranks_of(const struct run *r, int node)
{
    int ranks = 0;
    for (int rank = 0; rank < r->comm->size; rank++)
        ranks += r->node[rank] == node;
    return ranks;
}

/* Does this rank send to an owner for all of its node? */
static bool speaks_to(const struct run *r, int owner)
{
    int me = r->comm->rank, node = r->node[me];
    return r->node[owner] != node && place_of(r, owner) % ranks_of(r, node) == place_of(r, me);
}

/* What this rank sends in a step: to each rank to which it speaks, and which owns a part of a
 * bucket, its node's subtrees cut to that part. Owners say themselves what they own. */
static void expect_sent(const struct run *r, int64_t *messages, int64_t *bytes)
{
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    double mine[BUCKETS_MOST], all[BUCKETS_MOST * RANKS_MOST];
    int subtrees = count_subtrees(r, r->node[r->comm->rank], 0, 1 << 10);
    for (int b = 0; b < shard->buckets; b++) {
        mine[b] = 0;
        for (int64_t u = shard->first[b] / UNIT, i = 0; i < shard->count[b]; u++, i += UNIT)
            mine[b] += r->rounded[u] ? 2 * UNIT : 4 * UNIT;
    }
    lj_all_gather_f64(r->comm, mine, shard->buckets, all);
    *messages = *bytes = 0;
    for (int i = 0; i < r->comm->size * shard->buckets; i++) {
        if (all[i] <= 0 || subtrees == 0 || !speaks_to(r, i / shard->buckets))
            continue;
        ++*messages;
        *bytes += (int64_t)all[i] * subtrees;
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

/* A few steps against the tree, with the messages that they should send. */
static void check_totals(const struct layout *layout, int manner, const char *nodes, int steps)
{
    struct run r;
    int64_t before = lj_open_blocks();
    run_begin(&r, world, layout, manner, nodes);
    r.hesitates = nodes != NULL;
    int64_t calls = lj_memory_calls();
    for (int64_t step = 0; step < steps; step++) {
        int64_t nonfinite = run_step(&r, step);
        assert_totals(&r);
        lj_all_assert(world, nonfinite == 0, "%lld nonfinite", (long long)nonfinite);
    }
    lj_all_assert(world, lj_memory_calls() == calls, "a step allocates");
    assert_ledger(&r, steps);
    lj_gradsync_destroy(r.sync);
    lj_all_assert(world, lj_open_blocks() == before, "%lld lanes: memory is left open",
                  (long long)layout->lanes);
}

Test(gradsync_mpi, totals_have_the_bits_of_the_tree, .timeout = 120)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++)
        check_totals(&layouts[l], 0, NULL, 3);
    lj_case_end(world);
}

Test(gradsync_mpi, totals_of_bf16_are_rounded_at_every_node, .timeout = 120)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++)
        check_totals(&layouts[l], BF16, NULL, 3);
    lj_case_end(world);
}

/* Each layout on every other map, half of the layouts in bf16. */
Test(gradsync_mpi, nodes_exchange_the_same_bits, .timeout = 120)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++)
        for (int n = 1; n < NODE_MAPS; n++)
            if ((l + n) % 2 == 0)
                check_totals(&layouts[l], l % 4 < 2 ? BF16 : 0, node_maps[n], 3);
    lj_case_end(world);
}

/* Where a node has no memory to share, all ranks exchange as if alone. */
Test(gradsync_mpi, without_common_memory_ranks_exchange, .timeout = 60)
{
    struct run r;
    world = lj_case_begin();
    setenv("LJ_FAULT", "shared:0:-1", 1);
    run_begin(&r, world, &layouts[9], 0, "0 0 1 1");
    unsetenv("LJ_FAULT");
    lj_all_assert(world, lj_gradsync_common_bytes(r.sync) == 0, "there is a common memory");
    for (int rank = 0; rank < world->size; rank++)
        r.node[rank] = rank;
    run_step(&r, 0);
    assert_totals(&r);
    assert_ledger(&r, 1);
    lj_gradsync_destroy(r.sync);
    lj_case_end(world);
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

static void check_nonfinite(const struct layout *layout, int manner, const char *nodes,
                            leaf_value value, int64_t expected)
{
    struct run r;
    run_begin(&r, world, layout, manner, nodes);
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
            const char *nodes = l == 1 ? "0 0 1 1" : NULL;
            check_nonfinite(&layouts[l], manners[m], nodes, with_nan, 1);
            check_nonfinite(&layouts[l], manners[m], nodes, with_infinities, 2);
            check_nonfinite(&layouts[l], manners[m], nodes, with_overflow, 6);
        }
    lj_case_end(world);
}

/* ---- reduce: fast ------------------------------------------------------------------------ */

/* Each total may be off by a rounding an addition, of sums of magnitudes. */
Test(gradsync_mpi, fast_agrees_to_rounding, .timeout = 120)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++) {
        struct run r;
        run_begin(&r, world, &layouts[l], FAST, NULL);
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
