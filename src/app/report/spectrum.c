/* SPDX-License-Identifier: Apache-2.0 */
/* Along how many directions do embeddings vary, and which features say the same? */
#include "app/report/report.h"
#include "app/report/sample.h"

#include <math.h>

enum {
    FEATURES = 48, /* of the picture of the covariance */
    LISTED = 40    /* eigenvalues of a run in the table */
};

static void list_spectra(struct lj_report *report)
{
    static const char *const heading[] = {"run", "eigenvalue", "value", "share of the sum"};
    lj_table_begin(report, "Table: eigenvalues (all of them: spectrum-*.tsv)", false, heading, 4);
    for (int run = 0; run < report->runs; run++) {
        if (!lj_report_has_rows(report->run[run].sample))
            continue;
        const struct lj_principal *p = &report->run[run].sample->principal;
        double sum = 0;
        for (int64_t i = 0; i < p->width; i++)
            sum += p->eigenvalue[i];
        for (int64_t i = 0; i < p->width; i += lj_max_i64(p->width / LISTED, 1)) {
            lj_row_begin(report, report->run[run].name);
            lj_cell_integer(report, i + 1);
            lj_cell_number(report, p->eigenvalue[i]);
            lj_cell_number(report, p->eigenvalue[i] / sum);
        }
    }
    lj_table_end(report);
}

int lj_report_spectra(struct lj_report *report)
{
    struct lj_figure figure;
    char name[64];
    const char *separator = "plot ";
    lj_figure_begin(&figure, "spectrum", "spectrum of the embeddings");
    lj_text_add(&figure.script,
                "set logscale y\nset format y '10^{%%T}'\nset xlabel 'eigenvalue, in order' \n"
                "set termoption enhanced\n");
    for (int run = 0; run < report->runs; run++) {
        if (!lj_report_has_rows(report->run[run].sample))
            continue;
        const struct lj_principal *p = &report->run[run].sample->principal;
        struct lj_text table = {0};
        lj_text_add(&table, "index\teigenvalue\n");
        for (int64_t i = 0; i < p->width; i++)
            lj_text_add(&table, "%lld\t%.17g\n", (long long)i + 1, p->eigenvalue[i]);
        int status = lj_report_write_table(report, lj_report_name(name, "spectrum", run), &table);
        if (status != LJ_OK) {
            lj_text_free(&figure.script);
            return status;
        }
        lj_text_add(&figure.script, "%s'%s.tsv' skip 1 using 1:2 with lines title ", separator,
                    name);
        lj_text_quoted(&figure.script, report->run[run].name);
        lj_text_add(&figure.script, " noenhanced");
        separator = ", \\\n     ";
    }
    lj_text_add(&figure.script, "\n");
    LJ_TRY(
        lj_figure_draw(report, &figure,
                       "Eigenvalues of the covariance, in descending order. Where the line falls "
                       "away, directions carry nothing."));
    list_spectra(report);
    lj_figure_end(report);
    return LJ_OK;
}

/* ---- covariance ------------------------------------------------------------------------------ */

static double correlation(const struct lj_principal *p, int64_t i, int64_t j)
{
    const double *c = p->covariance;
    double scale = sqrt(c[i * p->width + i] * c[j * p->width + j]);
    return scale > 0 ? c[i * p->width + j] / scale : 0;
}

/* A row for each feature shown: its variance, and the one that it goes with most. */
static void list_covariance(struct lj_report *report, const struct lj_principal *p, int64_t shown)
{
    static const char *const heading[] = {"feature", "variance", "most like feature",
                                          "correlation"};
    lj_table_begin(report, "Table: features and their strongest correlation", false, heading, 4);
    for (int64_t k = 0; k < shown; k++) {
        int64_t i = lj_evenly(k, shown, p->width), best = -1;
        char number[32];
        for (int64_t j = 0; j < p->width; j++)
            if (j != i && (best < 0 || fabs(correlation(p, i, j)) > fabs(correlation(p, i, best))))
                best = j;
        snprintf(number, sizeof number, "%lld", (long long)i);
        lj_row_begin(report, number);
        lj_cell_number(report, p->covariance[i * p->width + i]);
        lj_cell_integer(report, best);
        lj_cell_number(report, best < 0 ? NAN : correlation(p, i, best));
    }
    lj_table_end(report);
}

int lj_report_covariance(struct lj_report *report, int run)
{
    const struct lj_principal *p = &report->run[run].sample->principal;
    int64_t shown = lj_min_i64(FEATURES, p->width);
    struct lj_figure figure;
    struct lj_text table = {0};
    char name[64], caption[256];
    for (int64_t k = 0; k < shown; k++)
        for (int64_t l = 0; l < shown; l++)
            lj_text_add(
                &table, "%.9g%s",
                correlation(p, lj_evenly(k, shown, p->width), lj_evenly(l, shown, p->width)),
                l + 1 < shown ? "\t" : "\n");
    LJ_TRY(lj_report_write_table(report, lj_report_name(name, "covariance", run), &table));
    lj_figure_begin(&figure, name, "covariance of the embeddings");
    lj_text_add(&figure.script,
                "set palette defined (-1 '#0072b2', 0 '#f7f7f7', 1 '#d55e00')\n"
                "set cbrange [-1:1]\nset size ratio -1\nset yrange [*:*] reverse\n"
                "unset border\nunset tics\nset cbtics\nunset key\nunset grid\n"
                "plot '%s.tsv' matrix with image pixels\n",
                name);
    snprintf(caption, sizeof caption,
             "Covariances as correlations of %lld of the %lld features, spaced evenly. Colour off "
             "the diagonal: features that say the same.",
             (long long)shown, (long long)p->width);
    LJ_TRY(lj_figure_draw(report, &figure, caption));
    list_covariance(report, p, shown);
    lj_figure_end(report);
    return LJ_OK;
}
