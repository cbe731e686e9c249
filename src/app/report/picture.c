/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of the images of a few rows: each with its nearest neighbours, and with what the encoder
 * says of its parts. */
#include "app/report/sample.h"

#include "app/sheet.h"

#include <math.h>
#include <string.h>

enum {
    TILE = 80, /* pixels a side of an image */
    STEP = TILE + 4,
    GAP_NEAREST = 12 /* more, between an image and its neighbours */
};

struct drawing {
    struct lj_archive *archive;
    struct lj_view_recipe recipe;
    struct lj_sheet sheet;                            /* channels and range */
    float *image[LJ_REPORT_SHOWN * LJ_REPORT_PLACES]; /* owned; NULL: no such neighbour */
};

int64_t lj_report_shown(const struct lj_report_sample *s, int64_t line, int64_t place)
{
    int64_t query = lj_evenly(line, s->shown, s->rows);
    return place == 0 ? query : s->near[query * LJ_KNN_NEIGHBOURS + place - 1];
}

static int create(struct lj_report_picture *p, int64_t height, int64_t width)
{
    p->height = height;
    p->width = width;
    p->rgb = lj_alloc_array(3 * height * width, 1, "report");
    if (p->rgb)
        memset(p->rgb, 128, (size_t)(3 * height * width));
    return p->rgb ? LJ_OK : LJ_ERR_RESOURCE;
}

/* Draws the square of an image that evaluation looks at. */
static int draw_image(struct lj_report_picture *p, const struct drawing *d, const float *image,
                      int64_t top, int64_t left)
{
    const struct lj_view_recipe *r = &d->recipe;
    int64_t side = lj_min_i64(r->height, r->width);
    int64_t need = lj_image_resize_scratch(r->channels, side, side, TILE, TILE);
    float *small = lj_alloc_array((int64_t)r->channels * TILE * TILE, sizeof *small, "report");
    float *scratch = lj_alloc_array(need, sizeof *scratch, "report");
    if (small && scratch)
        lj_image_resize(small, image, r->channels, r->height, r->width, (r->height - side) / 2,
                        (r->width - side) / 2, side, side, TILE, TILE, scratch);
    for (int64_t e = 0; small && scratch && e < 3 * TILE * TILE; e++) {
        int64_t y = e / (3 * TILE), x = e / 3 % TILE;
        int c = d->sheet.panel[0][e % 3];
        double range = (double)d->sheet.high[c] - (double)d->sheet.low[c];
        double value = (double)small[(c * TILE + y) * TILE + x] - (double)d->sheet.low[c];
        p->rgb[3 * ((top + y) * p->width + left + x) + e % 3] =
            lj_byte_of(range > 0 ? value / range : 0.5);
    }
    int status = small && scratch ? LJ_OK : LJ_ERR_RESOURCE;
    lj_free(small);
    lj_free(scratch);
    return status;
}

/* Draws the attention of a head as squares of grey; the largest weight is white. */
static void draw_head(struct lj_report_picture *p, const struct lj_report_sample *s,
                      const double *map, int64_t top, int64_t left)
{
    double most = 0;
    for (int64_t i = 0; i < s->grid[0] * s->grid[1]; i++)
        most = fmax(most, map[i]);
    for (int64_t y = 0; y < TILE; y++)
        for (int64_t x = 0; x < TILE; x++) {
            double weight = map[y * s->grid[0] / TILE * s->grid[1] + x * s->grid[1] / TILE];
            memset(&p->rgb[3 * ((top + y) * p->width + left + x)],
                   lj_byte_of(most > 0 ? weight / most : 0), 3);
        }
}

/* Draws the tokens of an image as squares of their colours. */
static void draw_tokens(struct lj_report_picture *p, const struct lj_report_sample *s,
                        int64_t image, int64_t top, int64_t left)
{
    const double *colour = s->colour + 3 * image * s->grid[0] * s->grid[1];
    for (int64_t y = 0; y < TILE; y++)
        for (int64_t x = 0; x < TILE; x++) {
            int64_t token = y * s->grid[0] / TILE * s->grid[1] + x * s->grid[1] / TILE;
            for (int i = 0; i < 3; i++)
                p->rgb[3 * ((top + y) * p->width + left + x) + i] =
                    lj_byte_of(colour[3 * token + i]);
        }
}

/* ---- images -------------------------------------------------------------------------------- */

static int read_images(const struct lj_report_sample *s, struct drawing *d)
{
    const float *there[LJ_REPORT_SHOWN * LJ_REPORT_PLACES];
    int64_t count = 0, selected = lj_archive_info(d->archive)->selected;
    int64_t pixels = d->recipe.channels * d->recipe.height * d->recipe.width;
    for (int64_t at = 0; at < s->shown * LJ_REPORT_PLACES; at++) {
        int64_t row = lj_report_shown(s, at / LJ_REPORT_PLACES, at % LJ_REPORT_PLACES);
        if (row < 0)
            continue;
        d->image[at] = lj_alloc_array(pixels, sizeof(float), "report");
        if (!d->image[at])
            return LJ_ERR_RESOURCE;
        LJ_TRY(lj_archive_read(d->archive, lj_evenly(row, s->rows, selected), 1, d->image[at]));
        there[count++] = d->image[at];
    }
    LJ_TRY(lj_sheet_choose(&d->sheet, "", d->recipe.channels));
    return lj_sheet_range(&d->sheet, &d->recipe, there, count);
}

static int draw_neighbours(struct lj_report_sample *s, const struct drawing *d)
{
    LJ_TRY(create(&s->neighbours, s->shown * STEP, LJ_REPORT_PLACES * STEP + GAP_NEAREST));
    for (int64_t at = 0; at < s->shown * LJ_REPORT_PLACES; at++) {
        int64_t place = at % LJ_REPORT_PLACES;
        if (d->image[at])
            LJ_TRY(draw_image(&s->neighbours, d, d->image[at], at / LJ_REPORT_PLACES * STEP,
                              place * STEP + (place > 0 ? GAP_NEAREST : 0)));
    }
    return LJ_OK;
}

/* What the encoder says of the parts of the images shown. */
static int draw_parts(struct lj_report_sample *s, const struct drawing *d,
                      const struct lj_pretrained *pretrained)
{
    const float *shown[LJ_REPORT_SHOWN];
    for (int64_t line = 0; line < s->shown; line++)
        shown[line] = d->image[line * LJ_REPORT_PLACES];
    LJ_TRY(lj_report_find_tokens(s, pretrained, &d->recipe, shown, s->shown));
    if (!s->colour)
        return LJ_OK;
    LJ_TRY(create(&s->tokens, 2 * STEP, s->shown * STEP));
    LJ_TRY(lj_report_find_attention(s, pretrained, &d->recipe, shown, s->shown));
    int64_t heads = lj_min_i64(s->heads, LJ_REPORT_HEADS), patches = s->grid[0] * s->grid[1];
    if (heads > 0)
        LJ_TRY(create(&s->maps, (1 + heads) * STEP, s->shown * STEP));
    for (int64_t line = 0; line < s->shown; line++) {
        LJ_TRY(draw_image(&s->tokens, d, shown[line], 0, line * STEP));
        draw_tokens(&s->tokens, s, line, STEP, line * STEP);
        if (heads > 0)
            LJ_TRY(draw_image(&s->maps, d, shown[line], 0, line * STEP));
        for (int64_t h = 0; h < heads; h++)
            draw_head(&s->maps, s, s->attention + (line * s->heads + h) * patches, (1 + h) * STEP,
                      line * STEP);
    }
    return LJ_OK;
}

int lj_report_draw_pictures(struct lj_report_sample *s, struct lj_archive *archive,
                            const struct lj_pretrained *pretrained, const struct lj_config *config)
{
    struct drawing d = {.archive = archive};
    s->shown = lj_min_i64(LJ_REPORT_SHOWN, s->rows);
    LJ_TRY(lj_view_recipe(&d.recipe, config, lj_archive_info(archive), false, pretrained->size,
                          pretrained->mean, pretrained->std));
    int status = read_images(s, &d);
    if (status == LJ_OK)
        status = draw_neighbours(s, &d);
    if (status == LJ_OK)
        status = draw_parts(s, &d, pretrained);
    for (int i = 0; i < LJ_REPORT_SHOWN * LJ_REPORT_PLACES; i++)
        lj_free(d.image[i]);
    return status;
}
