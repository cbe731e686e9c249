/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. Operations on images of float32 planes, (C, H, W) row-major, in place unless an out is named. Each
 * does what torchvision 0.14 defines for float tensors; colours lie in 0..1. Private to data; visible
 * so that tests can compare each operation. Local, no allocation. */
#ifndef LEJEPA_DATA_IMAGE_H
#define LEJEPA_DATA_IMAGE_H

#include "data/data.h"

/* Part of a source image: rows top .. top + height - 1, columns left .. left + width - 1. */
struct lj_image_box {
    int64_t top, left, height, width;
};

/* ---- image.c --------------------------------------------------------------------------------- */

void lj_image_flip_x(float *image, int channels, int64_t height, int64_t width);
void lj_image_flip_y(float *image, int channels, int64_t height, int64_t width);
/* Counter-clockwise by quarters * 90 degrees; square planes. scratch (size, size). */
void lj_image_rotate(float *image, int channels, int64_t size, int quarters, float *scratch);

/* ---- image_colour.c: rgb (3, pixels) --------------------------------------------------------- */

void lj_image_brightness(float *rgb, int64_t pixels, float factor);
void lj_image_contrast(float *rgb, int64_t pixels, float factor);
void lj_image_saturation(float *rgb, int64_t pixels, float factor);
void lj_image_hue(float *rgb, int64_t pixels, float shift); /* turns, -0.5 .. 0.5 */
void lj_image_grey(float *rgb, int64_t pixels);             /* three equal channels */

/* ---- image_blur.c ---------------------------------------------------------------------------- */

int64_t lj_image_blur_scratch(int64_t height, int64_t width, int64_t radius);
/* Kernel of 2 radius + 1 pixels, reflected at the border; radius < min(height, width). */
void lj_image_blur(float *image, int channels, int64_t height, int64_t width, double sigma,
                   int64_t radius, float *scratch);

/* ---- image_resize.c -------------------------------------------------------------------------- */

/* The part `window` of what resizing the part `box` of image to (full_h, full_w) gives; pixels
 * outside the window are not computed. scratch: lj_image_resize_scratch of box and (full_h, full_w).
 *   out  (C, window.height, window.width) */
void lj_image_resize_window(float *out, const float *image, int channels, int64_t height,
                            int64_t width, const struct lj_image_box *box, int64_t full_h,
                            int64_t full_w, const struct lj_image_box *window, float *scratch);

#endif
