/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. The tables that a run logs at its end. */
#ifndef LEJEPA_RUN_SUMMARY_H
#define LEJEPA_RUN_SUMMARY_H

#include "run/state.h"

#include <jansson.h>

enum { LJ_KINDS_MAX = 32 };

/* One kind of layer. */
struct lj_layer_row {
    const char *name;  /* of the kind */
    double forward_s;  /* seconds of a thread, mean over threads and ranks */
    double backward_s; /* likewise */
    double flops;      /* sum over all threads of all ranks; 0: not counted for this kind */
    double thread_s;   /* seconds, sum over all threads of all ranks */
};

/* The kinds of layers that ran. */
struct lj_layer_table {
    int count;                             /* rows */
    struct lj_layer_row row[LJ_KINDS_MAX]; /* (count) */
    double matmul_s;                       /* forward_s + backward_s of kinds with flops */
    double matmul_gflops;                  /* GFLOP/s of a thread in these kinds */
    double peak;                           /* GFLOP/s of a thread at the peak; 0: not measured */
};

/* Memory, each number of the rank that has most. */
struct lj_memory_row {
    int64_t planned;  /* bytes allocated at the end of set-up */
    int64_t peak;     /* most bytes allocated at once */
    int64_t resident; /* largest resident size of the process; 0: unknown */
};

/* ---- layers.c ---------------------------------------------------------------------------- */

/* Gathers the clocks of all ranks. Collective. Errors: LJ_ERR_RESOURCE, agreed. */
int lj_run_gather_layers(struct lj_run_state *run, struct lj_layer_table *table) LJ_MUST_USE;
/* Logs the table. total: seconds of all phases, mean over ranks. Local. */
void lj_run_say_layers(const struct lj_layer_table *table, double total);
/* The table for timing.json, owned by the caller. Local. */
json_t *lj_run_layers_json(const struct lj_layer_table *table);

/* Gathers the memory of all ranks. Collective. */
struct lj_memory_row lj_run_gather_memory(struct lj_run_state *run);
/* Logs it. Local. */
void lj_run_say_memory(const struct lj_memory_row *memory);
/* The same for timing.json, owned by the caller. Local. */
json_t *lj_run_memory_json(const struct lj_memory_row *memory);
/* Bytes that this process has allocated by lj_alloc and not yet freed. Local. */
int64_t lj_run_open_bytes(void);

/* ---- peak.c ------------------------------------------------------------------------------ */

/* Measures run->peak_gflops: the rate of a large matmul in the run's precision, on all threads of
 * all ranks at once. Collective. Errors: LJ_ERR_RESOURCE, agreed. Cost: about 0.2 s. */
int lj_run_measure_peak(struct lj_run_state *run) LJ_MUST_USE;

#endif
