/* SPDX-License-Identifier: Apache-2.0 */
/* Timing of repeated work, and one line of JSON a result:
 *   {"name", "shape", "isa", "ranks", "threads", "median", "p10", "p90", "unit", "reference", "ratio",
 *    "against", "target", "busy"}: reference is what `against` names, measured in the same run, in the same
 *    unit; ratio is median / reference, target the largest wanted (the least, of rates) or null; busy is the
 *    share of the wall-clock time in which the measuring thread ran: below 1, others used the processor too.
 * LJ_BENCH_SHORT=1: tiny sizes and one repetition, so that the benchmarks themselves are tested. */
#ifndef LEJEPA_TEST_BENCH_H
#define LEJEPA_TEST_BENCH_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_REPETITIONS_MAX = 1000 };

struct bench_sample {
    bool
        by_wall; /* where ranks wait for each other; else the calling thread's processor time, which
                     others on the machine disturb less */
    int count;
    double seconds[BENCH_REPETITIONS_MAX];
    double wall_s, cpu_s; /* sums; cpu: of the calling thread */
};

/* A moment on both clocks. */
struct bench_clock {
    double wall_s, cpu_s;
};

/* Quantiles of seconds, or of amount / seconds. */
struct bench_result {
    double median, p10, p90, busy;
};

/* True in the short form. */
bool bench_short(void);
/* full, or tiny in the short form. */
int64_t bench_size(int64_t full, int64_t tiny);

/* Calls work once unmeasured, then until about `seconds` have passed (once in the short form); short work
 * is repeated inside a repetition. */
void bench_run(struct bench_sample *sample, double seconds, void (*work)(void *), void *data);

struct bench_clock bench_now(void);
/* Adds one repetition of work that began then, without `outside_s` seconds of it. */
void bench_add(struct bench_sample *sample, struct bench_clock begun, double outside_s);

struct bench_result bench_time(const struct bench_sample *sample, double factor);
struct bench_result bench_rate(const struct bench_sample *sample, double amount);

struct bench_line {
    const char *name, *shape, *isa, *unit, *against;
    int ranks, threads; /* 0 counts as 1 */
    double reference;
    double target; /* the largest ratio wanted of times, the least of rates; 0: none */
};
/* Prints the line, on the calling process. */
void bench_print(const struct bench_line *line, struct bench_result result);

/* Deterministic values in (-1, 1). */
void bench_fill(float *values, int64_t count);
/* Ends the process when status is not LJ_OK, with what went wrong. */
void bench_expect(int status);

#endif
