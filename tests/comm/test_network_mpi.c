/* SPDX-License-Identifier: Apache-2.0 */
/* The network on several ranks: a sweep ends in time with the same samples on every rank, also when
 * a rank fails; and the messages that the model counts are those that a step sends. */
#include "mpi_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT = LJ_SHARD_ALIGN };

/* ---- sweep ------------------------------------------------------------------------------- */

static int count_of(const struct lj_network *n, enum lj_pattern pattern, enum lj_level level)
{
    int count = 0;
    for (int i = 0; i < n->count; i++)
        count += n->sample[i].pattern == pattern && n->sample[i].level == level;
    return count;
}

static void assert_samples(struct lj_comm *comm, const struct lj_network *n)
{
    double mine[LJ_NETWORK_SAMPLES_MAX] = {0}, most[LJ_NETWORK_SAMPLES_MAX];
    for (int i = 0; i < n->count; i++)
        mine[i] = n->sample[i].seconds;
    memcpy(most, mine, sizeof most);
    lj_all_max_f64(comm, most, LJ_NETWORK_SAMPLES_MAX);
    lj_all_assert(comm, memcmp(mine, most, sizeof most) == 0, "ranks know different times");
    for (int i = 0; i < n->count; i++) {
        const struct lj_network_sample *s = &n->sample[i];
        lj_all_assert(comm,
                      s->seconds > 0 && s->low <= s->seconds && s->seconds <= s->high &&
                          s->repeats >= 3 && s->ranks >= 2 && s->bytes > 0,
                      "sample %d: %s, %d ranks, %lld bytes, %g of %g to %g s", i,
                      lj_pattern_word(s->pattern), s->ranks, (long long)s->bytes, s->seconds,
                      s->low, s->high);
    }
}

static void measure(struct lj_comm *comm, struct lj_network *n)
{
    double start = lj_now_s();
    int status = lj_network_measure(comm, 0.5, n);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(comm, lj_now_s() - start < 40, "%g s", lj_now_s() - start);
    assert_samples(comm, n);
}

Test(network_mpi, links_of_a_node_are_measured, .timeout = 120)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_network n;
    struct lj_network_model model;
    int64_t open = lj_open_blocks();
    measure(comm, &n);
    lj_all_assert(comm,
                  n.ranks == comm->size && n.nodes == 1 && n.per_node == comm->size && n.blocks,
                  "%d nodes, %d ranks on one", n.nodes, n.per_node);
    for (int p = 0; p < LJ_PATTERNS; p++)
        lj_all_assert(comm,
                      (count_of(&n, (enum lj_pattern)p, LJ_LEVEL_NODE) > 0) == (comm->size > 1) &&
                          count_of(&n, (enum lj_pattern)p, LJ_LEVEL_NETWORK) == 0,
                      "samples of %s", lj_pattern_word((enum lj_pattern)p));
    lj_network_fit(&n, &model);
    double pair_s = n.count > 0 ? lj_network_predict(&model, &n.sample[0]) : 1;
    lj_all_assert(comm, model.samples == n.count && pair_s > 0, "%d samples, %g s for a message",
                  model.samples, pair_s);
    lj_all_assert(comm, lj_open_blocks() == open, "memory is left open");
    lj_case_end(comm);
}

/* Ranks are dealt out to nodes of two: all levels are measured, an odd node included. */
Test(network_mpi, links_between_nodes_are_measured, .timeout = 120)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_network n;
    struct lj_network_model model;
    setenv("LJ_NODES", "0 0 1 1", 1);
    measure(comm, &n);
    lj_all_assert(comm, n.nodes == (comm->size + 1) / 2 && n.per_node == 2, "%d nodes of %d ranks",
                  n.nodes, n.per_node);
    lj_all_assert(comm, n.blocks == (comm->size % 2 == 0), "%d ranks in blocks", comm->size);
    for (int p = 0; p < LJ_PATTERNS; p++)
        for (int level = 0; level < LJ_LEVELS; level++)
            lj_all_assert(comm, count_of(&n, (enum lj_pattern)p, (enum lj_level)level) > 0,
                          "no samples of %s", lj_pattern_word((enum lj_pattern)p));
    lj_network_fit(&n, &model);
    lj_all_assert(comm, model.link[0].measured && model.link[1].measured, "a level is missing");
    lj_case_end(comm);
}

Test(network_mpi, a_failing_rank_ends_the_sweep_everywhere, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    struct lj_network n;
    char fault[32];
    snprintf(fault, sizeof fault, "network:%d:-1", comm->size - 1);
    setenv("LJ_FAULT", fault, 1);
    int status = lj_network_measure(comm, 0.5, &n);
    lj_all_assert(comm, status == LJ_ERR_RESOURCE, "status %d", status);
    lj_case_end(comm);
}

/* ---- messages ---------------------------------------------------------------------------- */

static void run_step(struct lj_gradsync *sync, struct lj_comm *comm,
                     const struct lj_gradsync_plan *plan, float *weights)
{
    int64_t first, end, nonfinite;
    lj_lanes_of_rank(plan->lanes, comm->size, comm->rank, &first, &end);
    for (int b = plan->buckets - 1; b >= 0; b--) {
        for (int64_t lane = first; lane < end; lane++) {
            lj_gradsync_take_leaves(sync, 1);
            float *leaf = lj_gradsync_leaf(sync, 0);
            for (int64_t i = 0; i < plan->bounds[b + 1] - plan->bounds[b]; i++)
                leaf[i] = 1;
            lj_gradsync_add(sync, b, 0, lane);
        }
        lj_gradsync_start(sync, b);
    }
    lj_gradsync_finish(sync, &nonfinite);
    lj_gradsync_gather(sync, weights);
}

typedef struct lj_traffic (*traffic_of)(const struct lj_traffic_table *table, int bucket, int rank);

static void assert_line(struct lj_comm *comm, const struct lj_traffic_table *table, int buckets,
                        traffic_of of, const struct lj_ledger_entry *e)
{
    int64_t messages = 0, bytes = 0;
    for (int b = 0; b < buckets; b++) {
        struct lj_traffic t = of(table, b, comm->rank);
        messages += t.sent[0] + t.sent[1];
        bytes += t.sent_bytes[0] + t.sent_bytes[1];
    }
    lj_all_assert(comm, messages == e->messages && bytes == e->bytes,
                  "%s: %lld messages with %lld bytes, counted as %lld with %lld", e->name,
                  (long long)e->messages, (long long)e->bytes, (long long)messages,
                  (long long)bytes);
    lj_all_assert(
        comm, messages == e->predicted_messages_per_step && bytes == e->predicted_bytes_per_step,
        "%s: the ledger predicts %lld messages with %lld bytes", e->name,
        (long long)e->predicted_messages_per_step, (long long)e->predicted_bytes_per_step);
}

static void check_messages(struct lj_comm *comm, const struct lj_gradsync_plan *plan)
{
    struct lj_ledger ledger = {0};
    struct lj_gradsync *sync = NULL;
    struct lj_traffic_table *table = NULL;
    int status = lj_gradsync_create(&sync, comm, plan, &ledger);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    float *weights = calloc((size_t)lj_gradsync_shard(sync)->weights_elements + 1, sizeof *weights);
    run_step(sync, comm, plan, weights);
    status = lj_traffic_create(&table, plan, (struct lj_placement){comm->size, 2});
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    assert_line(comm, table, plan->buckets, lj_traffic_gradient,
                lj_ledger_entry(&ledger, "gradient", ""));
    assert_line(comm, table, plan->buckets, lj_traffic_weights,
                lj_ledger_entry(&ledger, "weights", ""));
    free(weights);
    lj_traffic_destroy(table);
    lj_gradsync_destroy(sync);
}

Test(network_mpi, the_model_counts_what_a_step_sends, .timeout = 120)
{
    static const int64_t bounds[] = {0, UNIT, 4 * UNIT, 6 * UNIT, 23 * UNIT};
    static const int64_t lanes[] = {1, 2, 6, 8, 13};
    struct lj_comm *comm = lj_case_begin();
    bool rounded[23];
    for (int u = 0; u < 23; u++)
        rounded[u] = u % 4 != 1;
    setenv("LJ_NODES", "0 0 1 1 2 2", 1);
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++)
        for (int manner = 0; manner < 8; manner++)
            check_messages(
                comm, &(struct lj_gradsync_plan){.lanes = lanes[i],
                                                 .buckets = 4,
                                                 .bounds = bounds,
                                                 .workers = 1,
                                                 .rounded = manner & 1 ? rounded : NULL,
                                                 .exchange = manner & 2 ? LJ_COMM_EXCHANGE_NODES
                                                                        : LJ_COMM_EXCHANGE_RANKS,
                                                 .whole_everywhere = manner & 4});
    lj_case_end(comm);
}
