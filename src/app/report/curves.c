/* SPDX-License-Identifier: Apache-2.0 */
/* Curves over the steps: what metrics.jsonl has, a figure for each quantity, a line for each run.
 * The tables beside the page are the runs' histories, steps-K.tsv and evaluations-K.tsv of the K-th
 * run, with all columns and all digits. */
#include "app/report/report.h"

#include <string.h>

enum {
    POINTS = 2000, /* of a line, about; more are not seen and make pictures large */
    LISTED = 40    /* rows of a run in the page's table, about */
};

/* A kind of lines: of steps or of evaluations. */
struct kind {
    const char *name; /* of its files */
    bool evaluations;
};
static const struct kind kinds[] = {{"steps", false}, {"evaluations", true}};

/* Words for columns. Any other column of steps is a term of the objective. */
struct words {
    const char *column, *title, *caption;
};
static const struct words of_steps[] = {
    {"loss", "loss", "The loss of training, which the optimiser lowers."},
    {"pred", "prediction loss",
     "Squared distance between the projections of a sample's views and their centre."},
    {"sigreg", "SIGReg",
     "How far the projections are from an isotropic Gaussian, on random slices. A plateau above "
     "the floor of a Gaussian is normal."},
    {"top1", "accuracy in training",
     "Share of the views of a step whose class the classifier tells."},
    {"positive", "cosine of positives", "Mean cosine of two views of a sample."},
    {"negative", "cosine of negatives", "Mean cosine of views of two samples."},
    {"collapse", "collapse", "Near 1 all projections are one point, and nothing is learnt."},
    {"lr", "learning rate", "The schedule of the learning rate."},
    {"grad_norm", "norm of the gradient", "Before clipping, if there is any."},
    {"redraws", "crops drawn again", "How often a view's crop was drawn again (views.redraw)."},
    {"samples_per_s", "samples/s", "Speed since the start of the job."},
    {NULL, NULL, NULL}};
static const struct words of_evaluations[] = {
    {"knn_top1", "kNN accuracy",
     "Share of the evaluated rows whose class the 20 nearest rows tell."},
    {"linear_top1", "accuracy of the linear probe",
     "Share of the evaluated rows whose class a linear map of the embedding tells."},
    {"supervised_top1", "accuracy of the trained classifier",
     "Share of the evaluated rows whose class the classifier of objective=supervised tells."},
    {"effective_rank", "effective rank of embeddings",
     "How many directions the embeddings use: exp of the entropy of the covariance's eigenvalues."},
    {"proj_effective_rank", "effective rank of projections",
     "The same of the projections, which LeJEPA drives towards all of them."},
    {"alignment", "alignment of views",
     "Share of the projections' variance between views of one sample; 0: its views agree."},
    {"sigreg", "SIGReg of the evaluated rows",
     "How far projections of rows that are evaluated are from an isotropic Gaussian."},
    {NULL, NULL, NULL}};
/* Columns that are no quantity of their own; views_per_s is samples_per_s times a constant. */
static const char *const not_drawn[] = {"step", "epoch", "views_per_s", "skipped", NULL};

static const struct lj_history *history_of(const struct lj_report *report, const struct kind *kind,
                                           int run)
{
    const struct lj_report_run *r = &report->run[run];
    return kind->evaluations ? &r->evaluations : &r->steps;
}

static int write_histories(const struct lj_report *report, const struct kind *kind, int run)
{
    const struct lj_history *h = history_of(report, kind, run);
    struct lj_text table = {0};
    char name[64];
    for (int i = 0; i < h->columns; i++)
        lj_text_add(&table, "%s%s", i ? "\t" : "", h->name[i]);
    lj_text_add(&table, "\n");
    for (int64_t row = 0; row < h->rows; row++)
        for (int i = 0; i < h->columns; i++)
            lj_text_add(&table, "%.17g%s", lj_history_value(h, row, i),
                        i + 1 < h->columns ? "\t" : "\n");
    snprintf(name, sizeof name, "%s-%d", kind->name, run + 1);
    int status = lj_report_write_file(report, name, ".tsv", &table);
    lj_text_free(&table);
    return status;
}

/* A row for about `listed` of the history's, the last among them. */
static void list_run(struct lj_report *report, const struct lj_history *h, const char *run,
                     int column)
{
    int64_t apart = lj_max_i64(h->rows / LISTED, 1);
    for (int64_t row = (h->rows - 1) % apart; row < h->rows; row += apart) {
        lj_row_begin(report, run);
        lj_cell_number(report, lj_history_value(h, row, lj_history_column(h, "step")));
        lj_cell_number(report, lj_history_value(h, row, column));
    }
}

static void list(struct lj_report *report, const struct kind *kind, const char *column,
                 const char *title)
{
    const char *const heading[] = {"run", "step", title};
    char summary[256];
    snprintf(summary, sizeof summary, "Table: %s (all of it: column %s of %s-*.tsv)", title, column,
             kind->name);
    lj_table_begin(report, summary, false, heading, 3);
    for (int run = 0; run < report->runs; run++) {
        const struct lj_history *h = history_of(report, kind, run);
        int at = lj_history_column(h, column);
        if (at >= 0)
            list_run(report, h, report->run[run].name, at);
    }
    lj_table_end(report);
}

/* A figure of one column, a line for each run that has it. */
static int draw_column(struct lj_report *report, const struct kind *kind, const char *column,
                       const struct words *words)
{
    struct lj_figure figure;
    char name[128];
    const char *separator = "plot ";
    snprintf(name, sizeof name, "%s-%s", kind->name, column);
    lj_figure_begin(&figure, name, words->title);
    lj_text_add(&figure.script, "set xlabel 'step'\nset format y '%%.4g'\n");
    for (int run = 0; run < report->runs; run++) {
        const struct lj_history *h = history_of(report, kind, run);
        int at = lj_history_column(h, column);
        if (at < 0)
            continue;
        int64_t every = h->rows / POINTS + 1;
        lj_text_add(
            &figure.script, "%s'%s-%d.tsv' skip 1 every %lld::%lld using %d:%d with %s title ",
            separator, kind->name, run + 1, (long long)every,
            (long long)((h->rows - 1) % every), /* the newest is there */
            lj_history_column(h, "step") + 1, at + 1, h->rows < LISTED ? "linespoints" : "lines");
        lj_text_quoted(&figure.script, report->run[run].name);
        separator = ", \\\n     ";
    }
    lj_text_add(&figure.script, "\n");
    LJ_TRY(lj_figure_draw(report, &figure, words->caption));
    list(report, kind, column, words->title);
    lj_figure_end(report);
    return LJ_OK;
}

/* ---- which columns ------------------------------------------------------------------------- */

static const struct words *words_for(const char *column, const struct words *words)
{
    for (; words->column; words++)
        if (strcmp(column, words->column) == 0)
            return words;
    return NULL;
}

/* Has an earlier run the column, so that it is drawn? */
static bool had_before(const struct lj_report *report, const struct kind *kind, int run,
                       const char *column)
{
    while (--run >= 0)
        if (lj_history_column(history_of(report, kind, run), column) >= 0)
            return true;
    return false;
}

static int draw_columns(struct lj_report *report, const struct kind *kind, int run)
{
    const struct lj_history *h = history_of(report, kind, run);
    for (int i = 0; i < h->columns; i++) {
        const char *column = h->name[i];
        const struct words other = {column, column, "A term of the objective."};
        const struct words *words =
            words_for(column, kind->evaluations ? of_evaluations : of_steps);
        if (!words && !kind->evaluations)
            words = &other;
        if (words && !lj_is_one_of(column, not_drawn) && !had_before(report, kind, run, column))
            LJ_TRY(draw_column(report, kind, column, words));
    }
    return LJ_OK;
}

int lj_report_curves(struct lj_report *report)
{
    static const char *const titles[] = {"Training", "Evaluations"};
    for (int k = 0; k < 2; k++) {
        lj_text_add(&report->page, "<h2>%s</h2>\n<div class=\"figures\">\n", titles[k]);
        int64_t rows = 0;
        for (int run = 0; run < report->runs; run++) {
            rows += history_of(report, &kinds[k], run)->rows;
            LJ_TRY(write_histories(report, &kinds[k], run));
        }
        for (int run = 0; run < report->runs; run++)
            LJ_TRY(draw_columns(report, &kinds[k], run));
        lj_text_add(&report->page, "</div>\n");
        if (rows == 0)
            lj_text_add(&report->page, kinds[k].evaluations
                                           ? "<p>No evaluations (<code>eval.every</code>).</p>\n"
                                           : "<p>No step is logged yet.</p>\n");
    }
    return LJ_OK;
}
