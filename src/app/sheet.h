/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app: the contact sheet of `views`. A row of cells is a sample: the image as it was
 * read, then its views. All local. */
#ifndef LEJEPA_APP_SHEET_H
#define LEJEPA_APP_SHEET_H

#include "data/data.h"

struct lj_sheet {
    int64_t width, height;         /* pixels */
    unsigned char *rgb;            /* (height, width, 3) owned */
    int64_t cell;                  /* height of a cell, width of those of images, pixels */
    int64_t globals;               /* global views of a sample */
    int64_t column[2];             /* width of a cell of a global, of a local view */
    int64_t zoom;                  /* side of the square that a pixel of a view becomes */
    int panels;                    /* pictures of a cell, one below the other */
    int panel[LJ_CHANNELS_MAX][3]; /* (panels) channels shown as red, green and blue */
    float low[LJ_CHANNELS_MAX];    /* value of a channel that is shown as 0 */
    float high[LJ_CHANNELS_MAX];   /* as 255 */
};

/* 0..1 as a byte of a picture; what is beyond is cut off. */
unsigned char lj_byte_of(double share);

/* Reads the argument `channels`. Errors: LJ_ERR_CONFIG. */
int lj_sheet_choose(struct lj_sheet *sheet, const char *text, int channels) LJ_MUST_USE;

/* Chooses the range of values that is shown: 0..1 of colours, else for each channel all but the
 * lowest and the highest half per cent of the images that are shown.
 *   images  in  (count) of (channels, pixels)
 * Errors: LJ_ERR_RESOURCE. */
int lj_sheet_range(struct lj_sheet *sheet, const struct lj_view_recipe *recipe,
                   const float *const *images, int64_t count) LJ_MUST_USE;

/* Makes the empty sheet of so many rows.
 *   views  in  of a sample: global, local
 *   size   in  their sides, pixels
 * Errors: LJ_ERR_RESOURCE; LJ_ERR_CONFIG: too large a picture. */
int lj_sheet_create(struct lj_sheet *sheet, int64_t rows, const int64_t views[2],
                    const int64_t size[2]) LJ_MUST_USE;
void lj_sheet_destroy(struct lj_sheet *sheet);

/* Draws the image of a row.  image (channels, height, width) of the recipe
 * Errors: LJ_ERR_RESOURCE. */
int lj_sheet_image(struct lj_sheet *sheet, int64_t row, const struct lj_view_recipe *recipe,
                   const float *image) LJ_MUST_USE;

/* Draws a view, and in its colour a frame around it and one around its crop in the image.
 *   view  in  (channels, size, size), normalised */
void lj_sheet_view(struct lj_sheet *sheet, int64_t row, int64_t number,
                   const struct lj_view_recipe *recipe, const struct lj_view_plan *plan,
                   const float *view);

#endif
