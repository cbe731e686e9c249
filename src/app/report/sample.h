/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. Embeddings of some rows by a run's newest checkpoint, and what follows from them.
 */
#ifndef LEJEPA_APP_REPORT_SAMPLE_H
#define LEJEPA_APP_REPORT_SAMPLE_H

#include "app/app.h"
#include "eval/eval.h"

struct lj_report_picture {
    int64_t height, width;
    unsigned char *rgb; /* (height, width, 3) owned; NULL: none */
};

/* Everything but rows, width and why is on rank 0 only. */
struct lj_report_sample {
    int64_t rows, width; /* rows 0: there are no embeddings */
    char why[1024];      /* why there are none; plain text */
    char archive[LJ_TEXT_MAX];
    int64_t step;                  /* of the checkpoint */
    int64_t layers;                /* whose features the embeddings are: 1 or 2 */
    float *x;                      /* (rows, width) owned */
    int32_t *label;                /* (rows) -1: it has none; owned */
    int32_t *predicted;            /* (rows) class that the nearest rows tell; -1: none; owned */
    int64_t *row;                  /* (rows) of the archive; owned */
    int32_t *near;                 /* (rows, LJ_KNN_NEIGHBOURS) the most similar first, -1: there
                                      are no more; owned */
    float *similarity;             /* (rows, LJ_KNN_NEIGHBOURS) cosine; owned */
    int64_t dimensions;            /* of the projections; 0: none that could be Gaussian */
    float *projection;             /* (rows, dimensions) of one global view of each row, as training
                                      draws it; owned */
    struct lj_confusion confusion; /* of labelled rows, by what the nearest rows tell; owned */
    struct lj_principal principal; /* owned */
    int64_t shown;                 /* rows of the sample in pictures */
    struct lj_report_picture neighbours; /* a line for each row shown: its image, its nearest */
    struct lj_report_picture tokens; /* images of the rows shown, colours of their tokens below */
    int64_t grid[2];                 /* rows and columns of tokens */
    double *colour;    /* (shown, grid, 3) red, green, blue, 0..1; owned; NULL: the encoder has no
                       tokens */
    int64_t heads;     /* of the last attention; 0: there is none */
    bool by_class;     /* it is that of the class token; else the mean over patches */
    double *attention; /* (shown, heads, grid) weight of each patch; owned */
    struct lj_report_picture maps; /* images of the rows shown, and their attention below */
};

enum {
    LJ_REPORT_SHOWN = 8,  /* lines at most */
    LJ_REPORT_PLACES = 8, /* images of a line */
    LJ_REPORT_HEADS = 16  /* heads in a picture */
};
/* The row of the sample whose image is at a place of a line, from the left; -1: none. Local. */
int64_t lj_report_shown(const struct lj_report_sample *sample, int64_t line, int64_t place);

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
/* Are there embeddings? sample may be NULL. */
bool lj_report_has_rows(const struct lj_report_sample *sample);

/* ---- neighbours.c ------------------------------------------------------------------------ */

/* Finds near, similarity and predicted: the LJ_KNN_NEIGHBOURS most similar of the other rows, whose
 * labels vote as in lj_knn. Local. Errors: LJ_ERR_RESOURCE. Cost: rows^2 width. */
int lj_report_find_neighbours(struct lj_report_sample *sample) LJ_MUST_USE;

/* ---- inside.c ---------------------------------------------------------------------------- */

/* Shape of a value of the encoder's net. */
struct lj_shape lj_report_inside_shape(const struct lj_pretrained *pretrained, int32_t value);
/* That value for these images. Local. Errors: LJ_ERR_RESOURCE.
 *   images  in   (count) of (channels, height, width) of the recipe
 *   values  out  (count, shape of the value) owned by the caller */
int lj_report_inside(const struct lj_pretrained *pretrained, const struct lj_view_recipe *recipe,
                     const float *const *images, int64_t count, int32_t value,
                     float **values) LJ_MUST_USE;

/* ---- attention.c ------------------------------------------------------------------------- */

/* Finds heads, by_class and attention for these images, after grid. Local. Errors as of tokens.c.
 *   images  in  (count) of (channels, height, width) of the recipe */
int lj_report_find_attention(struct lj_report_sample *sample,
                             const struct lj_pretrained *pretrained,
                             const struct lj_view_recipe *recipe, const float *const *images,
                             int64_t count) LJ_MUST_USE;

/* ---- tokens.c ---------------------------------------------------------------------------- */

/* Finds grid and colour for these images. Local. Errors: LJ_ERR_RESOURCE, LJ_ERR_NUMERIC.
 *   images  in  (count) of (channels, height, width) of the recipe */
int lj_report_find_tokens(struct lj_report_sample *sample, const struct lj_pretrained *pretrained,
                          const struct lj_view_recipe *recipe, const float *const *images,
                          int64_t count) LJ_MUST_USE;

/* ---- picture.c --------------------------------------------------------------------------- */

/* Chooses the rows shown, and draws their neighbours and tokens. Local. Errors: those of reading
 * images and of lj_report_find_tokens. */
int lj_report_draw_pictures(struct lj_report_sample *sample, struct lj_archive *archive,
                            const struct lj_pretrained *pretrained,
                            const struct lj_config *config) LJ_MUST_USE;

#endif
