/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.jsonl and the progress line. Losses are written with 17 digits, from which a reader gets
 * the same doubles back. */
#include "run/state.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static double samples_per_s(const struct lj_run_state *run)
{
    double seconds = lj_now_s() - run->started_s;
    double samples = (double)run->done * (double)run->config->batch_size;
    return seconds > 0 ? samples / seconds : 0;
}

static double epoch_of(const struct lj_run_state *run, int64_t finished)
{
    return (double)finished * (double)run->config->batch_size /
           (double)lj_archive_info(run->archive)->selected;
}

/* Writes a member of the object; null for NaN and infinity, which JSON does not have. */
static void put_number(FILE *out, const char *name, double value)
{
    if (isfinite(value))
        fprintf(out, ", \"%s\": %.9g", name, value);
    else
        fprintf(out, ", \"%s\": null", name);
}

/* Ends the object and flushes it to the file, so that the user hears of a full disk now and not at
 * the next checkpoint. */
static void end_line(struct lj_run_state *run)
{
    if (fprintf(run->metrics, "}\n") < 0 || fflush(run->metrics) != 0)
        lj_warn("%s/metrics.jsonl cannot be written: %s", run->dir, strerror(errno));
}

void lj_run_log_step(struct lj_run_state *run, int64_t finished,
                     const struct lj_step_report *report)
{
    FILE *out = run->metrics;
    double rate = samples_per_s(run);
    fprintf(out, "{\"step\": %lld, \"epoch\": %.9g", (long long)finished, epoch_of(run, finished));
    for (int i = 0; i < lj_objective_terms(run->info.objective); i++)
        fprintf(out, ", \"%s\": %.17g", run->info.objective->term[i].name, report->term[i]);
    put_number(out, "lr", report->lr);
    put_number(out, "grad_norm", report->grad_norm);
    put_number(out, "samples_per_s", rate);
    put_number(out, "views_per_s", rate * (double)(run->info.views[0] + run->info.views[1]));
    if (report->nonfinite > 0)
        fprintf(out, ", \"skipped\": true");
    end_line(run);
}

/* Writes mean and covariance in a few members, whose names begin with prefix. */
static void put_spectrum(FILE *out, const char *prefix, const struct lj_spectrum *s)
{
    const struct {
        const char *name;
        double value;
    } member[] = {
        {"effective_rank", s->effective_rank},
        {"condition", s->condition},
        {"rankme", s->rankme},
        {"participation", s->participation},
        {"mean_norm", s->mean_norm},
        {"trace", s->trace},
        {"eigenvalue_min", s->eigenvalue_min},
        {"eigenvalue_max", s->eigenvalue_max},
        {"offdiagonal", s->offdiagonal},
    };
    char name[64];
    for (size_t i = 0; i < sizeof member / sizeof *member; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, member[i].name);
        put_number(out, name, member[i].value);
    }
}

void lj_run_log_evaluation(struct lj_run_state *run, int64_t finished,
                           const struct lj_run_scores *scores)
{
    FILE *out = run->metrics;
    fprintf(out, "{\"step\": %lld, \"epoch\": %.9g, \"event\": \"evaluation\"", (long long)finished,
            epoch_of(run, finished));
    if (scores->has_labels) {
        put_number(out, "knn_top1", scores->knn.top1);
        put_number(out, "knn_balanced", scores->knn.balanced);
        put_number(out, "linear_top1", scores->linear.top1);
        put_number(out, "linear_balanced", scores->linear.balanced);
    }
    put_spectrum(out, "", &scores->embeddings);
    put_spectrum(out, "proj_", &scores->projections);
    put_number(out, "alignment", scores->alignment);
    put_number(out, "sigreg", scores->sigreg);
    put_number(out, "sigreg_floor", scores->sigreg_floor);
    put_number(out, "sigreg_samples", (double)scores->sigreg_samples);
    end_line(run);
}

static void draw_terminal(const struct lj_run_state *run, int64_t finished, double loss,
                          double rate, const char *eta)
{
    int64_t steps = run->info.steps;
    char bar[32];
    lj_bar_text(bar, (double)finished / (double)lj_max_i64(steps, 1));
    fprintf(stderr, "\r[%s] %lld/%lld  %s %.4f  %.0f samples/s  %s left \033[K%s", bar,
            (long long)finished, (long long)steps, run->info.objective->term[0].name, loss, rate,
            eta, finished == steps ? "\n" : "");
}

/* The objective's terms as "  loss   1.23456  pred  0.123456 ...". */
static void terms_text(const struct lj_objective_kind *objective, const double *term, char *text,
                       size_t capacity)
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < lj_objective_terms(objective) && at < capacity; i++)
        at += (size_t)snprintf(text + at, capacity - at, "  %s %9.*f", objective->term[i].name,
                               objective->term[i].decimals, term[i]);
}

void lj_run_progress(struct lj_run_state *run, int64_t finished,
                     const struct lj_step_report *report, bool line)
{
    int64_t steps = run->info.steps;
    double rate = samples_per_s(run);
    char eta[32], terms[512];
    lj_duration_text(
        eta, rate > 0 ? (double)(steps - finished) * (double)run->config->batch_size / rate : 0);
    if (run->terminal)
        draw_terminal(run, finished, report->term[0], rate, eta);
    terms_text(run->info.objective, report->term, terms, sizeof terms);
    if (line)
        (run->terminal ? lj_log_only : lj_say)(
            "step %8lld/%lld  epoch %7.2f%s  lr %.3e  %8.1f samples/s  %s left",
            (long long)finished, (long long)steps, epoch_of(run, finished), terms, report->lr, rate,
            eta);
}
