/* SPDX-License-Identifier: Apache-2.0 */
/* Timing, quantiles and the lines of JSON. */
#include "bench.h"

#include "base/base.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool bench_short(void)
{
    const char *wanted = getenv("LJ_BENCH_SHORT");
    return wanted && strcmp(wanted, "1") == 0;
}

int64_t bench_size(int64_t full, int64_t tiny)
{
    return bench_short() ? tiny : full;
}

struct bench_clock bench_now(void)
{
    struct timespec cpu;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return (struct bench_clock){.wall_s = lj_now_s(),
                                .cpu_s = (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec};
}

void bench_add(struct bench_sample *sample, struct bench_clock begun, double outside_s)
{
    struct bench_clock now = bench_now();
    sample->wall_s += now.wall_s - begun.wall_s;
    sample->cpu_s += now.cpu_s - begun.cpu_s;
    if (sample->count < BENCH_REPETITIONS_MAX)
        sample->seconds[sample->count++] =
            (sample->by_wall ? now.wall_s - begun.wall_s : now.cpu_s - begun.cpu_s) - outside_s;
}

/* How many calls of work make a repetition, so that about 200 repetitions fill the time. */
static int64_t calls_of_repetition(double seconds, void (*work)(void *), void *data)
{
    work(data);
    double before = lj_now_s();
    work(data);
    double calls = seconds / 200 / (lj_now_s() - before + 1e-7);
    return bench_short() || calls < 1 ? 1 : (int64_t)calls;
}

void bench_run(struct bench_sample *sample, double seconds, void (*work)(void *), void *data)
{
    int64_t calls = calls_of_repetition(seconds, work, data);
    double begun = lj_now_s();
    *sample = (struct bench_sample){.by_wall = sample->by_wall};
    do {
        struct bench_clock before = bench_now();
        for (int64_t i = 0; i < calls; i++)
            work(data);
        bench_add(sample, before, 0);
        sample->seconds[sample->count - 1] /= (double)calls;
    } while (!bench_short() && lj_now_s() - begun < seconds &&
             sample->count < BENCH_REPETITIONS_MAX);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear interpolation between order statistics, NumPy's default. */
static double quantile(const double *sorted, int count, double share)
{
    double at = share * (count - 1);
    int low = (int)at, high = low + 1 < count ? low + 1 : low;
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

struct bench_result bench_time(const struct bench_sample *sample, double factor)
{
    struct bench_sample sorted = *sample;
    qsort(sorted.seconds, (size_t)sorted.count, sizeof *sorted.seconds, ascending);
    return (struct bench_result){.median = factor * quantile(sorted.seconds, sorted.count, 0.5),
                                 .p10 = factor * quantile(sorted.seconds, sorted.count, 0.1),
                                 .p90 = factor * quantile(sorted.seconds, sorted.count, 0.9),
                                 .busy = sample->cpu_s / sample->wall_s};
}

struct bench_result bench_rate(const struct bench_sample *sample, double amount)
{
    struct bench_result time = bench_time(sample, 1);
    return (struct bench_result){.median = amount / time.median,
                                 .p10 = amount / time.p90,
                                 .p90 = amount / time.p10,
                                 .busy = time.busy};
}

void bench_print(const struct bench_line *line, struct bench_result result)
{
    char target[32] = "null";
    if (line->target > 0)
        snprintf(target, sizeof target, "%.4g", line->target);
    printf("{\"name\": \"%s\", \"shape\": \"%s\", \"isa\": \"%s\", \"ranks\": %d, \"threads\": %d, "
           "\"median\": %.4g, \"p10\": %.4g, \"p90\": %.4g, \"unit\": \"%s\", \"reference\": %.4g, "
           "\"ratio\": %.4g, \"against\": \"%s\", \"target\": %s, \"busy\": %.2f}\n",
           line->name, line->shape, line->isa ? line->isa : lj_kernels()->name,
           line->ranks ? line->ranks : 1, line->threads ? line->threads : 1, result.median,
           result.p10, result.p90, line->unit, line->reference, result.median / line->reference,
           line->against, target, result.busy);
    fflush(stdout);
}

void bench_fill(float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = sinf(0.37f * (float)(i % 100003));
}

void bench_expect(int status)
{
    if (status == LJ_OK)
        return;
    fprintf(stderr, "benchmark: %s\n", lj_error_text());
    _Exit(-status);
}
