/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as images: with their nearest neighbours, and with colours for what the encoder says of
 * their parts. */
#include "app/report/report.h"
#include "app/report/sample.h"

#include <math.h>

static void label_cell(struct lj_report *report, int32_t label)
{
    lj_cell_number(report, label < 0 ? NAN : (double)label);
}

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
            lj_cell_integer(report, place);
            lj_cell_integer(report, s->row[other]);
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

int lj_report_neighbours(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = report->run[run].sample;
    char name[64];
    LJ_TRY(show_picture(report, lj_report_name(name, "neighbours", run), &s->neighbours,
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
    return lj_report_write_table(report, name, &table);
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

int lj_report_tokens(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = report->run[run].sample;
    char name[64];
    if (!s->colour)
        return LJ_OK;
    LJ_TRY(write_tokens(report, s, lj_report_name(name, "tokens", run)));
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

/* ---- attention ------------------------------------------------------------------------------- */

static int write_attention(const struct lj_report *report, const struct lj_report_sample *s,
                           const char *name)
{
    struct lj_text table = {0};
    int64_t patches = s->grid[0] * s->grid[1];
    lj_text_add(&table, "row\ty\tx");
    for (int64_t h = 0; h < s->heads; h++)
        lj_text_add(&table, "\thead %lld", (long long)h + 1);
    for (int64_t t = 0; t < s->shown * patches; t++) {
        int64_t line = t / patches, patch = t % patches;
        lj_text_add(&table, "\n%lld\t%lld\t%lld", (long long)s->row[lj_report_shown(s, line, 0)],
                    (long long)(patch / s->grid[1]), (long long)(patch % s->grid[1]));
        for (int64_t h = 0; h < s->heads; h++)
            lj_text_add(&table, "\t%.9g", s->attention[(line * s->heads + h) * patches + patch]);
    }
    lj_text_add(&table, "\n");
    return lj_report_write_table(report, name, &table);
}

/* A row for each image and head: what all patches have, and where the most is. */
static void list_attention(struct lj_report *report, const struct lj_report_sample *s)
{
    static const char *const heading[] = {"row", "head", "on patches", "largest", "y", "x"};
    int64_t patches = s->grid[0] * s->grid[1];
    lj_table_begin(report, "Table: attention by head (of each patch: attention-*.tsv)", false,
                   heading, 6);
    for (int64_t i = 0; i < s->shown * s->heads; i++) {
        const double *map = s->attention + i * patches;
        char number[32];
        double sum = 0;
        int64_t most = 0;
        for (int64_t patch = 0; patch < patches; patch++) {
            sum += map[patch];
            most = map[patch] > map[most] ? patch : most;
        }
        snprintf(number, sizeof number, "%lld",
                 (long long)s->row[lj_report_shown(s, i / s->heads, 0)]);
        lj_row_begin(report, number);
        lj_cell_integer(report, i % s->heads + 1);
        lj_cell_number(report, sum);
        lj_cell_number(report, map[most]);
        lj_cell_integer(report, most / s->grid[1]);
        lj_cell_integer(report, most % s->grid[1]);
    }
    lj_table_end(report);
}

int lj_report_attention(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = report->run[run].sample;
    char name[64];
    if (s->heads == 0)
        return LJ_OK;
    LJ_TRY(write_attention(report, s, lj_report_name(name, "attention", run)));
    LJ_TRY(show_picture(
        report, name, &s->maps,
        "Images, and below each what the heads of the last attention look at. The table below has "
        "their sums and largest weights.",
        s->by_class
            ? "Attention of the class token, which becomes the embedding, to the patches: a "
              "map for each head of the last block, at most 16. White is a head's largest "
              "weight. What is not on patches is on the class token itself and registers."
            : "Attention that patches receive from all patches on average: a map for each "
              "head of the last block, at most 16. White is a head's largest weight. The "
              "embedding is the mean over patches, so that no class token stands for it."));
    list_attention(report, s);
    lj_figure_end(report);
    return LJ_OK;
}
