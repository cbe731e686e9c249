/* SPDX-License-Identifier: Apache-2.0 */
/* The contact sheet. Pixels of views become squares, without interpolation: one sees what the
 * network gets. Images larger than a cell are made smaller. */
#include "app/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GAP = 8,               /* pixels between cells */
    CELL_LEAST = 144,      /* side of a cell of small views */
    PIXELS_MOST = 1 << 27, /* of a picture; programs that show it need four bytes each */
    RANGE_VALUES = 100000  /* of a channel that its range is taken from, about */
};

/* Of views, by their number: colours that the colour-blind can tell apart (Okabe and Ito 2008), on
 * a dark ground. */
static const unsigned char colours[][3] = {{230, 159, 0},  {86, 180, 233}, {0, 158, 115},
                                           {240, 228, 66}, {213, 94, 0},   {204, 121, 167},
                                           {0, 114, 178},  {255, 255, 255}};
enum { COLOURS = sizeof colours / sizeof *colours };

/* ---- channels and range ------------------------------------------------------------------ */

static int read_channels(struct lj_sheet *s, const char *text, int channels)
{
    double channel[3];
    int count = lj_read_numbers(text, 3, channel);
    bool good = count == 1 || count == 3;
    for (int i = 0; i < count; i++)
        good = good && channel[i] >= 0 && channel[i] < channels && channel[i] == floor(channel[i]);
    if (!good)
        return lj_fail(LJ_ERR_CONFIG,
                       "channels=%.80s: expected one channel, three separated by commas, or all; "
                       "the images have channels 0 to %d",
                       text, channels - 1);
    for (int i = 0; i < 3; i++)
        s->panel[0][i] = (int)channel[count == 3 ? i : 0];
    return LJ_OK;
}

int lj_sheet_choose(struct lj_sheet *sheet, const char *text, int channels)
{
    bool all = strcmp(text, "all") == 0;
    sheet->panels = all ? channels : 1;
    if (text[0] && !all)
        return read_channels(sheet, text, channels);
    for (int p = 0; p < sheet->panels; p++)
        for (int i = 0; i < 3; i++)
            sheet->panel[p][i] = all ? p : channels >= 3 ? i : 0;
    return LJ_OK;
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The range of channel c by evenly spaced values of it; values is scratch (RANGE_VALUES). */
static void measure_range(struct lj_sheet *s, int c, const float *const *images, int64_t count,
                          int64_t pixels, float *values)
{
    int64_t stride = count * pixels / RANGE_VALUES + 1, n = 0;
    for (int64_t i = 0; i < count * pixels; i += stride)
        values[n++] = images[i / pixels][c * pixels + i % pixels];
    qsort(values, (size_t)n, sizeof *values, compare);
    s->low[c] = values[n / 200];
    s->high[c] = values[n - 1 - n / 200];
    if (s->low[c] < s->high[c])
        return;
    for (int64_t i = 0; i < count * pixels; i++) { /* a few small objects on an even background */
        float value = images[i / pixels][c * pixels + i % pixels];
        s->low[c] = value < s->low[c] ? value : s->low[c];
        s->high[c] = value > s->high[c] ? value : s->high[c];
    }
}

int lj_sheet_range(struct lj_sheet *sheet, const struct lj_view_recipe *recipe,
                   const float *const *images, int64_t count)
{
    float *values = lj_alloc_array(RANGE_VALUES, sizeof *values, "contact sheet");
    if (!values)
        return LJ_ERR_RESOURCE;
    for (int c = 0; c < recipe->channels; c++) {
        if (recipe->colour)
            sheet->high[c] = 1.0f;
        else
            measure_range(sheet, c, images, count, recipe->height * recipe->width, values);
    }
    lj_free(values);
    return LJ_OK;
}

/* ---- places ------------------------------------------------------------------------------ */

int lj_sheet_create(struct lj_sheet *sheet, int64_t rows, const int64_t views[2],
                    const int64_t size[2])
{
    int64_t largest = lj_max_i64(size[0], views[1] > 0 ? size[1] : 0);
    sheet->zoom = lj_max_i64(CELL_LEAST / largest, 1);
    sheet->cell = lj_max_i64(sheet->zoom * largest, CELL_LEAST);
    sheet->globals = views[0];
    sheet->width = GAP + sheet->cell + GAP;
    for (int local = 0; local < 2; local++) {
        sheet->column[local] = sheet->zoom * size[local];
        sheet->width += views[local] * (sheet->column[local] + GAP);
    }
    sheet->height = GAP + rows * sheet->panels * (sheet->cell + GAP);
    if (sheet->width * sheet->height > PIXELS_MOST)
        return lj_fail(LJ_ERR_CONFIG,
                       "rows=%lld: a picture of %lld x %lld pixels is too large; give fewer rows%s",
                       (long long)rows, (long long)sheet->width, (long long)sheet->height,
                       sheet->panels > 1 ? ", or channels=0" : "");
    sheet->rgb = lj_alloc_array(sheet->height, (size_t)(3 * sheet->width), "contact sheet");
    if (!sheet->rgb)
        return LJ_ERR_RESOURCE;
    memset(sheet->rgb, 32, (size_t)(3 * sheet->width * sheet->height));
    return LJ_OK;
}

void lj_sheet_destroy(struct lj_sheet *sheet)
{
    lj_free(sheet->rgb);
}

/* The picture of a view on the sheet: rows top .., columns left .. */
static struct lj_image_box view_place(const struct lj_sheet *s, int64_t row, int panel,
                                      int64_t number)
{
    int64_t globals = lj_min_i64(number, s->globals), locals = number - globals;
    int64_t line = row * s->panels + panel, side = s->column[number >= s->globals];
    return (struct lj_image_box){.top = GAP + line * (s->cell + GAP) + (s->cell - side) / 2,
                                 .left = GAP + s->cell + GAP + globals * (s->column[0] + GAP) +
                                         locals * (s->column[1] + GAP),
                                 .height = side,
                                 .width = side};
}

/* The picture of the image, which fills its cell. */
static struct lj_image_box image_place(const struct lj_sheet *s, int64_t row, int panel,
                                       const struct lj_view_recipe *r)
{
    int64_t line = row * s->panels + panel;
    int64_t longer = lj_max_i64(r->height, r->width), zoom = s->cell / longer;
    struct lj_image_box at = {
        .height = zoom ? zoom * r->height : lj_max_i64(r->height * s->cell / longer, 1),
        .width = zoom ? zoom * r->width : lj_max_i64(r->width * s->cell / longer, 1)};
    at.top = GAP + line * (s->cell + GAP) + (s->cell - at.height) / 2;
    at.left = GAP + (s->cell - at.width) / 2;
    return at;
}

/* ---- drawing ----------------------------------------------------------------------------- */

unsigned char lj_byte_of(double share)
{
    return (unsigned char)lrint(255 * fmin(fmax(share, 0), 1));
}

static unsigned char byte_of(const struct lj_sheet *s, int c, float value)
{
    float range = s->high[c] - s->low[c];
    return lj_byte_of(range > 0 ? (double)((value - s->low[c]) / range) : 0.5);
}

/* Draws planes (channels, h, w), pixels as squares of `zoom`, into a place of their size times
 * zoom.
 *   scale, offset  in  (channels) value = scale x + offset; NULL: x */
static void draw(struct lj_sheet *s, const struct lj_image_box *at, int panel, const float *planes,
                 int64_t zoom, const float *scale, const float *offset)
{
    int64_t h = at->height / zoom, w = at->width / zoom;
    for (int64_t y = 0; y < at->height; y++) {
        unsigned char *row = s->rgb + 3 * ((at->top + y) * s->width + at->left);
        for (int64_t x = 0; x < at->width; x++)
            for (int i = 0; i < 3; i++) {
                int c = s->panel[panel][i];
                float value = planes[(c * h + y / zoom) * w + x / zoom];
                row[3 * x + i] = byte_of(s, c, scale ? scale[c] * value + offset[c] : value);
            }
    }
}

/* Draws the border of a box, `thick` pixels outwards. */
static void frame(struct lj_sheet *s, const struct lj_image_box *box, int64_t thick,
                  const unsigned char colour[3])
{
    for (int64_t y = box->top - thick; y < box->top + box->height + thick; y++)
        for (int64_t x = box->left - thick; x < box->left + box->width + thick; x++) {
            bool inside = y >= box->top && y < box->top + box->height && x >= box->left &&
                          x < box->left + box->width;
            if (!inside)
                memcpy(s->rgb + 3 * (y * s->width + x), colour, 3);
        }
}

/* The image at the size of its picture. Owned by the caller; NULL: LJ_ERR_RESOURCE. */
static float *shrink(const struct lj_view_recipe *r, const float *image, int64_t height,
                     int64_t width)
{
    int64_t need = lj_image_resize_scratch(r->channels, r->height, r->width, height, width);
    float *small = lj_alloc_array(r->channels * height * width, sizeof *small, "contact sheet");
    float *scratch = lj_alloc_array(need, sizeof *scratch, "contact sheet");
    if (small && scratch)
        lj_image_resize(small, image, r->channels, r->height, r->width, 0, 0, r->height, r->width,
                        height, width, scratch);
    if (!scratch) {
        lj_free(small);
        small = NULL;
    }
    lj_free(scratch);
    return small;
}

int lj_sheet_image(struct lj_sheet *sheet, int64_t row, const struct lj_view_recipe *recipe,
                   const float *image)
{
    int64_t zoom = sheet->cell / lj_max_i64(recipe->height, recipe->width);
    struct lj_image_box at = image_place(sheet, row, 0, recipe);
    float *small = zoom ? NULL : shrink(recipe, image, at.height, at.width);
    if (!zoom && !small)
        return LJ_ERR_RESOURCE;
    for (int p = 0; p < sheet->panels; p++) {
        at = image_place(sheet, row, p, recipe);
        draw(sheet, &at, p, small ? small : image, lj_max_i64(zoom, 1), NULL, NULL);
    }
    lj_free(small);
    return LJ_OK;
}

/* Draws the border of a rotated crop, as far as it lies in the image. */
static void frame_rotated(struct lj_sheet *s, const struct lj_image_box *at,
                          const struct lj_view_recipe *r, const struct lj_view_plan *plan,
                          const unsigned char colour[3])
{
    const struct lj_image_box *crop = &plan->crop;
    double radians = plan->degrees * 0.017453292519943295, c = cos(radians), d = sin(radians);
    int64_t steps = 4 * s->cell; /* of a side; more than its pixels */
    for (int64_t k = 0; k < 4 * steps; k++) {
        double along = (double)(k % steps) / (double)steps - 0.5, side = k / steps % 2 ? 0.5 : -0.5;
        double x = k < 2 * steps ? along : side, y = k < 2 * steps ? side : along;
        double row = (double)crop->top + (0.5 + d * x + c * y) * (double)crop->height;
        double column = (double)crop->left + (0.5 + c * x - d * y) * (double)crop->width;
        int64_t top = (int64_t)floor(row * (double)at->height / (double)r->height);
        int64_t left = (int64_t)floor(column * (double)at->width / (double)r->width);
        if (top >= 0 && top < at->height && left >= 0 && left < at->width)
            memcpy(s->rgb + 3 * ((at->top + top) * s->width + at->left + left), colour, 3);
    }
}

/* Draws the border of the crop inside the image. */
static void frame_crop(struct lj_sheet *s, const struct lj_image_box *at,
                       const struct lj_view_recipe *r, const struct lj_image_box *crop,
                       const unsigned char colour[3])
{
    int64_t top = crop->top * at->height / r->height, left = crop->left * at->width / r->width;
    int64_t bottom = (crop->top + crop->height) * at->height / r->height;
    int64_t right = (crop->left + crop->width) * at->width / r->width;
    struct lj_image_box inner = {at->top + top + 1, at->left + left + 1,
                                 lj_max_i64(bottom - top - 2, 0), lj_max_i64(right - left - 2, 0)};
    frame(s, &inner, 1, colour);
}

void lj_sheet_view(struct lj_sheet *sheet, int64_t row, int64_t number,
                   const struct lj_view_recipe *recipe, const struct lj_view_plan *plan,
                   const float *view)
{
    const struct lj_view_recipe *r = recipe;
    const unsigned char *colour = colours[number % COLOURS];
    float scale[LJ_CHANNELS_MAX];
    for (int c = 0; c < r->channels; c++)
        scale[c] = r->std[c] > 0 ? r->std[c] : 1.0f;
    for (int p = 0; p < sheet->panels; p++) {
        struct lj_image_box at = view_place(sheet, row, p, number);
        struct lj_image_box image = image_place(sheet, row, p, r);
        draw(sheet, &at, p, view, sheet->zoom, scale, r->mean);
        frame(sheet, &at, 2, colour);
        if (plan->degrees != 0.0)
            frame_rotated(sheet, &image, r, plan, colour);
        else
            frame_crop(sheet, &image, r, &plan->crop, colour);
    }
}
