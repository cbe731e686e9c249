/* SPDX-License-Identifier: Apache-2.0 */
/* The report of scale: a table on standard output, files in the directory out=. */
#include "app/scale_report.h"

#include "app/app.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A run to the target must begin anew, not continue. */
static int check_targets(const struct lj_scale_report *report)
{
    const struct lj_scale *s = &report->scale;
    char dir[LJ_PATH_MAX];
    for (int i = 0; i < s->counts && s->has_target; i++) {
        lj_scale_target_dir(report->config, s->ladder[i], dir);
        if (access(dir, F_OK) == 0)
            return lj_fail(LJ_ERR_CONFIG,
                           "out=%s: holds %s of an earlier study, which would be continued; remove "
                           "it, or choose another directory",
                           report->config->arg_out, dir);
    }
    return LJ_OK;
}

int lj_scale_make_out(const struct lj_config *config)
{
    const char *out = config->arg_out;
    if (out[0] && mkdir(out, 0777) != 0 && errno != EEXIST)
        return lj_fail(LJ_ERR_RESOURCE, "out=%s: cannot make the directory: %s", out,
                       strerror(errno));
    return LJ_OK;
}

int lj_scale_report_prepare(const struct lj_scale_report *report)
{
    LJ_TRY(lj_scale_make_out(report->config));
    return check_targets(report);
}

static void print_baseline(const struct lj_scale *scale)
{
    for (int k = 0; k < scale->measured; k++) {
        const struct lj_scale_rung *r = &scale->rung[k];
        if (lj_scale_baseline(scale, r) == r)
            printf("baseline of %s scaling: %d rank%s with batch.size=%lld\n",
                   r->strong ? "strong" : "weak", r->ranks, r->ranks == 1 ? "" : "s",
                   (long long)r->batch);
    }
}

static void print_targets(const struct lj_scale *s)
{
    if (s->trained == 0)
        return;
    printf("\nTime to knn_top1 %g, with reading the index, set-up and evaluations:\n%6s %9s %9s %8s"
           "\n",
           s->goal[0].knn_top1, "ranks", "steps", "knn_top1", "s");
    for (int i = 0; i < s->trained; i++)
        printf("%6d %9lld %9.4f %8.1f%s\n", s->ladder[i], (long long)s->goal[i].steps,
               s->goal[i].found, s->goal[i].seconds, s->goal[i].reached ? "" : "  not reached");
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
    for (int k = 0; k < s->measured; k++) {
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
    if (!s->rung[0].prediction.bound[0])
        return;
    printf("\nby the model of machine and network:\n");
    for (int k = 0; k < s->measured; k++)
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

static int write_json(const struct lj_scale_report *report, const json_t *object)
{
    char path[LJ_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/scale.json", report->config->arg_out);
    return lj_json_write(path, object, 9);
}

int lj_scale_report_foresee(struct lj_scale_report *report)
{
    return lj_scale_foresee(&report->scale, report->config, &report->network, &report->model);
}

int lj_scale_report_keep(void *data)
{
    struct lj_scale_report *report = data;
    if (!report->config->arg_out[0])
        return LJ_OK;
    LJ_TRY(
        lj_scale_foresee_latest(&report->scale, report->config, &report->network, &report->model));
    json_t *object = lj_scale_json(report);
    int status = write_json(report, object);
    json_decref(object);
    return status == LJ_OK ? lj_scale_csv(report) : status;
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
        print_targets(&report->scale);
    }
    if (status == LJ_OK && report->config->arg_out[0])
        status = write_json(report, object);
    if (status == LJ_OK && report->config->arg_out[0])
        status = lj_scale_figures(report, object);
    json_decref(object);
    return status;
}
