/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest checkpoint's embeddings look like: spectrum, covariance, map, neighbours, and the
 * classes that neighbours tell. One part of the page for each run, one figure of all spectra. */
#include "app/report/report.h"
#include "app/report/sample.h"

#include <math.h>
#include <string.h>

enum {
    FEATURES = 48, /* of the covariance's picture */
    CLASSES = 40,  /* of the confusion matrix; with more it is no picture, and no table to read */
    MAP_CLASSES = 10,
    LISTED = 40
};

static const struct lj_report_sample *sample_of(const struct lj_report *report, int run)
{
    return report->run[run].sample;
}

static bool has_sample(const struct lj_report *report, int run)
{
    return sample_of(report, run) && sample_of(report, run)->rows > 0;
}

/* "NAME-K" of the K-th run. */
static const char *name_of(char name[64], const char *part, int run)
{
    snprintf(name, 64, "%s-%d", part, run + 1);
    return name;
}

/* Writes a table of the run and forgets it. */
static int write_table(const struct lj_report *report, const char *name, struct lj_text *table)
{
    int status = lj_report_write_file(report, name, ".tsv", table);
    lj_text_free(table);
    return status;
}

static void integer_cell(struct lj_report *report, int64_t value)
{
    lj_text_add(&report->page, "<td class=\"number\">%lld</td>", (long long)value);
}

static void label_cell(struct lj_report *report, int32_t label)
{
    lj_cell_number(report, label < 0 ? NAN : (double)label);
}

/* ---- spectrum: all runs ---------------------------------------------------------------------- */

static void list_spectra(struct lj_report *report)
{
    static const char *const heading[] = {"run", "eigenvalue", "value", "share of the sum"};
    lj_table_begin(report, "Table: eigenvalues (all of them: spectrum-*.tsv)", false, heading, 4);
    for (int run = 0; run < report->runs; run++) {
        if (!has_sample(report, run))
            continue;
        const struct lj_principal *p = &sample_of(report, run)->principal;
        double sum = 0;
        for (int64_t i = 0; i < p->width; i++)
            sum += p->eigenvalue[i];
        for (int64_t i = 0; i < p->width; i += lj_max_i64(p->width / LISTED, 1)) {
            lj_row_begin(report, report->run[run].name);
            integer_cell(report, i + 1);
            lj_cell_number(report, p->eigenvalue[i]);
            lj_cell_number(report, p->eigenvalue[i] / sum);
        }
    }
    lj_table_end(report);
}

static int spectra(struct lj_report *report)
{
    struct lj_figure figure;
    char name[64];
    const char *separator = "plot ";
    lj_figure_begin(&figure, "spectrum", "spectrum of the embeddings");
    lj_text_add(&figure.script,
                "set logscale y\nset format y '10^{%%T}'\nset xlabel 'eigenvalue, in order' \n"
                "set termoption enhanced\n");
    for (int run = 0; run < report->runs; run++) {
        if (!has_sample(report, run))
            continue;
        const struct lj_principal *p = &sample_of(report, run)->principal;
        struct lj_text table = {0};
        lj_text_add(&table, "index\teigenvalue\n");
        for (int64_t i = 0; i < p->width; i++)
            lj_text_add(&table, "%lld\t%.17g\n", (long long)i + 1, p->eigenvalue[i]);
        int status = write_table(report, name_of(name, "spectrum", run), &table);
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
        integer_cell(report, best);
        lj_cell_number(report, best < 0 ? NAN : correlation(p, i, best));
    }
    lj_table_end(report);
}

static int covariance(struct lj_report *report, int run)
{
    const struct lj_principal *p = &sample_of(report, run)->principal;
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
    LJ_TRY(write_table(report, name_of(name, "covariance", run), &table));
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

/* ---- map ------------------------------------------------------------------------------------- */

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
    return write_table(report, name, &table);
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
        integer_cell(report, rows);
        lj_cell_number(report, sum[0] / (double)rows);
        lj_cell_number(report, sum[1] / (double)rows);
    }
    lj_table_end(report);
}

static int map(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = sample_of(report, run);
    const struct lj_principal *p = &s->principal;
    struct lj_figure figure;
    char name[64], caption[256];
    double sum = 0, first = p->eigenvalue[0], second = p->width > 1 ? p->eigenvalue[1] : 0;
    for (int64_t i = 0; i < p->width; i++)
        sum += p->eigenvalue[i];
    LJ_TRY(write_map(report, s, name_of(name, "map", run)));
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

/* ---- neighbours ------------------------------------------------------------------------------ */

static void list_neighbours(struct lj_report *report, const struct lj_report_sample *s)
{
    static const char *const heading[] = {"row",       "label",       "neighbour",
                                          "row of it", "label of it", "cosine"};
    lj_table_begin(report, "Table: rows and their neighbours", false, heading, 6);
    for (int64_t k = 0; k < s->shown; k++)
        for (int place = 1; place < LJ_REPORT_PLACES; place++) {
            int64_t query = lj_report_shown(s, k, 0), other = lj_report_shown(s, k, place);
            char number[32];
            if (other < 0)
                continue;
            snprintf(number, sizeof number, "%lld", (long long)s->row[query]);
            lj_row_begin(report, number);
            label_cell(report, s->label[query]);
            integer_cell(report, place);
            integer_cell(report, s->row[other]);
            label_cell(report, s->label[other]);
            lj_cell_number(report, (double)s->similarity[query * LJ_KNN_NEIGHBOURS + place - 1]);
        }
    lj_table_end(report);
}

/* A figure that is a picture of images. Begins it as lj_figure_draw does. */
static int show_picture(struct lj_report *report, const char *name,
                        const struct lj_report_picture *picture, const char *alt,
                        const char *caption)
{
    char path[LJ_PATH_MAX + 80];
    struct lj_text *page = &report->page;
    snprintf(path, sizeof path, "%s/%s.png", report->folder, name);
    LJ_TRY(lj_png_write(path, picture->width, picture->height, picture->rgb));
    report->figures++;
    report->drawn++;
    lj_text_add(page, "<figure>\n<img class=\"photo\" width=\"%lld\" height=\"%lld\" src=\"",
                (long long)picture->width, (long long)picture->height);
    lj_text_url(page, report->folder_name);
    lj_text_add(page, "/%s.png\" alt=\"%s\">\n<figcaption>%s</figcaption>\n", name, alt, caption);
    return LJ_OK;
}

static int neighbours(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = sample_of(report, run);
    char name[64];
    LJ_TRY(show_picture(report, name_of(name, "neighbours", run), &s->neighbours,
                        "Images in rows: one, then its nearest neighbours. The table below names "
                        "them.",
                        "Nearest neighbours: each row begins with an image, and those whose "
                        "embeddings have the largest cosine with its follow."));
    list_neighbours(report, s);
    lj_figure_end(report);
    return LJ_OK;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static int write_tokens(const struct lj_report *report, const struct lj_report_sample *s,
                        const char *name)
{
    struct lj_text table = {0};
    int64_t tokens = s->grid[0] * s->grid[1];
    lj_text_add(&table, "row\ty\tx\tred\tgreen\tblue\n");
    for (int64_t t = 0; t < s->shown * tokens; t++)
        lj_text_add(&table, "%lld\t%lld\t%lld\t%.6g\t%.6g\t%.6g\n",
                    (long long)s->row[lj_report_shown(s, t / tokens, 0)],
                    (long long)(t % tokens / s->grid[1]), (long long)(t % s->grid[1]),
                    s->colour[3 * t], s->colour[3 * t + 1], s->colour[3 * t + 2]);
    return write_table(report, name, &table);
}

/* A row for each image: mean and spread of its colours. */
static void list_tokens(struct lj_report *report, const struct lj_report_sample *s)
{
    static const char *const heading[] = {"row",        "mean red",     "mean green", "mean blue",
                                          "spread red", "spread green", "spread blue"};
    int64_t tokens = s->grid[0] * s->grid[1];
    lj_table_begin(report, "Table: colours of the images (of each token: tokens-*.tsv)", false,
                   heading, 7);
    for (int64_t line = 0; line < s->shown; line++) {
        char number[32];
        double sum[3] = {0}, squares[3] = {0};
        for (int64_t e = 0; e < 3 * tokens; e++) {
            double value = s->colour[3 * line * tokens + e];
            sum[e % 3] += value / (double)tokens;
            squares[e % 3] += value * value / (double)tokens;
        }
        snprintf(number, sizeof number, "%lld", (long long)s->row[lj_report_shown(s, line, 0)]);
        lj_row_begin(report, number);
        for (int i = 0; i < 3; i++)
            lj_cell_number(report, sum[i]);
        for (int i = 0; i < 3; i++)
            lj_cell_number(report, sqrt(fmax(squares[i] - sum[i] * sum[i], 0)));
    }
    lj_table_end(report);
}

static int tokens(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = sample_of(report, run);
    char name[64];
    if (!s->colour)
        return LJ_OK;
    LJ_TRY(write_tokens(report, s, name_of(name, "tokens", run)));
    LJ_TRY(show_picture(report, name, &s->tokens,
                        "Images, and below each its tokens as colours. The table below has their "
                        "mean and spread.",
                        "What the encoder says of the parts of an image, before they become one "
                        "embedding: the first three principal axes of all tokens shown are red, "
                        "green and blue. Parts of one colour are alike to it."));
    list_tokens(report, s);
    lj_figure_end(report);
    return LJ_OK;
}

/* ---- confusion ------------------------------------------------------------------------------- */

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
    return write_table(report, name, &table);
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
            integer_cell(report, count[i * classes + j]);
    }
    lj_table_end(report);
}

static int draw_confusion(struct lj_report *report, int run, const int64_t *count)
{
    int64_t classes = sample_of(report, run)->classes, right = 0, all = 0;
    struct lj_figure figure;
    char name[64], caption[256];
    for (int64_t i = 0; i < classes * classes; i++) {
        all += count[i];
        right += i % (classes + 1) == 0 ? count[i] : 0;
    }
    LJ_TRY(write_confusion(report, name_of(name, "confusion", run), count, classes));
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

static int confusion(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = sample_of(report, run);
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

/* ---- the part -------------------------------------------------------------------------------- */

static void introduce(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = sample_of(report, run);
    struct lj_text *page = &report->page;
    lj_text_add(page, "<h3>");
    lj_text_html(page, report->run[run].name);
    lj_text_add(page, "</h3>\n<p>");
    if (s->rows > 0) {
        lj_text_add(page, "Checkpoint of step %lld, %lld rows, spaced evenly, of ",
                    (long long)s->step, (long long)s->rows);
        lj_text_html(page, s->archive);
    } else {
        lj_text_add(page, "No embeddings: ");
        lj_text_html(page, s->why);
    }
    lj_text_add(page, "</p>\n");
}

int lj_report_embeddings(struct lj_report *report)
{
    bool any = false;
    if (!report->run[0].sample)
        return LJ_OK;
    lj_text_add(&report->page, "<h2>Embeddings</h2>\n");
    for (int run = 0; run < report->runs; run++)
        any = any || has_sample(report, run);
    if (any) {
        lj_text_add(&report->page, "<div class=\"figures\">\n");
        LJ_TRY(spectra(report));
        lj_text_add(&report->page, "</div>\n");
    }
    for (int run = 0; run < report->runs; run++) {
        introduce(report, run);
        if (!has_sample(report, run))
            continue;
        lj_text_add(&report->page, "<div class=\"figures\">\n");
        LJ_TRY(map(report, run));
        LJ_TRY(covariance(report, run));
        LJ_TRY(lj_report_slices(report, run));
        LJ_TRY(tokens(report, run));
        LJ_TRY(neighbours(report, run));
        LJ_TRY(confusion(report, run));
        lj_text_add(&report->page, "</div>\n");
    }
    return LJ_OK;
}
