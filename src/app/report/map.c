/* SPDX-License-Identifier: Apache-2.0 */
/* Where rows lie on the first two principal axes. */
#include "app/report/report.h"
#include "app/report/sample.h"

enum { MAP_CLASSES = 10 }; /* with a colour of their own */

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

static void list_map(struct lj_report *report, const struct lj_report_sample *s)
{
    static const char *const heading[] = {"class", "rows", "mean x", "mean y"};
    lj_table_begin(report, "Table: where the classes are (all rows: map-*.tsv)", false, heading, 4);
    for (int64_t class = -1; class < lj_min_i64(s->classes, 1000); class ++) {
        double sum[2] = {0, 0}, place[2];
        int64_t rows = 0;
        char number[32];
        for (int64_t r = 0; r < s->rows; r++)
            if (s->label[r] == class) {
                lj_principal_place(&s->principal, s->x + r * s->width, 2, place);
                sum[0] += place[0];
                sum[1] += place[1];
                rows++;
            }
        if (rows == 0)
            continue;
        snprintf(number, sizeof number, "%lld", (long long)class);
        lj_row_begin(report, class < 0 ? "no label" : number);
        lj_cell_integer(report, rows);
        lj_cell_number(report, sum[0] / (double)rows);
        lj_cell_number(report, sum[1] / (double)rows);
    }
    lj_table_end(report);
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
    if (s->classes > 1)
        lj_text_add(&figure.script,
                    "plot for [class=0:%lld] '%s.tsv' skip 1 using 1:($3==class ? $2 : NaN) "
                    "with points pointtype 7 pointsize 0.4 linecolor class+1 title ''.class, \\\n"
                    "     '%s.tsv' skip 1 using 1:($3<0 || $3>%lld ? $2 : NaN) with points "
                    "pointtype 7 pointsize 0.2 linecolor '#999999' title 'other'\n",
                    (long long)lj_min_i64(s->classes, MAP_CLASSES) - 1, name, name,
                    (long long)lj_min_i64(s->classes, MAP_CLASSES) - 1);
    else
        lj_text_add(&figure.script,
                    "plot '%s.tsv' skip 1 using 1:2 with points pointtype 7 pointsize 0.4 "
                    "notitle\n",
                    name);
    snprintf(
        caption, sizeof caption,
        "Each point is a row, on the first two principal axes (PCA), which hold %.0f %% of the "
        "variance%s.",
        sum > 0 ? 100 * (first + second) / sum : 0, s->classes > 1 ? "; colours are labels" : "");
    LJ_TRY(lj_figure_draw(report, &figure, caption));
    list_map(report, s);
    lj_figure_end(report);
    return LJ_OK;
}
