/* SPDX-License-Identifier: Apache-2.0 */
/* The model of the network against what communication takes: the step's allreduce of 2 MiB, and
 * buckets of gradients and new weights of 6 million parameters, without arithmetic that could hide
 * them. The result is measured, the reference is what the model says, so their ratio should be near
 * 1. Packing and adding, which the model takes for arithmetic, are in what is measured. */
#include "bench.h"

#include "comm/comm.h"

#include <stdio.h>

enum { BUCKETS = 6, MESSAGE_BYTES = 2 << 20 };

struct network_case {
    struct lj_comm *comm;
    struct lj_network network;
    struct lj_network_model model;
    struct lj_gradsync *sync;
    int64_t bounds[BUCKETS + 1];
    float *weights;   /* (elements) */
    int64_t *message; /* (MESSAGE_BYTES / 8) */
};

static void print(const struct network_case *c, const char *shape, struct bench_sample *sample,
                  double predicted_s)
{
    struct bench_line line = {.name = "network",
                              .shape = shape,
                              .unit = "ms",
                              .ranks = c->comm->size,
                              .reference = 1e3 * predicted_s,
                              .against = "the model",
                              .target = 1.15};
    if (lj_comm_is_root(c->comm))
        bench_print(&line, bench_time(sample, 1e3));
}

static void measure_sum(struct network_case *c, struct bench_sample *sample)
{
    for (int64_t i = -1; i < bench_size(50, 1); i++) {
        lj_barrier(c->comm);
        struct bench_clock before = bench_now();
        lj_sum_exact(c->comm, NULL, c->message, MESSAGE_BYTES / (int64_t)sizeof *c->message);
        if (i >= 0)
            bench_add(sample, before, 0);
    }
    const struct lj_placement place = {c->comm->size, c->network.per_node};
    print(c, "allreduce of 2 MiB", sample, lj_network_sum_s(&c->model, place, MESSAGE_BYTES));
}

/* A step of the reduction with empty leaves. Returns the seconds that filling sums took. */
static double reduce_and_gather(struct network_case *c, int64_t lanes)
{
    int64_t nonfinite, first, end;
    double outside_s = 0;
    lj_lanes_of_rank(lanes, c->comm->size, c->comm->rank, &first, &end);
    for (int b = BUCKETS - 1; b >= 0; b--) {
        double before_s = lj_now_s();
        for (int64_t lane = first; lane < end; lane++) {
            lj_gradsync_take_leaves(c->sync, 1);
            lj_gradsync_add(c->sync, b, 0, lane);
        }
        outside_s += lj_now_s() - before_s;
        lj_gradsync_start(c->sync, b);
    }
    lj_gradsync_finish(c->sync, &nonfinite);
    lj_gradsync_gather(c->sync, c->weights);
    return outside_s;
}

/* A lane on each rank. */
static void measure_reduction(struct network_case *c, struct bench_sample *sample)
{
    struct lj_ledger ledger = {0};
    struct lj_step_cost cost;
    struct lj_gradsync_plan plan = {
        .lanes = c->comm->size, .buckets = BUCKETS, .bounds = c->bounds, .workers = 1};
    const struct lj_network_step step = {
        .plan = &plan, .place = {c->comm->size, c->network.per_node}, .ledger = &ledger};
    bench_expect(lj_gradsync_create(&c->sync, c->comm, &plan, &ledger));
    for (int64_t i = -1; i < bench_size(30, 1); i++) {
        lj_barrier(c->comm);
        struct bench_clock before = bench_now();
        double outside_s = reduce_and_gather(c, plan.lanes);
        if (i >= 0)
            bench_add(sample, before, outside_s);
    }
    bench_expect(lj_network_cost(&c->model, &step, &cost));
    print(c, "gradients and weights of 6 M parameters", sample, cost.exposed_s);
    lj_gradsync_destroy(c->sync);
}

int main(void)
{
    static struct network_case c; /* large */
    static struct bench_sample sums, steps;
    sums.by_wall = steps.by_wall = true;
    bench_expect(lj_comm_start(&c.comm));
    for (int b = 0; b <= BUCKETS; b++)
        c.bounds[b] = b * bench_size(256, 1) * LJ_SHARD_ALIGN;
    c.weights = lj_alloc_array(c.bounds[BUCKETS], sizeof *c.weights, "bench");
    c.message = lj_alloc(MESSAGE_BYTES, "bench");
    bench_expect(lj_network_measure(c.comm, bench_short() ? 0.1 : 2, &c.network));
    lj_network_fit(&c.network, &c.model);
    measure_sum(&c, &sums);
    measure_reduction(&c, &steps);
    lj_free(c.weights);
    lj_free(c.message);
    lj_comm_finish(c.comm);
    return 0;
}
