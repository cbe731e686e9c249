/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. Embeddings of an archive by a pretrained encoder.
 *
 *     lj_pretrained_load(&pretrained, comm, "runs/galaxies", "", false);
 *     struct lj_embedder embedder = {.model = pretrained.model, .weights = pretrained.weights,
 *     ...}; lj_embed(comm, &embedder, archive, rows, 0, sink, data);
 *     lj_pretrained_free(&pretrained);
 */
#ifndef LEJEPA_EVAL_H
#define LEJEPA_EVAL_H

#include "lejepa/data.h"

struct lj_model;

/* What turns images into embeddings. Everything is borrowed. */
struct lj_embedder {
    const struct lj_model *model;
    const float *weights;    /* laid out like the model's parameters */
    const float *mean, *std; /* (C) of the pixels */
    const struct lj_config *config;
    bool pixels;      /* raw pixels of the evaluation view instead of the encoder's output */
    bool projections; /* (V, D) projections of config's random views instead, as in training */
    int64_t layers;   /* 2: features of the encoder's last two layers instead of its output; else 0
                         or 1 */
};
/* Width of a row: the encoder's embedding, its two layers' features, C size size pixels, or V D. */
LJ_API int64_t lj_embed_width(const struct lj_embedder *embedder);

/* Takes rows [first, first + count) of the result, (count, width). Called on rank 0 alone, with
 * rows in order, each once. */
typedef int (*lj_embed_sink)(void *data, int64_t first, int64_t count, const float *embeddings);

/* Embeddings of `rows` samples spaced evenly over the selected ones (lj_evenly; all of them when
 * rows is their number), in evaluation views, or what else the embedder says. Tiles of 32 samples
 * from the first are the unit of computation, so the bits do not depend on ranks or threads.
 * Collective over comm, whose ranks share the work; a rank holds a few tiles at a time, whatever
 * the number of rows.
 *   first  in  rows before it are left out, except those of its tile
 * Errors: on every rank alike, the sink's too; LJ_ERR_CONFIG: the encoder has one layer. */
LJ_API int lj_embed(struct lj_comm *comm, const struct lj_embedder *embedder,
                    struct lj_archive *archive, int64_t rows, int64_t first, lj_embed_sink sink,
                    void *data) LJ_MUST_USE;

/* A model for inference out of a checkpoint: architecture from its configuration, its weights (or,
 * untrained, the initial ones of its seed) and pixel statistics on every rank. Collective.
 *   path     in  a checkpoint file, or a run directory (its newest checkpoint)
 *   weights  in  "average", of the weights, which the run must have kept (train.average); "last";
 *                "": the average where there is one
 * Release with _free. */
struct lj_pretrained {
    char file[4096];         /* the checkpoint that was read */
    struct lj_config config; /* the run's */
    struct lj_model *model;  /* owned */
    float *weights;          /* owned */
    bool averaged;           /* they are the running average of training's weights */
    int channels;
    int64_t size, step;
    float mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX];
    bool has_limits; /* the run's stretch has limits, and these are they */
    struct lj_limits limits;
    char pixels[8]; /* type of the elements it was trained on; "": the checkpoint does not say */
    bool has_range; /* false: the checkpoint does not say least and most */
    float least[LJ_CHANNELS_MAX], most[LJ_CHANNELS_MAX]; /* range of the pixels of training */
};
LJ_API int lj_pretrained_load(struct lj_pretrained *pretrained, struct lj_comm *comm,
                              const char *path, const char *weights, bool untrained) LJ_MUST_USE;
LJ_API void lj_pretrained_free(struct lj_pretrained *pretrained);

#endif
