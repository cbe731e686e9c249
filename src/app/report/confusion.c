/* SPDX-License-Identifier: Apache-2.0 */
/* Which classes are taken for which by a vote of the nearest neighbours. */
#include "app/report/report.h"
#include "app/report/sample.h"

enum { CLASSES = 40 }; /* with more it is no picture, and no table to read */

static int write_confusion(const struct lj_report *report, const char *name,
                           const struct lj_confusion *c)
{
    struct lj_text table = {0};
    for (int64_t i = 0; i < c->classes; i++)
        for (int64_t j = 0; j < c->classes; j++)
            lj_text_add(&table, "%lld%s", (long long)c->rows[i * c->classes + j],
                        j + 1 < c->classes ? "\t" : "\n");
    return lj_report_write_table(report, name, &table);
}

static void list_confusion(struct lj_report *report, const struct lj_confusion *c)
{
    char number[CLASSES + 1][32];
    const char *heading[CLASSES + 1] = {"class"};
    for (int64_t j = 0; j < c->classes; j++) {
        snprintf(number[j], sizeof number[j], "%d", c->label[j]);
        heading[j + 1] = number[j];
    }
    lj_table_begin(report, "Table: rows by class and by predicted class (columns)", false, heading,
                   (int)c->classes + 1);
    for (int64_t i = 0; i < c->classes; i++) {
        lj_row_begin(report, number[i]);
        for (int64_t j = 0; j < c->classes; j++)
            lj_cell_integer(report, c->rows[i * c->classes + j]);
    }
    lj_table_end(report);
}

static int draw_confusion(struct lj_report *report, int run, const struct lj_confusion *c)
{
    int64_t classes = c->classes, right = 0, all = 0;
    struct lj_figure figure;
    char name[64], caption[256];
    for (int64_t i = 0; i < classes * classes; i++) {
        all += c->rows[i];
        right += i % (classes + 1) == 0 ? c->rows[i] : 0;
    }
    LJ_TRY(write_confusion(report, lj_report_name(name, "confusion", run), c));
    lj_figure_begin(&figure, name, "confusion of classes");
    lj_text_add(
        &figure.script,
        "set palette defined (0 '#f7f7f7', 1 '#0072b2')\nset cbrange [0:*]\n"
        "set size ratio -1\nset xrange [-0.5:%lld.5]\nset yrange [%lld.5:-0.5]\n"
        "set xlabel 'class predicted by the nearest neighbours'\nset ylabel 'class'\nunset key\n"
        "unset grid\nplot '%s.tsv' matrix with image pixels\n",
        (long long)classes - 1, (long long)classes - 1, name);
    snprintf(
        caption, sizeof caption,
        "Rows by their class and by the class that a vote of their %d nearest neighbours among "
        "the other rows of this sample predicts: right for %.4g of %lld rows.",
        LJ_KNN_NEIGHBOURS, all ? (double)right / (double)all : 0, (long long)all);
    LJ_TRY(lj_figure_draw(report, &figure, caption));
    list_confusion(report, c);
    lj_figure_end(report);
    return LJ_OK;
}

int lj_report_confusion(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = report->run[run].sample;
    const struct lj_confusion *c = &s->confusion;
    if (c->classes < 2)
        return LJ_OK;
    if (c->classes <= CLASSES)
        return draw_confusion(report, run, c);
    lj_text_add(&report->page,
                "<p>No confusion matrix: %lld classes are more than the %d of one.</p>\n",
                (long long)c->classes, CLASSES);
    return LJ_OK;
}
