/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. Embeddings of some rows by a run's newest checkpoint, and what follows from them.
 */
#ifndef LEJEPA_APP_REPORT_SAMPLE_H
#define LEJEPA_APP_REPORT_SAMPLE_H

#include "app/app.h"
#include "eval/eval.h"

/* Everything but rows, width and why is on rank 0 only. */
struct lj_report_sample {
    int64_t rows, width; /* rows 0: there are no embeddings */
    char why[1024];      /* why there are none; plain text */
    char archive[LJ_TEXT_MAX];
    int64_t step;                  /* of the checkpoint */
    float *x;                      /* (rows, width) owned */
    int32_t *label;                /* (rows) -1: it has none; owned */
    int32_t *predicted;            /* (rows) class that the nearest rows tell; -1: none; owned */
    int64_t *row;                  /* (rows) of the archive; owned */
    int32_t *near;                 /* (rows, LJ_KNN_NEIGHBOURS) the most similar first, -1: there
                                      are no more; owned */
    float *similarity;             /* (rows, LJ_KNN_NEIGHBOURS) cosine; owned */
    int64_t dimensions;            /* of the projections */
    float *projection;             /* (rows, dimensions) of one global view of each row, as training
                                      draws it; owned */
    int64_t classes;               /* 1 + the largest label; 0: no labels */
    struct lj_principal principal; /* owned */
    int64_t shown;                 /* rows of the picture: a row of the sample, and its nearest */
    int64_t picture[2];            /* height, width */
    unsigned char *rgb;            /* owned; NULL: none */
};

/* The row of the sample whose image is at a place of the picture, from the left; -1: none. Local.
 */
int64_t lj_report_shown(const struct lj_report_sample *sample, int64_t row, int64_t place);
enum { LJ_REPORT_PLACES = 8 }; /* images in a row of the picture */

/* Embeds rows, spaced evenly over those that the run trains on, or that the words choose.
 * Collective.
 *   sample  out   owned by the caller, also after a failure: lj_report_sample_free
 *   dir     in    of the run; only rank 0's counts
 *   rows    in    at most so many
 *   words   in    settings data.* that replace the run's
 * Without a checkpoint or an archive there are no embeddings, which is no error. Errors, on every
 * rank alike: LJ_ERR_RESOURCE, LJ_ERR_COMM. */
int lj_report_sample_make(struct lj_report_sample *sample, struct lj_comm *comm, const char *dir,
                          int64_t rows, const struct lj_config *config,
                          const struct lj_call_words *words) LJ_MUST_USE;
void lj_report_sample_free(struct lj_report_sample *sample);

/* ---- neighbours.c ------------------------------------------------------------------------ */

/* Finds near, similarity and predicted: the LJ_KNN_NEIGHBOURS most similar of the other rows, whose
 * labels vote as in lj_knn. Local. Errors: LJ_ERR_RESOURCE. Cost: rows^2 width. */
int lj_report_find_neighbours(struct lj_report_sample *sample) LJ_MUST_USE;

#endif
