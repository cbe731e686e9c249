/* SPDX-License-Identifier: Apache-2.0 */
/* Timing of repeated work, and one line of JSON for each result, with these members:
 *   name, shape, isa, ranks, threads   what was measured
 *   median, p10, p90, unit             the result
 *   against, reference                 with what it is compared, and that measured in the same run
 *   ratio, target                      median / reference; the largest ratio wanted of times, the
 *                                      smallest of rates, or null
 *   busy                               processor time / wall-clock time of the measuring thread:
 *                                      below 1 other processes used the processor, too
 * LJ_BENCH_SHORT=1 in the environment takes tiny sizes and one repetition, to
 * test the benchmarks. */
#ifndef LEJEPA_TEST_BENCH_H
#define LEJEPA_TEST_BENCH_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_REPETITIONS_MAX = 1000 };

/* Repetitions of some work. */
struct bench_sample {
    bool by_wall; /* wall-clock time, for ranks that wait for each other; else
                                              processor time, which other processes disturb less */
    int count;    /* repetitions */
    double seconds[BENCH_REPETITIONS_MAX]; /* (count) of each */
    double wall_s;                         /* sum of wall-clock time */
    double cpu_s;                          /* sum of the calling thread's processor time */
};

/* A moment on both clocks. */
struct bench_clock {
    double wall_s;
    double cpu_s; /* processor time of the calling thread */
};

/* Quantiles over the repetitions, of times or rates. */
struct bench_result {
    double median;
    double p10;
    double p90;
    double busy; /* cpu_s / wall_s */
};

/* Is LJ_BENCH_SHORT=1 in the environment? */
bool bench_short(void);
/* tiny if bench_short(), else full. */
int64_t bench_size(int64_t full, int64_t tiny);

/* Calls work without measuring, then measures repetitions until about `seconds` have passed (one if
 * bench_short()). Short work is called several times in a repetition. */
void bench_run(struct bench_sample *sample, double seconds, void (*work)(void *), void *data);

/* Now, on both clocks. */
struct bench_clock bench_now(void);
/* Adds a repetition that began at `begun` and ends now, less `outside_s` seconds. */
void bench_add(struct bench_sample *sample, struct bench_clock begun, double outside_s);

/* Times of a repetition, multiplied by factor. */
struct bench_result bench_time(const struct bench_sample *sample, double factor);
/* Rates: amount / time of a repetition. */
struct bench_result bench_rate(const struct bench_sample *sample, double amount);

/* A line of JSON, but for the result; members as above. */
struct bench_line {
    const char *name;
    const char *shape;
    const char *isa; /* NULL: the selected level */
    const char *unit;
    const char *against;
    int ranks;        /* 0 counts as 1 */
    int threads;      /* 0 counts as 1 */
    double reference; /* in `unit` */
    double target;    /* 0: none */
};
/* Prints the line, on whichever rank calls. */
void bench_print(const struct bench_line *line, struct bench_result result);

/* Deterministic values in (-1, 1). */
void bench_fill(float *values, int64_t count);
/* Ends the process with a message when status is not LJ_OK. */
void bench_expect(int status);

#endif
