/* SPDX-License-Identifier: Apache-2.0 */
/* Where rows lie on the first two principal axes. */
#include "app/report/report.h"
#include "app/report/sample.h"

enum { MAP_CLASSES = 10 }; /* with a colour of their own */

/* Index of a label among the classes; -1: it is none. */
static int64_t class_of(const struct lj_confusion *c, int32_t label)
{
    for (int64_t i = 0; c->label && i < c->classes; i++)
        if (c->label[i] == label)
            return i;
    return -1;
}

static int write_map(const struct lj_report *report, const struct lj_report_sample *s,
                     const char *name)
{
    struct lj_text table = {0};
    lj_text_add(&table, "x\ty\tlabel\trow\n");
    for (int64_t r = 0; r < s->rows; r++) {
        double place[2];
        lj_principal_place(&s->principal, s->x + r * s->width, 2, place);
        lj_text_add(&table, "%.9g\t%.9g\t%d\t%lld\n", place[0], place[1], s->label[r],
                    (long long)s->row[r]);
    }
    return lj_report_write_table(report, name, &table);
}

/* A row of the table: those of a class, or with class -1 all whose label is no class of the
 * confusion matrix. */
static void list_class(struct lj_report *report, const struct lj_report_sample *s, int64_t class)
{
    const struct lj_confusion *c = &s->confusion;
    double sum[2] = {0, 0}, place[2];
    int64_t rows = 0;
    char name[32] = "other, or no label";
    for (int64_t r = 0; r < s->rows; r++)
        if (class_of(c, s->label[r]) == class) {
            lj_principal_place(&s->principal, s->x + r * s->width, 2, place);
            sum[0] += place[0];
            sum[1] += place[1];
            rows++;
        }
    if (rows == 0)
        return;
    if (class >= 0)
        snprintf(name, sizeof name, "%d", c->label[class]);
    lj_row_begin(report, name);
    lj_cell_integer(report, rows);
    lj_cell_number(report, sum[0] / (double)rows);
    lj_cell_number(report, sum[1] / (double)rows);
}

static void list_map(struct lj_report *report, const struct lj_report_sample *s)
{
    static const char *const heading[] = {"class", "rows", "mean x", "mean y"};
    lj_table_begin(report, "Table: where the classes are (all rows: map-*.tsv)", false, heading, 4);
    for (int64_t class = 0; s->confusion.label && class < s->confusion.classes; class ++)
        list_class(report, s, class);
    list_class(report, s, -1);
    lj_table_end(report);
}

/* Points in a colour for each of the first classes, the others small and grey. */
static void plot_classes(struct lj_text *script, const struct lj_confusion *c, const char *name)
{
    int64_t shown = lj_min_i64(c->classes, MAP_CLASSES);
    lj_text_add(script, "labels = '");
    for (int64_t i = 0; i < shown; i++)
        lj_text_add(script, "%d ", c->label[i]);
    lj_text_add(script,
                "'\nplot for [i=1:%lld] '%s.tsv' skip 1 using 1:($3==int(word(labels,i)) ? $2 : "
                "NaN) with points pointtype 7 pointsize 0.4 linecolor i title word(labels,i), \\\n"
                "     '%s.tsv' skip 1 using 1:($3<0 || $3>%d ? $2 : NaN) with points pointtype 7 "
                "pointsize 0.2 linecolor '#999999' title 'other'\n",
                (long long)shown, name, name, c->label[shown - 1]);
}

int lj_report_map(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = report->run[run].sample;
    const struct lj_principal *p = &s->principal;
    struct lj_figure figure;
    char name[64], caption[256];
    double sum = 0, first = p->eigenvalue[0], second = p->width > 1 ? p->eigenvalue[1] : 0;
    for (int64_t i = 0; i < p->width; i++)
        sum += p->eigenvalue[i];
    LJ_TRY(write_map(report, s, lj_report_name(name, "map", run)));
    lj_figure_begin(&figure, name, "map of the embeddings");
    lj_text_add(&figure.script, "set xlabel 'first principal axis'\nset ylabel 'second'\n"
                                "set tics scale 0.5\n");
    bool classes = s->confusion.label && s->confusion.classes > 1;
    if (classes)
        plot_classes(&figure.script, &s->confusion, name);
    else
        lj_text_add(&figure.script,
                    "plot '%s.tsv' skip 1 using 1:2 with points pointtype 7 pointsize 0.4 "
                    "notitle\n",
                    name);
    snprintf(
        caption, sizeof caption,
        "Each point is a row, on the first two principal axes (PCA), which hold %.0f %% of the "
        "variance%s.",
        sum > 0 ? 100 * (first + second) / sum : 0, classes ? "; colours are labels" : "");
    LJ_TRY(lj_figure_draw(report, &figure, caption));
    list_map(report, s);
    lj_figure_end(report);
    return LJ_OK;
}
