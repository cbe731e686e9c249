/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest checkpoint of a run makes of some rows of its archive. */
#include "app/report/sample.h"

#include "lejepa/runtime.h"

#include "loss/loss.h"

#include <string.h>

bool lj_report_has_rows(const struct lj_report_sample *sample)
{
    return sample && sample->rows > 0;
}

void lj_report_sample_free(struct lj_report_sample *s)
{
    lj_confusion_destroy(&s->confusion);
    lj_principal_destroy(&s->principal);
    lj_free(s->x);
    lj_free(s->label);
    lj_free(s->predicted);
    lj_free(s->row);
    lj_free(s->near);
    lj_free(s->similarity);
    lj_free(s->projection);
    lj_free(s->neighbours.rgb);
    lj_free(s->tokens.rgb);
    lj_free(s->colour);
    lj_free(s->maps.rgb);
    lj_free(s->attention);
    *s = (struct lj_report_sample){0};
}

/* ---- embeddings ---------------------------------------------------------------------------- */

static int keep(void *data, int64_t first, int64_t count, const float *embeddings)
{
    struct lj_report_sample *s = data;
    memcpy(s->x + first * s->width, embeddings, (size_t)(count * s->width) * sizeof *s->x);
    return LJ_OK;
}

static int keep_projections(void *data, int64_t first, int64_t count, const float *projections)
{
    struct lj_report_sample *s = data;
    memcpy(s->projection + first * s->dimensions, projections,
           (size_t)(count * s->dimensions) * sizeof *s->projection);
    return LJ_OK;
}

static int allocate(struct lj_report_sample *s)
{
    s->x = lj_alloc_array(s->rows * s->width, sizeof *s->x, "report");
    s->label = lj_alloc_array(s->rows, sizeof *s->label, "report");
    s->row = lj_alloc_array(s->rows, sizeof *s->row, "report");
    s->projection = lj_alloc_array(s->rows * s->dimensions, sizeof *s->projection, "report");
    return s->x && s->label && s->row && s->projection ? LJ_OK : LJ_ERR_RESOURCE;
}

static void note_rows(struct lj_report_sample *s, const struct lj_archive *archive)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    for (int64_t i = 0; i < s->rows; i++) {
        int64_t index = lj_evenly(i, s->rows, info->selected);
        s->row[i] = lj_archive_row(archive, index);
        s->label[i] = info->has_labels ? lj_archive_label(archive, index) : -1;
        if (s->label[i] < 0)
            s->label[i] = -1;
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Labelled rows that have a labelled neighbour. */
static int count_classes(struct lj_report_sample *s)
{
    int64_t known = 0;
    int32_t *both = lj_alloc_array(2 * s->rows, sizeof *both, "report");
    if (!both)
        return LJ_ERR_RESOURCE;
    for (int64_t r = 0; r < s->rows; r++)
        if (s->label[r] >= 0 && s->predicted[r] >= 0) {
            both[known] = s->label[r];
            both[s->rows + known++] = s->predicted[r];
        }
    int status = LJ_OK;
    if (known > 0)
        status = lj_confusion_create(&s->confusion, both + s->rows, both, known);
    lj_free(both);
    return status;
}

/* Of `out` dimensions those that a Gaussian says something of: none of logits, and none where the
 * objective sees no lengths. */
static int64_t dimensions_of(const struct lj_config *config, int64_t out)
{
    const struct lj_objective_kind *kind;
    if (lj_objective_find(config->objective, &kind) != LJ_OK)
        return 0;
    return kind->sees_lengths && !kind->classifies ? out : 0;
}

/* Rank 0, with the embeddings. */
static int look(struct lj_report_sample *s, struct lj_archive *archive,
                const struct lj_pretrained *pretrained, const struct lj_config *config)
{
    note_rows(s, archive);
    LJ_TRY(lj_principal_create(&s->principal, s->x, s->rows, s->width));
    lj_progress();
    LJ_TRY(lj_report_find_neighbours(s));
    LJ_TRY(count_classes(s));
    return lj_report_draw_pictures(s, archive, pretrained, config);
}

static int embed(struct lj_report_sample *s, struct lj_comm *comm,
                 const struct lj_pretrained *pretrained, struct lj_config *config,
                 struct lj_archive *archive, int64_t rows)
{
    const struct lj_embedder embedder = {.model = pretrained->model,
                                         .weights = pretrained->weights,
                                         .mean = pretrained->mean,
                                         .std = pretrained->std,
                                         .config = config,
                                         .layers = config->arg_layers};
    struct lj_embedder projector = embedder;
    projector.projections = true;
    config->views_global = 1; /* the first view of training is enough */
    config->views_local = 0;
    s->rows = lj_min_i64(rows, lj_archive_info(archive)->selected);
    s->width = lj_embed_width(&embedder);
    s->dimensions = dimensions_of(config, lj_embed_width(&projector));
    s->step = pretrained->step;
    s->layers = config->arg_layers;
    LJ_TRY(lj_agree(comm, lj_comm_is_root(comm) ? allocate(s) : LJ_OK));
    LJ_TRY(lj_embed(comm, &embedder, archive, s->rows, 0, keep, s));
    if (s->dimensions > 0)
        LJ_TRY(lj_embed(comm, &projector, archive, s->rows, 0, keep_projections, s));
    int status = LJ_OK;
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm))
        status = look(s, archive, pretrained, config);
    return lj_root_section_end(comm, status);
}

static int embed_run(struct lj_report_sample *s, struct lj_comm *comm,
                     struct lj_pretrained *pretrained, struct lj_config *config, int64_t rows,
                     const struct lj_call_words *words)
{
    struct lj_archive *archive = NULL;
    int status = lj_open_for_encoder(comm, pretrained, config, words, false, &archive);
    snprintf(s->archive, sizeof s->archive, "%s", config->data_archive);
    if (status == LJ_OK)
        status = embed(s, comm, pretrained, config, archive, rows);
    lj_archive_close(archive);
    return status;
}

int lj_report_sample_make(struct lj_report_sample *s, struct lj_comm *comm, const char *dir,
                          int64_t rows, const struct lj_config *given,
                          const struct lj_call_words *words)
{
    *s = (struct lj_report_sample){0};
    struct lj_pretrained *pretrained = lj_alloc(sizeof *pretrained, "report");
    struct lj_config *config = lj_alloc(sizeof *config, "report");
    int status = lj_agree(comm, pretrained && config ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = lj_pretrained_load(pretrained, comm, dir, "", false);
    if (status == LJ_OK) {
        *config = *given;
        status = embed_run(s, comm, pretrained, config, rows, words);
        lj_pretrained_free(pretrained);
    }
    lj_free(pretrained);
    lj_free(config);
    if (status == LJ_OK || status == LJ_ERR_RESOURCE || status == LJ_ERR_COMM)
        return status;
    lj_report_sample_free(s);
    snprintf(s->why, sizeof s->why, "%.1000s", lj_error_text());
    lj_warn("no embeddings: %s", s->why);
    return LJ_OK;
}
