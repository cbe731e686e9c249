/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. The parts of the summary at the end of a run. */
#ifndef LEJEPA_RUN_SUMMARY_H
#define LEJEPA_RUN_SUMMARY_H

#include "run/state.h"

#include <jansson.h>

enum { LJ_KINDS_MAX = 32 };

/* One kind of layer. */
struct lj_layer_row {
    const char *name;
    double forward_s, backward_s; /* of a thread, mean over ranks */
    double flops, thread_s;       /* sums over all threads of all ranks */
};

struct lj_layer_table {
    int count;
    struct lj_layer_row row[LJ_KINDS_MAX];
    double matmul_s,
        matmul_gflops; /* of layers whose flops count: like forward_s + backward_s; of a
                                         thread */
    double peak;       /* GFLOP/s of a thread, measured at the start; 0: not asked for */
};

/* Bytes of the rank that takes most. */
struct lj_memory_row {
    int64_t planned, peak,
        resident; /* at the end of set-up; most ever, ours; of the process, 0: unknown */
};

/* layers.c. The gathering functions are collective, the others local. */
int lj_run_gather_layers(struct lj_run_state *run, struct lj_layer_table *table) LJ_MUST_USE;
/* total: seconds of all phases. */
void lj_run_say_layers(const struct lj_layer_table *table, double total);
json_t *lj_run_layers_json(const struct lj_layer_table *table);

struct lj_memory_row lj_run_gather_memory(struct lj_run_state *run);
void lj_run_say_memory(const struct lj_memory_row *memory);
json_t *lj_run_memory_json(const struct lj_memory_row *memory);
/* Bytes of our memory open now. */
int64_t lj_run_open_bytes(void);

/* peak.c: run.measure_peak: the rate of a well-shaped matmul in the run's precision, on all
 * threads of all ranks at once, into run->peak_gflops. Collective. */
int lj_run_measure_peak(struct lj_run_state *run) LJ_MUST_USE;

#endif
