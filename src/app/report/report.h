/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. The page that the command report writes, and its parts; scale makes its page by
 * the same functions. A part of the page is a
 * file; each figure of it is a table beside the page (NAME.tsv), a script of gnuplot that draws it
 * (NAME.gp), the picture (NAME.svg), and the same numbers as a table in the page. All local: rank 0
 * reports. */
#ifndef LEJEPA_APP_REPORT_REPORT_H
#define LEJEPA_APP_REPORT_REPORT_H

#include "app/history.h"
#include "app/report/text.h"
#include "lejepa/config.h"

#include <jansson.h>

/* What a run left. */
struct lj_report_run {
    const char *dir;          /* as it was given; borrowed */
    const char *name;         /* in tables and figures: the end of dir, or all of it */
    struct lj_config *config; /* owned */
    struct lj_history steps, evaluations;
    int64_t skipped; /* lines of metrics.jsonl that were passed over */
    json_t *timing;  /* timing.json; NULL: there is none, since the run has not ended; owned */
    const struct lj_report_sample *sample; /* embeddings; NULL: none are wanted; borrowed */
};

struct lj_report_sample; /* of report/sample.h */

struct lj_report {
    struct lj_report_run *run; /* (runs) owned */
    int runs;
    char path[LJ_PATH_MAX];   /* of the page */
    char folder[LJ_PATH_MAX]; /* of the figures: the path without ".html" */
    const char *folder_name;  /* the last part of it, or ".": as the page sees it; borrowed */
    struct lj_text page;
    bool without_gnuplot; /* it cannot be started */
    int figures, drawn;
};

/* ---- figure.c: figures and tables of the page -------------------------------------------- */

/* A figure in the making. */
struct lj_figure {
    const char *name; /* of its files, without a suffix */
    const char *title;
    struct lj_text script;
};

/* The file of that name in the folder of the figures. Errors: LJ_ERR_RESOURCE. */
int lj_report_write_file(const struct lj_report *report, const char *name, const char *suffix,
                         const struct lj_text *text) LJ_MUST_USE;
/* "PART-K" of the K-th run, counted from 1. */
const char *lj_report_name(char name[64], const char *part, int run);
/* Writes NAME.tsv and frees the table. Errors: LJ_ERR_RESOURCE. */
int lj_report_write_table(const struct lj_report *report, const char *name,
                          struct lj_text *table) LJ_MUST_USE;
/* Begins a script: size, colours, title. What is added then ends with a plot command. */
void lj_figure_begin(struct lj_figure *figure, const char *name, const char *title);
/* Writes the script and runs gnuplot. Frees the script.
 *   report  in/out  of it, the folder, and what is known of gnuplot
 *   drawn   out     there is a picture; else a warning says why not
 * Errors: LJ_ERR_RESOURCE. */
int lj_figure_make(struct lj_report *report, struct lj_figure *figure, bool *drawn) LJ_MUST_USE;
/* Makes a figure and puts the picture into the page, inside an element that
 * lj_figure_end ends; tables of the same numbers come between. Frees the script.
 *   caption  in  what there is to see, plain text
 * A figure that cannot be drawn is warned about, and the page says so. Errors: LJ_ERR_RESOURCE. */
int lj_figure_draw(struct lj_report *report, struct lj_figure *figure,
                   const char *caption) LJ_MUST_USE;
void lj_figure_end(struct lj_report *report);

/* A table that the reader folds and unfolds: begin, rows, end.
 *   summary  in  plain text
 *   open     in  it is unfolded at first
 *   column   (columns) in  headings */
void lj_table_begin(struct lj_report *report, const char *summary, bool open,
                    const char *const *column, int columns);
void lj_table_end(struct lj_report *report);
/* Begins a row by its heading. HTML ends it by itself. */
void lj_row_begin(struct lj_report *report, const char *heading);
/* A cell of the row. A number that is not finite is a dash. */
void lj_cell_text(struct lj_report *report, const char *words);
void lj_cell_number(struct lj_report *report, double value);
void lj_cell_integer(struct lj_report *report, int64_t value);
/* Texts and numbers as above, yes or no; a dash for anything else, NULL too. */
void lj_cell_json(struct lj_report *report, const json_t *value);

/* ---- parts of the page, in its order; each returns LJ_OK or LJ_ERR_RESOURCE --------------- */

int lj_report_overview(struct lj_report *report) LJ_MUST_USE;
int lj_report_curves(struct lj_report *report) LJ_MUST_USE;
int lj_report_embeddings(struct lj_report *report) LJ_MUST_USE;
int lj_report_timing(struct lj_report *report) LJ_MUST_USE;
int lj_report_settings(struct lj_report *report) LJ_MUST_USE;

/* ---- figures of lj_report_embeddings, of a run that has rows. Errors: LJ_ERR_RESOURCE ------ */

int lj_report_spectra(struct lj_report *report) LJ_MUST_USE; /* of all runs */
int lj_report_map(struct lj_report *report, int run) LJ_MUST_USE;
int lj_report_covariance(struct lj_report *report, int run) LJ_MUST_USE;
int lj_report_slices(struct lj_report *report, int run) LJ_MUST_USE;
int lj_report_tokens(struct lj_report *report, int run) LJ_MUST_USE;
int lj_report_attention(struct lj_report *report, int run) LJ_MUST_USE;
int lj_report_neighbours(struct lj_report *report, int run) LJ_MUST_USE;
int lj_report_confusion(struct lj_report *report, int run) LJ_MUST_USE;

/* ---- page.c ------------------------------------------------------------------------------ */

/* Adds the head of a page, which loads nothing but the pictures beside it, up to its heading; title
 * and heading are plain text. */
void lj_page_begin(struct lj_text *page, const char *title, const char *heading);
/* Adds the end and writes the page to its path. Errors: LJ_ERR_RESOURCE. */
int lj_page_end(struct lj_report *report) LJ_MUST_USE;
/* Decides the name of the page and reads the runs.
 *   report      out  zero before; owned by the caller, also after a failure: lj_report_close
 *   dir, count  in   directories of runs, borrowed; those that cannot be read are warned of and
 *                    left out
 *   out         in   the page, NAME.html; "": report.html in the directory of the only run
 * Errors: LJ_ERR_CONFIG: the name of the page; LJ_ERR_DATA: there is no run; LJ_ERR_RESOURCE. */
int lj_report_open(struct lj_report *report, const char *const *dir, int count,
                   const char *out) LJ_MUST_USE;
/* Writes the page and the files beside it. Errors: LJ_ERR_RESOURCE. */
int lj_report_write(struct lj_report *report) LJ_MUST_USE;
void lj_report_close(struct lj_report *report);

#endif
