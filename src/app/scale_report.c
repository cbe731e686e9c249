/* SPDX-License-Identifier: Apache-2.0 */
/* The report of scale: a table on standard output, files in the directory out=. */
#include "app/scale_report.h"

#include "app/app.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int lj_scale_report_prepare(const struct lj_scale_report *report)
{
    const char *out = report->config->arg_out;
    if (out[0] && mkdir(out, 0777) != 0 && errno != EEXIST)
        return lj_fail(LJ_ERR_RESOURCE, "out=%s: cannot make the directory: %s", out,
                       strerror(errno));
    return LJ_OK;
}

static void print_baseline(const struct lj_scale *scale)
{
    for (int k = 0; k < scale->rungs; k++) {
        const struct lj_scale_rung *r = &scale->rung[k];
        if (lj_scale_baseline(scale, r) == r)
            printf("%s scaling: efficiency is that of %d rank%s with batch.size=%lld\n",
                   r->strong ? "strong" : "weak", r->ranks, r->ranks == 1 ? "" : "s",
                   (long long)r->batch);
    }
}

static void print_table(const struct lj_scale_report *report)
{
    const struct lj_scale *s = &report->scale;
    printf("%s, %.2f M parameters; median of %d repeats of %d steps, least and largest beside it; "
           "reading and views included\n",
           s->model, (double)s->parameters * 1e-6, s->repeats, s->steps);
    print_baseline(s);
    printf("\n%-6s %6s %7s %9s %-21s %10s %-15s %9s %12s %8s %9s %11s  %s\n", "mode", "ranks",
           "batch", "step s", "", "efficiency", "", "exposed s", "bytes", "messages", "imbalance",
           "predicted s", "bits");
    for (int k = 0; k < s->rungs; k++) {
        const struct lj_scale_rung *r = &s->rung[k];
        printf("%-6s %6d %7lld %9.4f %9.4f .. %-8.4f %10.3f %6.3f .. %-5.3f %9.4f %12lld %8lld "
               "%8.1f%% %11.4f  %s\n",
               r->strong ? "strong" : "weak", r->ranks, (long long)r->batch, r->step_s,
               r->step_s_low, r->step_s_high, r->efficiency, r->efficiency_low, r->efficiency_high,
               r->exposed_s, (long long)r->bytes, (long long)r->messages, 100 * r->imbalance,
               r->prediction.step_s, r->same_bits ? "same" : "OTHER");
    }
}

static void print_bound(bool strong, int ranks, const struct lj_scale_prediction *p)
{
    printf("%6d rank%s, %s: %s\n", ranks, ranks == 1 ? "" : "s", strong ? "strong" : "weak",
           p->bound);
}

/* Rows that nobody measured, and for all rows what bounds a step. */
static void print_predictions(const struct lj_scale *s)
{
    for (int k = 0; k < s->foreseen_count; k++) {
        const struct lj_scale_foreseen *f = &s->foreseen[k];
        if (k == 0)
            printf("\nprediction, not measured\n%-6s %6s %7s %9s %10s %9s\n", "mode", "ranks",
                   "batch", "step s", "efficiency", "exposed s");
        printf("%-6s %6d %7lld %9.4f %10.3f %9.4f\n", f->strong ? "strong" : "weak", f->ranks,
               (long long)f->batch, f->prediction.step_s, f->prediction.efficiency,
               f->prediction.cost.exposed_s);
    }
    if (!isfinite(s->rung[0].prediction.step_s))
        return;
    printf("\nby the model of machine and network:\n");
    for (int k = 0; k < s->rungs; k++)
        print_bound(s->rung[k].strong, s->rung[k].ranks, &s->rung[k].prediction);
    bool guesses = false;
    for (int k = 0; k < s->foreseen_count; k++) {
        guesses = guesses || s->foreseen[k].guesses_network;
        print_bound(s->foreseen[k].strong, s->foreseen[k].ranks, &s->foreseen[k].prediction);
    }
    if (guesses)
        printf("no network between nodes was measured; predictions take it for as fast as the "
               "memory of a node\n");
}

static int write_files(const struct lj_scale_report *report, const json_t *object)
{
    char path[LJ_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/scale.json", report->config->arg_out);
    LJ_TRY(lj_json_write(path, object, 9));
    return lj_scale_figures(report);
}

int lj_scale_report_write(const struct lj_scale_report *report)
{
    json_t *object = lj_scale_json(report);
    int status = LJ_OK;
    if (report->config->arg_json) {
        status = lj_print_json(object, 9);
    } else {
        print_table(report);
        print_predictions(&report->scale);
    }
    if (status == LJ_OK && report->config->arg_out[0])
        status = write_files(report, object);
    json_decref(object);
    return status;
}
