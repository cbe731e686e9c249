/* SPDX-License-Identifier: Apache-2.0 */
/* What the gradient reduction does with shards on several ranks: the norm, new weights that are
 * gathered, and whole arrays from and to the root. */
#include "gradsync_case.h"

#include <math.h>
#include <mpi.h>

static struct lj_comm *world;

/* The norm of the same gradient by a reduction of one rank, and in long double. */
static void norm_alone(const struct run *r, double norm[2])
{
    struct run alone;
    struct lj_comm *self = NULL;
    MPI_Comm mpi_self = MPI_COMM_SELF;
    long double sum = 0;
    cr_assert_eq(lj_comm_create(&self, &mpi_self), LJ_OK);
    run_begin(&alone, self, r->layout, 0, NULL);
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
    hesitate(r, 7);
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

static bool keeps_weights(const struct run *r, int rank, bool everywhere)
{
    int64_t first, end;
    lj_lanes_of_rank(r->layout->lanes, r->comm->size, rank, &first, &end);
    return everywhere || rank == 0 || end > first;
}

/* Other nodes of which a rank keeps all weights: those of the first such rank of each. */
static int count_keeping_nodes(const struct run *r, bool everywhere)
{
    int others = 0;
    for (int rank = 0; rank < r->comm->size; rank++) {
        bool first = keeps_weights(r, rank, everywhere) && r->node[rank] != r->node[r->comm->rank];
        for (int before = 0; before < rank; before++)
            first &= r->node[before] != r->node[rank] || !keeps_weights(r, before, everywhere);
        others += first;
    }
    return others;
}

/* Each part is sent to every other node of which a rank keeps all weights. */
static void assert_ledger_of_gather(struct run *r, bool everywhere)
{
    const struct lj_ledger_entry *e = lj_ledger_entry(&r->ledger, "weights", "");
    const struct lj_shard *shard = lj_gradsync_shard(r->sync);
    int64_t others = count_keeping_nodes(r, everywhere), parts = 0;
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

static void check_shards(const struct layout *layout, bool everywhere, const char *nodes)
{
    struct run r;
    run_begin(&r, world, layout, everywhere ? EVERYWHERE : 0, nodes);
    r.hesitates = nodes != NULL;
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

Test(gradsync_shards_mpi, shards_are_measured_and_gathered, .timeout = 120)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++)
        check_shards(&layouts[l], l % 2 == 0, NULL);
    check_shards(&layouts[3], true, NULL); /* one lane */
    lj_case_end(world);
}

/* Each layout on a map or two, and one lane, which leaves ranks without weights, on all. */
Test(gradsync_shards_mpi, nodes_gather_the_same_weights, .timeout = 120)
{
    world = lj_case_begin();
    for (int l = 0; l < LAYOUTS; l++)
        for (int n = 1; n < NODE_MAPS; n++)
            if ((l + n) % 4 == 0 || l == 3)
                check_shards(&layouts[l], l % 2 == 0, node_maps[n]);
    lj_case_end(world);
}
