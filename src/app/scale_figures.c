/* SPDX-License-Identifier: Apache-2.0 */
/* scale.csv, the figures, whose scripts all read it, and the page that shows them. */
#include "app/scale_report.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const columns =
    "mode,ranks,nodes,batch,step_s,step_s_low,step_s_high,samples_per_s,efficiency,efficiency_low,"
    "efficiency_high,exposed_s,exposed_share,bytes,messages,collectives,imbalance,setup_s,"
    "same_bits,predicted_s,predicted_efficiency,row\n";

static void add_prediction(struct lj_text *csv, const struct lj_scale_prediction *p,
                           const char *row)
{
    if (isfinite(p->step_s))
        lj_text_add(csv, "%.9g,%.9g,%s\n", p->step_s, p->efficiency, row);
    else
        lj_text_add(csv, ",,%s\n", row);
}

/* Rows that nobody measured have their own word in the last column. */
static void add_foreseen(struct lj_text *csv, const struct lj_scale *scale)
{
    for (int k = 0; k < scale->foreseen_count; k++) {
        const struct lj_scale_foreseen *f = &scale->foreseen[k];
        lj_text_add(csv, "%s,%d,%lld,%lld,,,,,,,,,,,,,,,,", f->strong ? "strong" : "weak", f->ranks,
                    (long long)f->nodes, (long long)f->batch);
        add_prediction(csv, &f->prediction, "prediction");
    }
}

int lj_scale_csv(const struct lj_scale_report *report)
{
    char path[LJ_PATH_MAX];
    struct lj_text csv = {0};
    lj_text_add(&csv, "%s", columns);
    for (int k = 0; k < report->scale.measured; k++) {
        const struct lj_scale_rung *r = &report->scale.rung[k];
        lj_text_add(&csv, "%s,%d,%lld,%lld,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,",
                    r->strong ? "strong" : "weak", r->ranks, (long long)r->nodes,
                    (long long)r->batch, r->step_s, r->step_s_low, r->step_s_high,
                    (double)r->batch / r->step_s, r->efficiency, r->efficiency_low,
                    r->efficiency_high);
        lj_text_add(&csv, "%.9g,%.9g,%lld,%lld,%lld,%.9g,%.9g,%s,", r->exposed_s, r->exposed_share,
                    (long long)r->bytes, (long long)r->messages, (long long)r->collectives,
                    r->imbalance, r->setup_s, r->same_bits ? "true" : "false");
        add_prediction(&csv, &r->prediction, "measured");
    }
    add_foreseen(&csv, &report->scale);
    snprintf(path, sizeof path, "%.4000s/scale.csv", report->config->arg_out);
    int status = lj_text_write(&csv, path);
    lj_text_free(&csv);
    return status;
}

/* One figure: a line for each mode. */
struct figure {
    const char *name, *title, *settings;
    const char *value; /* gnuplot's expression of columns, and how it is drawn */
    const char *caption;
    const char *column[6]; /* of the page's table, as lj_scale_page_rungs has them */
};

static const struct figure figures[] = {
    {"scale-step",
     "seconds of a step: median, least and largest repeat",
     "set yrange [0:*]\n",
     "(column('step_s')):(column('step_s_low')):(column('step_s_high')) with yerrorlines",
     "Seconds of a step: the median of the repeats, bars from the least to the largest. Dashed: "
     "the model's prediction.",
     {"batch", "step_s", "step_s_low", "step_s_high", "predicted_step_s", NULL}},
    {"scale-efficiency",
     "",
     "set yrange [0:1.2<*<2]\n",
     "(column('efficiency')):(column('efficiency_low')):(column('efficiency_high')) with "
     "yerrorlines",
     "Samples a second and rank, as a share of the baseline's; bars from the extremes of both. "
     "Dashed: the model's prediction.",
     {"batch", "efficiency", "efficiency_low", "efficiency_high", "predicted_efficiency", NULL}},
    {"scale-exposed",
     "communication and waiting of a rank, share of a step",
     "set yrange [0:1<*]\nset format y '%g %%'\n",
     "(100*column('exposed_share')) with linespoints",
     "What no arithmetic hides: the seconds in which a rank only communicates or waits for it, "
     "mean over ranks, as a share of the step.",
     {"exposed_s", "exposed_share", "predicted_exposed_s", NULL}},
    {"scale-bytes",
     "bytes of a rank in a step, sent or put into reductions",
     "set yrange [0:*]\nset format y '%.1s %cB'\n",
     "(column('bytes')) with linespoints",
     "Bytes that the busiest rank sends or puts into reductions.",
     {"bytes", "predicted_bytes", NULL}},
    {"scale-messages",
     "messages and collective calls of a rank in a step",
     "set yrange [0:*]\n",
     "(column('messages')+column('collectives')) with linespoints",
     "Messages to one other rank each, and calls in which MPI decides who sends what, added, on "
     "the rank that has most.",
     {"messages", "collectives", "predicted_messages", NULL}},
    {"scale-imbalance",
     "computing of the busiest rank, above the mean",
     "set yrange [0:1<*]\nset format y '%g %%'\n",
     "(100*column('imbalance')) with linespoints",
     "Seconds in which the busiest rank computes, above the mean of the ranks.",
     {"imbalance", NULL}},
};

/* The column that predicts what a figure shows; NULL: none does. */
static const char *predicted_column(const struct figure *f)
{
    if (strcmp(f->name, "scale-step") == 0)
        return "predicted_s";
    return strcmp(f->name, "scale-efficiency") == 0 ? "predicted_efficiency" : NULL;
}

/* The ranks at which there is a rung or, if they are drawn, a prediction, and room at both ends. */
static void add_ticks(struct lj_text *script, const struct lj_scale *scale, bool predicted)
{
    int last = scale->ladder[scale->counts - 1];
    for (int k = 0; k < scale->foreseen_count && predicted; k++)
        last = scale->foreseen[k].ranks > last ? scale->foreseen[k].ranks : last;
    lj_text_add(script, "set xrange [%g:%g]\nset xtics (", 0.85 * scale->ladder[0], last / 0.85);
    for (int i = 0; i < scale->counts; i++)
        lj_text_add(script, "%s%d", i ? ", " : "", scale->ladder[i]);
    for (int k = 0; k < scale->foreseen_count && predicted; k++)
        if (scale->foreseen[k].strong == scale->foreseen[0].strong)
            lj_text_add(script, ", %d", scale->foreseen[k].ranks);
    lj_text_add(script, ")\n");
}

static bool has_mode(const struct lj_scale *scale, bool strong)
{
    for (int k = 0; k < scale->measured; k++)
        if (scale->rung[k].strong == strong)
            return true;
    return false;
}

/* What a model says, dashed: beside the measured rungs, and alone where predict= asks for it. */
static void add_predicted(struct lj_text *script, const char *mode, const char *column)
{
    lj_text_add(script,
                ", \\\n     'scale.csv' using (strcol('mode') eq '%s' ? column('ranks') : NaN):"
                "(column('%s')) with linespoints dashtype 2 title '%s, prediction'",
                mode, column, mode);
}

/* Lines of the two modes lie side by side, so that both intervals are seen. */
static void add_plot(struct lj_text *script, const struct lj_scale *scale, const struct figure *f)
{
    const char *separator = "plot ", *predicted = predicted_column(f);
    for (int strong = 1; strong >= 0; strong--) {
        const char *mode = strong ? "strong" : "weak";
        if (!has_mode(scale, strong))
            continue;
        lj_text_add(script,
                    "%s'scale.csv' using (strcol('mode') eq '%s' ? %s*column('ranks') : NaN):%s "
                    "title '%s'",
                    separator, mode, strong ? "0.99" : "1.01", f->value, mode);
        if (predicted && isfinite(scale->rung[scale->measured - 1].prediction.step_s))
            add_predicted(script, mode, predicted);
        separator = ", \\\n     ";
    }
    lj_text_add(script, "\n");
}

/* A figure, in the page with its table. */
static int draw(struct lj_report *page, const struct lj_scale *scale, const json_t *object,
                const struct figure *f)
{
    struct lj_figure figure;
    char title[128], summary[160];
    snprintf(title, sizeof title, "%s", f->title);
    if (!title[0])
        snprintf(title, sizeof title, "efficiency, compared with %d rank%s, and its interval",
                 scale->ladder[0], scale->ladder[0] == 1 ? "" : "s");
    lj_figure_begin(&figure, f->name, title);
    lj_text_add(&figure.script,
                "set object rectangle from screen 0,0 to screen 1,1 fillcolor '#ffffff' fillstyle "
                "solid noborder behind\nset datafile separator comma\nset datafile "
                "columnheaders\nset logscale x 2\n"
                "set xlabel 'ranks'\n%s",
                f->settings);
    add_ticks(&figure.script, scale, predicted_column(f) != NULL);
    add_plot(&figure.script, scale, f);
    LJ_TRY(lj_figure_draw(page, &figure, f->caption));
    snprintf(summary, sizeof summary, "Table: %s", title);
    lj_scale_page_rungs(page, object, summary, false, f->column);
    lj_figure_end(page);
    return LJ_OK;
}

static int make_page(struct lj_report *page, const struct lj_scale *scale, const json_t *object)
{
    lj_scale_page_head(page, object);
    lj_text_add(&page->page, "<div class=\"figures\">\n");
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        LJ_TRY(draw(page, scale, object, &figures[i]));
    lj_text_add(&page->page, "</div>\n");
    lj_scale_page_rest(page, object);
    return lj_page_end(page);
}

int lj_scale_figures(const struct lj_scale_report *report, const json_t *object)
{
    static struct lj_report page; /* too large for the stack */
    char log[LJ_PATH_MAX];
    struct stat of_log;
    snprintf(log, sizeof log, "%.4000s/gnuplot.log", report->config->arg_out);
    unlink(log);
    snprintf(page.path, sizeof page.path, "%.4000s/scale.html", report->config->arg_out);
    snprintf(page.folder, sizeof page.folder, "%.4000s", report->config->arg_out);
    page.folder_name = ".";
    LJ_TRY(lj_scale_csv(report));
    int status = make_page(&page, &report->scale, object);
    lj_text_free(&page.page);
    LJ_TRY(status);
    if (stat(log, &of_log) == 0 && of_log.st_size == 0) /* gnuplot had nothing to say */
        unlink(log);
    lj_say("%s: scale.html, scale.json, scale.csv, figures: %d, drawn: %d", page.folder,
           page.figures, page.drawn);
    return LJ_OK;
}
