/* SPDX-License-Identifier: Apache-2.0 */
/* Timing of repeated work, and one line of JSON a result:
 *   {"name", "shape", "isa", "ranks", "threads", "median", "p10", "p90", "unit", "reference", "ratio",
 *    "against"}: reference is what `against` names, measured in the same run, in the same unit; ratio is
 *    median / reference.
 * LJ_BENCH_SHORT=1: tiny sizes and one repetition, so that the benchmarks themselves are tested. */
#ifndef LEJEPA_TEST_BENCH_H
#define LEJEPA_TEST_BENCH_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_REPETITIONS_MAX = 1000 };

struct bench_sample {
    int count;
    double seconds[BENCH_REPETITIONS_MAX];
};

/* Quantiles of seconds, or of amount / seconds; low <= median <= high. */
struct bench_result {
    double median, p10, p90;
};

/* True in the short form. */
bool bench_short(void);
/* full, or tiny in the short form. */
int64_t bench_size(int64_t full, int64_t tiny);

/* Calls work once unmeasured, then until `seconds` have passed (once in the short form). */
void bench_run(struct bench_sample *sample, double seconds, void (*work)(void *), void *data);
void bench_add(struct bench_sample *sample, double seconds);

struct bench_result bench_time(const struct bench_sample *sample, double factor);
struct bench_result bench_rate(const struct bench_sample *sample, double amount);

struct bench_line {
    const char *name, *shape, *isa, *unit, *against;
    int ranks, threads; /* 0 counts as 1 */
    double reference;
};
/* Prints the line, on the calling process. */
void bench_print(const struct bench_line *line, struct bench_result result);

/* Deterministic values in (-1, 1). */
void bench_fill(float *values, int64_t count);
/* Ends the process when status is not LJ_OK, with what went wrong. */
void bench_expect(int status);

#endif
