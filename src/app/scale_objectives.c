/* SPDX-License-Identifier: Apache-2.0 */
/* The comparison of objectives as tables and CSV. */
#include "app/scale_objectives.h"

#include "app/app.h"
#include "app/report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int lj_compared_prepare(const struct lj_comparison *comparison, const struct lj_config *config)
{
    char dir[LJ_PATH_MAX];
    LJ_TRY(lj_scale_make_out(config));
    for (int k = 0; k < comparison->count && config->eval_every > 0; k++) {
        lj_comparison_dir(config, comparison->objective[k].kind->name, dir);
        if (access(dir, F_OK) == 0)
            return lj_fail(LJ_ERR_CONFIG,
                           "out=%s: holds %s of an earlier comparison, which would be continued; "
                           "remove it, or choose another directory",
                           config->arg_out, dir);
    }
    return LJ_OK;
}

/* ---- tables ------------------------------------------------------------------------------ */

static void print_steps(const struct lj_comparison *c)
{
    printf("\n%-12s %9s %-21s %7s %11s %8s %11s %9s %12s  %s\n", "objective", "step s", "", "loss",
           "memory MiB", "GFLOP", "collectives", "messages", "bytes", "heuristics");
    for (int k = 0; k < c->measured; k++) {
        const struct lj_compared *o = &c->objective[k];
        const struct lj_scale_rung *r = &c->scale->rung[k];
        printf("%-12s %9.4f %9.4f .. %-8.4f %6.1f%% %11.1f %8.2f %11lld %9lld %12lld  %s\n",
               o->kind->name, r->step_s, r->step_s_low, r->step_s_high, 100 * o->loss_share,
               (double)r->memory / 1048576, r->flops * 1e-9, (long long)r->collectives,
               (long long)r->messages, (long long)r->bytes,
               o->kind->heuristics ? o->kind->heuristics : "");
    }
}

static void print_traffic(const struct lj_comparison *c)
{
    printf("\n%-12s %-20s %-14s %9s %12s %12s  %s\n", "objective", "message", "collective", "calls",
           "bytes", "by formula", "formula");
    for (int k = 0; k < c->measured; k++)
        for (int i = 0; i < c->objective[k].messages; i++) {
            const struct lj_compared *o = &c->objective[k];
            const struct lj_objective_traffic *t = &o->traffic[i];
            printf("%-12s %-20s %-14s %9.2f %12lld %12lld  %s\n", o->kind->name, t->name,
                   t->collective, o->calls[i], (long long)o->bytes[i], (long long)t->bytes,
                   t->formula);
        }
}

/* "2.00 (1.98 to 2.02)" */
static const char *power_text(const struct lj_power *power, char text[64])
{
    if (isfinite(power->low))
        snprintf(text, 64, "%.2f (%.2f to %.2f)", power->exponent, power->low, power->high);
    else if (isfinite(power->exponent))
        snprintf(text, 64, "%.2f", power->exponent);
    else
        snprintf(text, 64, "-");
    return text;
}

static void print_exponents(const struct lj_comparison *c)
{
    char text[3][64];
    printf("\nexponents of the bytes of an objective's messages, and 95 %% intervals\n%-12s %-9s "
           "%-24s %-24s %s\n",
           "objective", "", "in N", "in D", "in P");
    for (int k = 0; k < c->measured; k++)
        for (int measured = 0; measured < 2; measured++) {
            const struct lj_compared *o = &c->objective[k];
            const struct lj_power *p = measured ? o->measured : o->by_formula;
            printf("%-12s %-9s %-24s %-24s %s\n", o->kind->name, measured ? "measured" : "formula",
                   power_text(&p[LJ_GROWTH_N], text[0]), power_text(&p[LJ_GROWTH_D], text[1]),
                   power_text(&p[LJ_GROWTH_P], text[2]));
        }
    if (c->sigreg_timed)
        printf("\nexponents of the seconds of SIGReg, one core: in N %s, in M %s, in D %s\n",
               power_text(&c->sigreg_power[0], text[0]), power_text(&c->sigreg_power[1], text[1]),
               power_text(&c->sigreg_power[2], text[2]));
}

static void print_training(const struct lj_comparison *c)
{
    if (c->trained == 0)
        return;
    printf("\nkNN after as many steps, and within the %.1f s of the fastest run\n%-12s %9s %9s "
           "%9s %9s\n",
           c->within_s, "objective", "steps", "knn_top1", "s", "within");
    for (int k = 0; k < c->trained; k++) {
        const struct lj_compared *o = &c->objective[k];
        printf("%-12s %9lld %9.4f %9.1f", o->kind->name, (long long)o->goal.steps, o->goal.found,
               o->goal.seconds);
        if (isfinite(o->found_within))
            printf(" %9.4f\n", o->found_within);
        else
            printf(" %9s\n", "-");
    }
}

static void print_all(const struct lj_comparison *c, const struct lj_scale_report *report)
{
    const struct lj_scale *s = c->scale;
    printf("%s, %.2f M parameters; batch.size=%lld on %d rank%s; N samples, D projector.out, P "
           "ranks, V views; median of %d repeats of %d steps, least and largest beside it\n",
           s->model, (double)s->parameters * 1e-6, (long long)report->config->batch_size,
           report->ranks, report->ranks == 1 ? "" : "s", s->repeats, s->steps);
    print_steps(c);
    print_traffic(c);
    print_exponents(c);
    print_training(c);
}

/* ---- files ------------------------------------------------------------------------------- */

static void add_row(struct lj_text *csv, const struct lj_comparison *c, int k, int ranks)
{
    const struct lj_compared *o = &c->objective[k];
    const struct lj_scale_rung *r = &c->scale->rung[k];
    int64_t bytes = 0, formula = 0;
    for (int i = 0; i < o->messages; i++) {
        bytes += o->bytes[i];
        formula += o->traffic[i].bytes;
    }
    lj_text_add(csv, "%s,%d,%lld,%.9g,%.9g,%.9g,%.9g,%lld,%.9g,%lld,%lld,%lld,%lld,%lld,",
                o->kind->name, ranks, (long long)r->batch, r->step_s, r->step_s_low, r->step_s_high,
                o->loss_share, (long long)r->memory, r->flops, (long long)r->collectives,
                (long long)r->messages, (long long)r->bytes, (long long)bytes, (long long)formula);
    if (k < c->trained)
        lj_text_add(csv, "%lld,%.9g,%.9g,%.9g,", (long long)o->goal.steps, o->goal.found,
                    o->goal.seconds, c->within_s);
    else
        lj_text_add(csv, ",,,,");
    if (k < c->trained && isfinite(o->found_within))
        lj_text_add(csv, "%.9g", o->found_within);
    lj_text_add(csv, "\n");
}

static int write_csv(const struct lj_comparison *c, const struct lj_scale_report *report)
{
    char path[LJ_PATH_MAX];
    struct lj_text csv = {0};
    lj_text_add(&csv, "objective,ranks,batch,step_s,step_s_low,step_s_high,loss_share,memory_bytes,"
                      "flops,collectives,messages,bytes,objective_bytes,objective_formula_bytes,"
                      "trained_steps,knn_top1,seconds,within_s,knn_top1_within\n");
    for (int k = 0; k < c->measured; k++)
        add_row(&csv, c, k, report->ranks);
    snprintf(path, sizeof path, "%.4000s/objectives.csv", report->config->arg_out);
    int status = lj_text_write(&csv, path);
    lj_text_free(&csv);
    return status;
}

/* From the last objective that was measured. */
static void take_model(struct lj_scale_report *report, const struct lj_comparison *c)
{
    report->scale.threads = c->scale->threads;
    report->scale.parameters = c->scale->parameters;
    memcpy(report->scale.model, c->scale->model, sizeof report->scale.model);
}

int lj_compared_keep(void *compared)
{
    const struct lj_compared_report *r = compared;
    char path[LJ_PATH_MAX];
    if (!r->report->config->arg_out[0])
        return LJ_OK;
    take_model(r->report, r->comparison);
    json_t *object = lj_compared_json(r->comparison, r->report);
    snprintf(path, sizeof path, "%.4000s/objectives.json", r->report->config->arg_out);
    int status =
        object ? lj_json_write(path, object, 9) : lj_fail(LJ_ERR_RESOURCE, "out of memory: scale");
    json_decref(object);
    return status == LJ_OK ? write_csv(r->comparison, r->report) : status;
}

int lj_compared_print(const struct lj_compared_report *compared)
{
    take_model(compared->report, compared->comparison);
    if (!compared->report->config->arg_json) {
        print_all(compared->comparison, compared->report);
        return LJ_OK;
    }
    json_t *object = lj_compared_json(compared->comparison, compared->report);
    int status = lj_print_json(object, 9);
    json_decref(object);
    return status;
}
