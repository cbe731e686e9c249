/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest checkpoint of a run makes of some rows of its archive. */
#include "app/report/sample.h"

#include "lejepa/runtime.h"

#include "app/sheet.h"

#include <math.h>
#include <string.h>

enum {
    SHOWN = 8, /* rows of the picture of neighbours */
    TILE = 80, /* pixels a side of an image of it */
    GAP = 4,
    GAP_QUERY = 16 /* between a row and its neighbours */
};

void lj_report_sample_free(struct lj_report_sample *s)
{
    lj_principal_destroy(&s->principal);
    lj_free(s->x);
    lj_free(s->label);
    lj_free(s->predicted);
    lj_free(s->row);
    lj_free(s->near);
    lj_free(s->similarity);
    lj_free(s->projection);
    lj_free(s->rgb);
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
        s->classes = lj_max_i64(s->classes, (int64_t)s->label[i] + 1);
    }
}

/* ---- the picture ----------------------------------------------------------------------------- */

int64_t lj_report_shown(const struct lj_report_sample *s, int64_t row, int64_t place)
{
    int64_t query = lj_evenly(row, s->shown, s->rows);
    return place == 0 ? query : s->near[query * LJ_KNN_NEIGHBOURS + place - 1];
}

struct picture {
    struct lj_archive *archive;
    struct lj_view_recipe recipe;
    struct lj_sheet sheet; /* channels and range */
    float **images;        /* (SHOWN PLACES) owned; NULL: no such neighbour */
};

/* Draws an image into its tile, the longer side filling it. */
static int draw(struct lj_report_sample *s, const struct picture *p, int64_t at)
{
    const struct lj_view_recipe *r = &p->recipe;
    int64_t longer = lj_max_i64(r->height, r->width), place = at % LJ_REPORT_PLACES;
    int64_t h = lj_max_i64(r->height * TILE / longer, 1),
            w = lj_max_i64(r->width * TILE / longer, 1);
    int64_t top = at / LJ_REPORT_PLACES * (TILE + GAP), left = place * (TILE + GAP);
    float *small = lj_alloc_array(r->channels * h * w, sizeof *small, "report");
    float *scratch = lj_alloc_array(lj_image_resize_scratch(r->channels, r->height, r->width, h, w),
                                    sizeof *scratch, "report");
    if (small && scratch)
        lj_image_resize(small, p->images[at], r->channels, r->height, r->width, 0, 0, r->height,
                        r->width, h, w, scratch);
    left += place > 0 ? GAP_QUERY : 0;
    for (int64_t e = 0; small && scratch && e < 3 * h * w; e++) {
        int64_t y = e / (3 * w), x = e / 3 % w;
        int c = p->sheet.panel[0][e % 3];
        float range = p->sheet.high[c] - p->sheet.low[c];
        float share = range > 0 ? (small[(c * h + y) * w + x] - p->sheet.low[c]) / range : 0.5f;
        s->rgb[3 * ((top + y) * s->picture[1] + left + x) + e % 3] =
            (unsigned char)lrintf(255.0f * fminf(fmaxf(share, 0.0f), 1.0f));
    }
    int status = small && scratch ? LJ_OK : LJ_ERR_RESOURCE;
    lj_free(small);
    lj_free(scratch);
    return status;
}

static int draw_picture(struct lj_report_sample *s, struct picture *p)
{
    const float *there[SHOWN * LJ_REPORT_PLACES];
    int64_t count = 0, all = s->shown * LJ_REPORT_PLACES;
    int64_t selected = lj_archive_info(p->archive)->selected;
    int64_t pixels = p->recipe.channels * p->recipe.height * p->recipe.width;
    for (int64_t at = 0; at < all; at++) {
        int64_t i = lj_report_shown(s, at / LJ_REPORT_PLACES, at % LJ_REPORT_PLACES);
        if (i < 0)
            continue;
        p->images[at] = lj_alloc_array(pixels, sizeof **p->images, "report");
        if (!p->images[at])
            return LJ_ERR_RESOURCE;
        LJ_TRY(lj_archive_read(p->archive, lj_evenly(i, s->rows, selected), 1, p->images[at]));
        there[count++] = p->images[at];
    }
    LJ_TRY(lj_sheet_choose(&p->sheet, "", p->recipe.channels));
    LJ_TRY(lj_sheet_range(&p->sheet, &p->recipe, there, count));
    for (int64_t at = 0; at < all; at++)
        if (p->images[at])
            LJ_TRY(draw(s, p, at));
    return LJ_OK;
}

static int make_picture(struct lj_report_sample *s, struct lj_archive *archive,
                        const struct lj_pretrained *pretrained, const struct lj_config *config)
{
    struct picture p = {.archive = archive};
    s->shown = lj_min_i64(SHOWN, s->rows);
    s->picture[0] = s->shown * (TILE + GAP) - GAP;
    s->picture[1] = LJ_REPORT_PLACES * (TILE + GAP) - GAP + GAP_QUERY;
    s->rgb = lj_alloc_array(3 * s->picture[0] * s->picture[1], 1, "report");
    p.images = lj_alloc_array(SHOWN * LJ_REPORT_PLACES, sizeof *p.images, "report");
    if (!s->rgb || !p.images) {
        lj_free(p.images);
        return LJ_ERR_RESOURCE;
    }
    memset(s->rgb, 128, (size_t)(3 * s->picture[0] * s->picture[1]));
    int status = lj_view_recipe(&p.recipe, config, lj_archive_info(archive), false,
                                pretrained->size, pretrained->mean, pretrained->std);
    if (status == LJ_OK)
        status = draw_picture(s, &p);
    for (int i = 0; i < SHOWN * LJ_REPORT_PLACES; i++)
        lj_free(p.images[i]);
    lj_free(p.images);
    return status;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Rank 0, with the embeddings. */
static int look(struct lj_report_sample *s, struct lj_archive *archive,
                const struct lj_pretrained *pretrained, const struct lj_config *config)
{
    note_rows(s, archive);
    LJ_TRY(lj_principal_create(&s->principal, s->x, s->rows, s->width));
    lj_progress();
    LJ_TRY(lj_report_find_neighbours(s));
    return make_picture(s, archive, pretrained, config);
}

static int embed(struct lj_report_sample *s, struct lj_comm *comm,
                 const struct lj_pretrained *pretrained, struct lj_config *config,
                 struct lj_archive *archive, int64_t rows)
{
    const struct lj_embedder embedder = {.model = pretrained->model,
                                         .weights = pretrained->weights,
                                         .mean = pretrained->mean,
                                         .std = pretrained->std,
                                         .config = config};
    struct lj_embedder projector = embedder;
    projector.projections = true;
    config->views_global = 1; /* the first view of training is enough */
    config->views_local = 0;
    LJ_TRY(lj_pretrained_check_pixels(pretrained, comm, archive, false));
    s->rows = lj_min_i64(rows, lj_archive_info(archive)->selected);
    s->width = lj_embed_width(&embedder);
    s->dimensions = lj_embed_width(&projector);
    s->step = pretrained->step;
    LJ_TRY(lj_agree(comm, lj_comm_is_root(comm) ? allocate(s) : LJ_OK));
    LJ_TRY(lj_embed(comm, &embedder, archive, s->rows, 0, keep, s));
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
    LJ_TRY(lj_agree(comm, lj_words_over_run(config, &pretrained->config, words)));
    struct lj_archive_options options = lj_archive_options_of(config);
    if (pretrained->has_limits)
        options.limits = &pretrained->limits;
    LJ_TRY(lj_archive_open(&archive, comm, &options));
    snprintf(s->archive, sizeof s->archive, "%s", config->data_archive);
    int status = embed(s, comm, pretrained, config, archive, rows);
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
        status = lj_pretrained_load(pretrained, comm, dir, false);
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
