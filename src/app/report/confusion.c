/* SPDX-License-Identifier: Apache-2.0 */
/* Which classes neighbours tell of the rows of a class. */
#include "app/report/report.h"
#include "app/report/sample.h"

enum { CLASSES = 40 }; /* with more it is no picture, and no table to read */

/* count  (classes, classes) out: rows of a class, by what the neighbours tell */
static void count_confusion(const struct lj_report_sample *s, int64_t *count)
{
    for (int64_t r = 0; r < s->rows; r++)
        if (s->label[r] >= 0 && s->predicted[r] >= 0)
            count[s->label[r] * s->classes + s->predicted[r]]++;
}

static int write_confusion(const struct lj_report *report, const char *name, const int64_t *count,
                           int64_t classes)
{
    struct lj_text table = {0};
    for (int64_t i = 0; i < classes; i++)
        for (int64_t j = 0; j < classes; j++)
            lj_text_add(&table, "%lld%s", (long long)count[i * classes + j],
                        j + 1 < classes ? "\t" : "\n");
    return lj_report_write_table(report, name, &table);
}

static void list_confusion(struct lj_report *report, const int64_t *count, int64_t classes)
{
    char number[CLASSES + 1][32];
    const char *heading[CLASSES + 1] = {"class"};
    for (int64_t j = 0; j < classes; j++) {
        snprintf(number[j], sizeof number[j], "%lld", (long long)j);
        heading[j + 1] = number[j];
    }
    lj_table_begin(report, "Table: rows by class, and by the class that neighbours tell (columns)",
                   false, heading, (int)classes + 1);
    for (int64_t i = 0; i < classes; i++) {
        lj_row_begin(report, number[i]);
        for (int64_t j = 0; j < classes; j++)
            lj_cell_integer(report, count[i * classes + j]);
    }
    lj_table_end(report);
}

static int draw_confusion(struct lj_report *report, int run, const int64_t *count)
{
    int64_t classes = report->run[run].sample->classes, right = 0, all = 0;
    struct lj_figure figure;
    char name[64], caption[256];
    for (int64_t i = 0; i < classes * classes; i++) {
        all += count[i];
        right += i % (classes + 1) == 0 ? count[i] : 0;
    }
    LJ_TRY(write_confusion(report, lj_report_name(name, "confusion", run), count, classes));
    lj_figure_begin(&figure, name, "confusion of classes");
    lj_text_add(&figure.script,
                "set palette defined (0 '#f7f7f7', 1 '#0072b2')\nset cbrange [0:*]\n"
                "set size ratio -1\nset xrange [-0.5:%lld.5]\nset yrange [%lld.5:-0.5]\n"
                "set xlabel 'class that neighbours tell'\nset ylabel 'class'\nunset key\n"
                "unset grid\nplot '%s.tsv' matrix with image pixels\n",
                (long long)classes - 1, (long long)classes - 1, name);
    snprintf(caption, sizeof caption,
             "Rows by their class and by the class that their %d nearest neighbours tell, of all "
             "other rows of this sample: %.4g of %lld rows are told right.",
             LJ_KNN_NEIGHBOURS, all ? (double)right / (double)all : 0, (long long)all);
    LJ_TRY(lj_figure_draw(report, &figure, caption));
    list_confusion(report, count, classes);
    lj_figure_end(report);
    return LJ_OK;
}

int lj_report_confusion(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = report->run[run].sample;
    if (s->classes < 2)
        return LJ_OK;
    if (s->classes > CLASSES) {
        lj_text_add(&report->page,
                    "<p>No confusion matrix: %lld classes are more than the %d of one.</p>\n",
                    (long long)s->classes, CLASSES);
        return LJ_OK;
    }
    int64_t *count = lj_alloc_array(s->classes * s->classes, sizeof *count, "report");
    if (!count)
        return LJ_ERR_RESOURCE;
    count_confusion(s, count);
    int status = draw_confusion(report, run, count);
    lj_free(count);
    return status;
}
