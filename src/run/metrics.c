/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.jsonl, the events of TensorBoard, and the progress line. metrics.jsonl has losses with 17
 * digits, from which a reader gets the same doubles back. */
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

static double views_per_step(const struct lj_run_state *run)
{
    return (double)(run->config->batch_size * (run->info.views[0] + run->info.views[1]));
}

static double epoch_of(const struct lj_run_state *run, int64_t finished)
{
    return (double)finished * (double)run->config->batch_size /
           (double)lj_archive_info(run->archive)->selected;
}

/* Begins the object and the event of a step. */
static void begin_line(struct lj_run_state *run, int64_t finished)
{
    fprintf(run->metrics, "{\"step\": %lld, \"epoch\": %.9g", (long long)finished,
            epoch_of(run, finished));
    lj_tensorboard_begin(run->tensorboard, finished, lj_wall_s());
}

/* Writes a member of the object, and a value of that group of the event; null for NaN and infinity,
 * which JSON does not have. */
static void put_number(struct lj_run_state *run, const char *group, const char *name, int digits,
                       double value)
{
    if (isfinite(value))
        fprintf(run->metrics, ", \"%s\": %.*g", name, digits, value);
    else
        fprintf(run->metrics, ", \"%s\": null", name);
    lj_tensorboard_add(run->tensorboard, group, name, value);
}

static void put_train(struct lj_run_state *run, const char *name, double value)
{
    put_number(run, "train", name, 9, value);
}

static void put_eval(struct lj_run_state *run, const char *name, double value)
{
    put_number(run, "eval", name, 9, value);
}

/* Ends both. The object is flushed to the file, so that the user hears of a full disk now and not
 * at the next checkpoint. */
static void end_line(struct lj_run_state *run)
{
    if (fprintf(run->metrics, "}\n") < 0 || fflush(run->metrics) != 0)
        lj_warn("%s/metrics.jsonl cannot be written: %s", run->dir, strerror(errno));
    lj_tensorboard_end(run->tensorboard);
}

void lj_run_log_step(struct lj_run_state *run, int64_t finished,
                     const struct lj_step_report *report)
{
    double rate = samples_per_s(run);
    begin_line(run, finished);
    for (int i = 0; i < lj_objective_terms(run->info.objective); i++)
        put_number(run, "train", run->info.objective->term[i].name, 17, report->term[i]);
    put_train(run, "collapse", lj_run_collapse(run, report));
    put_train(run, "lr", report->lr);
    put_train(run, "grad_norm", report->grad_norm);
    put_train(run, "samples_per_s", rate);
    put_train(run, "views_per_s", rate * (double)(run->info.views[0] + run->info.views[1]));
    if (run->config->views_redraw > 0)
        put_train(run, "redraws", (double)run->redraws.step / views_per_step(run));
    if (report->nonfinite > 0)
        fprintf(run->metrics, ", \"skipped\": true");
    end_line(run);
}

/* Writes mean and covariance in a few members, whose names begin with prefix.
 *   has_scale  in  false: without those that twice as long rows would change */
static void put_spectrum(struct lj_run_state *run, const char *prefix, const struct lj_spectrum *s,
                         bool has_scale)
{
    enum { RATIOS = 4 }; /* the first ones */
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
    for (size_t i = 0; i < (has_scale ? sizeof member / sizeof *member : RATIOS); i++) {
        snprintf(name, sizeof name, "%s%s", prefix, member[i].name);
        put_eval(run, name, member[i].value);
    }
}

static void put_projections(struct lj_run_state *run, const struct lj_run_scores *scores)
{
    put_spectrum(run, "proj_", &scores->projections, scores->sees_lengths);
    put_eval(run, "alignment", scores->alignment);
    if (!scores->sees_lengths)
        return;
    put_eval(run, "sigreg", scores->sigreg);
    put_eval(run, "sigreg_floor", scores->sigreg_floor);
    put_eval(run, "sigreg_samples", (double)scores->samples);
}

void lj_run_log_evaluation(struct lj_run_state *run, int64_t finished,
                           const struct lj_run_scores *scores)
{
    begin_line(run, finished);
    fprintf(run->metrics, ", \"event\": \"evaluation\"");
    if (run->info.averages)
        fprintf(run->metrics, ", \"weights\": \"average\"");
    if (scores->has_labels) {
        put_eval(run, "knn_top1", scores->knn.top1);
        put_eval(run, "knn_balanced", scores->knn.balanced);
        put_eval(run, "linear_top1", scores->linear.top1);
        put_eval(run, "linear_balanced", scores->linear.balanced);
    }
    if (scores->has_labels && scores->classifies) {
        put_eval(run, "supervised_top1", scores->supervised.top1);
        put_eval(run, "supervised_balanced", scores->supervised.balanced);
    }
    put_spectrum(run, "", &scores->embeddings, true);
    if (!scores->classifies)
        put_projections(run, scores);
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
