/* SPDX-License-Identifier: Apache-2.0 */
/* Reducing gradients and gathering weights, exact, exact in bf16 and fast, among ranks, and exact
 * among nodes whose ranks share memory (LJ_NODES="0 0 1 1" makes nodes of one machine): 4 lanes or
 * one a rank, 6 million parameters in buckets of 4 MiB. The result is the rate of the gradients'
 * bytes that the lanes of one rank hand in, compared with memcpy of as many bytes. */
#include "bench.h"

#include "comm/comm.h"

#include <stdio.h>
#include <string.h>

enum { LANES_LEAST = 4, BUCKETS = 6, UNITS = BUCKETS * 256 };

enum manner { EXACT, BF16, FAST, NODES, NODES_BF16, MANNERS };
static const char *const word[] = {"exact", "exact, bf16", "fast", "exact, nodes",
                                   "exact, nodes, bf16"};

struct gradsync_case {
    struct lj_comm *comm;
    struct lj_gradsync *sync;
    int64_t bounds[BUCKETS + 1], lanes, first_lane, end_lane;
    bool rounded[UNITS];
    float *gradient, *weights; /* (elements) */
};

static void reduce_and_gather(void *data)
{
    struct gradsync_case *c = data;
    int64_t nonfinite;
    for (int b = BUCKETS - 1; b >= 0; b--) {
        size_t bytes = (size_t)(c->bounds[b + 1] - c->bounds[b]) * sizeof(float);
        for (int64_t lane = c->first_lane; lane < c->end_lane; lane++) {
            lj_gradsync_take_leaves(c->sync, 1);
            memcpy(lj_gradsync_leaf(c->sync, 0), c->gradient + c->bounds[b], bytes);
            lj_gradsync_add(c->sync, b, 0, lane);
        }
        lj_gradsync_start(c->sync, b);
    }
    lj_gradsync_finish(c->sync, &nonfinite);
    lj_gradsync_gather(c->sync, c->weights);
}

static void copy(void *data)
{
    struct gradsync_case *c = data;
    for (int64_t lane = c->first_lane; lane < c->end_lane; lane++)
        memcpy(c->weights, c->gradient, (size_t)c->bounds[BUCKETS] * sizeof(float));
}

/* Measures repetitions that all ranks begin together, as many on every rank. */
static void run_together(struct gradsync_case *c, struct bench_sample *sample)
{
    reduce_and_gather(c);
    for (int64_t i = 0; i < bench_size(30, 1); i++) {
        lj_barrier(c->comm);
        struct bench_clock before = bench_now();
        reduce_and_gather(c);
        bench_add(sample, before, 0);
    }
}

static void measure(struct gradsync_case *c, enum manner manner)
{
    struct bench_sample *sample = lj_alloc(sizeof *sample, "bench"),
                        *copies = lj_alloc(sizeof *copies, "bench");
    bool bf16 = manner == BF16 || manner == NODES_BF16;
    struct lj_gradsync_plan plan = {.lanes = c->lanes,
                                    .buckets = BUCKETS,
                                    .bounds = c->bounds,
                                    .workers = 1,
                                    .fast = manner == FAST,
                                    .rounded = bf16 ? c->rounded : NULL,
                                    .exchange = manner >= NODES ? LJ_COMM_EXCHANGE_NODES
                                                                : LJ_COMM_EXCHANGE_RANKS};
    struct lj_ledger ledger = {0};
    char shape[64];
    double bytes =
        (double)((c->end_lane - c->first_lane) * c->bounds[BUCKETS]) * (double)sizeof(float);
    bench_expect(lj_gradsync_create(&c->sync, c->comm, &plan, &ledger));
    sample->by_wall = copies->by_wall = true;
    run_together(c, sample);
    bench_run(copies, 1, copy, c);
    snprintf(shape, sizeof shape, "%lld lanes, %lld parameters, %s", (long long)c->lanes,
             (long long)c->bounds[BUCKETS], word[manner]);
    struct bench_line line = {.name = "gradsync",
                              .shape = shape,
                              .unit = "GB/s",
                              .ranks = c->comm->size,
                              .reference = bench_rate(copies, 1e-9 * bytes).median,
                              .against = "memcpy"};
    if (lj_comm_is_root(c->comm))
        bench_print(&line, bench_rate(sample, 1e-9 * bytes));
    lj_gradsync_destroy(c->sync);
    lj_free(sample);
    lj_free(copies);
}

int main(void)
{
    struct gradsync_case c = {0};
    bench_expect(lj_comm_start(&c.comm));
    c.lanes = lj_max_i64(LANES_LEAST, c.comm->size);
    lj_lanes_of_rank(c.lanes, c.comm->size, c.comm->rank, &c.first_lane, &c.end_lane);
    for (int b = 0; b <= BUCKETS; b++)
        c.bounds[b] = b * bench_size(256, 1) * LJ_SHARD_ALIGN;
    c.gradient = lj_alloc_array(c.bounds[BUCKETS], sizeof(float), "bench");
    c.weights = lj_alloc_array(c.bounds[BUCKETS], sizeof(float), "bench");
    bench_fill(c.gradient, c.bounds[BUCKETS]);
    for (int u = 0; u < UNITS; u++)
        c.rounded[u] = true;
    for (int manner = EXACT; manner < (c.comm->size > 1 ? MANNERS : NODES); manner++)
        measure(&c, (enum manner)manner);
    lj_free(c.gradient);
    lj_free(c.weights);
    lj_comm_finish(c.comm);
    return 0;
}
