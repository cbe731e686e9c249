/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. What `scale` found, as a table, JSON, CSV and figures. All local, on rank 0. */
#ifndef LEJEPA_APP_SCALE_REPORT_H
#define LEJEPA_APP_SCALE_REPORT_H

#include "app/report/report.h"
#include "run/run.h"

#include <jansson.h>

/* Everything but the scale's numbers is borrowed. */
struct lj_scale_report {
    const struct lj_config *config;
    struct lj_archive *archive;
    struct lj_scale scale;
    double open_s;                 /* to open the archive and take its statistics */
    int64_t nodes, ranks_per_node; /* of the job */
    int ranks;                     /* of the job */
    struct lj_network network;
    struct lj_network_model model; /* of it */
};

/* Makes the directory out=, if there is to be one, before hours are spent on what could not be
 * written then. Errors: LJ_ERR_RESOURCE; LJ_ERR_CONFIG: runs to the target are in it already. */
int lj_scale_report_prepare(const struct lj_scale_report *report) LJ_MUST_USE;
/* Predicts the rungs so far, and what predict= asks for. Errors: LJ_ERR_RESOURCE. */
int lj_scale_report_foresee(struct lj_scale_report *report) LJ_MUST_USE;
/* Writes scale.json and scale.csv with the rungs so far, if there is an out=.
 *   report  in/out  a struct lj_scale_report
 * Errors: LJ_ERR_RESOURCE. */
int lj_scale_report_keep(void *report) LJ_MUST_USE;
/* Prints the table, or with json=1 the object, on standard output; with out= also writes
 * scale.json, scale.csv, a script of gnuplot and its picture for each figure, and scale.html.
 * Errors: LJ_ERR_RESOURCE. */
int lj_scale_report_write(const struct lj_scale_report *report) LJ_MUST_USE;

/* Makes the directory out=, if there is to be one. Errors: LJ_ERR_RESOURCE. */
int lj_scale_make_out(const struct lj_config *config) LJ_MUST_USE;

/* scale_json.c: the object, owned by the caller; NULL: LJ_ERR_RESOURCE. */
json_t *lj_scale_json(const struct lj_scale_report *report);
/* Its part that says on what was measured: machine, model, archive, settings. */
json_t *lj_scale_setting_json(const struct lj_scale_report *report);
/* The same of what probe=net measures, and of the rows of predict=; both are part of the object. */
json_t *lj_scale_network_json(const struct lj_scale_report *report);
json_t *lj_scale_foreseen_json(const struct lj_scale *scale);
json_t *lj_scale_prediction_json(const struct lj_scale_prediction *prediction);

/* scale_network.c: prints links and samples, or with json=1 the object; with out= writes
 * network.json. Errors: LJ_ERR_RESOURCE. */
int lj_scale_network_write(const struct lj_scale_report *report) LJ_MUST_USE;

/* scale_figures.c: scale.csv, with the rungs so far. Errors: LJ_ERR_RESOURCE. */
int lj_scale_csv(const struct lj_scale_report *report) LJ_MUST_USE;
/* The figures, which read it, and the page around them, scale.html.
 *   object  in  of lj_scale_json: what the page's tables say
 * Errors: LJ_ERR_RESOURCE. */
int lj_scale_figures(const struct lj_scale_report *report, const json_t *object) LJ_MUST_USE;

/* scale_page.c: what of the page comes before the figures, and after them. */
void lj_scale_page_head(struct lj_report *page, const json_t *object);
void lj_scale_page_rest(struct lj_report *page, const json_t *object);
/* A table of the rungs.
 *   column  (to NULL) in  members of a rung; of its prediction after "predicted_", and then there
 *                         are rows of what was predicted only */
void lj_scale_page_rungs(struct lj_report *page, const json_t *object, const char *summary,
                         bool open, const char *const *column);

#endif
