/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data; tests compare each operation. Operations on images of float32 planes, (C, H,
 * W) row-major, in place unless there is an argument `out`. Each does what torchvision 0.14 does
 * with float tensors; colours lie in 0..1. Local, thread-safe, no allocation; scratch is
 * provided by the caller. */
#ifndef LEJEPA_DATA_IMAGE_H
#define LEJEPA_DATA_IMAGE_H

#include "data/data.h"

/* ---- image.c ----------------------------------------------------------------------------- */

void lj_image_flip_x(float *image, int channels, int64_t height, int64_t width);
void lj_image_flip_y(float *image, int channels, int64_t height, int64_t width);
/* Rotates square planes counter-clockwise by quarters * 90 degrees.  scratch (size, size) */
void lj_image_rotate(float *image, int channels, int64_t size, int quarters, float *scratch);

/* ---- image_colour.c: rgb (3, pixels) ----------------------------------------------------- */

void lj_image_brightness(float *rgb, int64_t pixels, float factor);
void lj_image_contrast(float *rgb, int64_t pixels, float factor);
void lj_image_saturation(float *rgb, int64_t pixels, float factor);
/* Turns the hue by `shift` turns, -0.5 .. 0.5. */
void lj_image_hue(float *rgb, int64_t pixels, float shift);
/* Makes all three channels the grey value. */
void lj_image_grey(float *rgb, int64_t pixels);

/* ---- image_blur.c ------------------------------------------------------------------------ */

/* Floats of scratch that lj_image_blur needs. */
int64_t lj_image_blur_scratch(int64_t height, int64_t width, int64_t radius);
/* Gaussian blur by a kernel of 2 radius + 1 pixels, the image reflected at its border;
 * radius < min(height, width). */
void lj_image_blur(float *image, int channels, int64_t height, int64_t width, double sigma,
                   int64_t radius, float *scratch);

/* ---- image_resize.c ---------------------------------------------------------------------- */

/* Resizes the box of an image to (full_h, full_w) and cuts the window out of the result; pixels
 * outside the window are not computed.
 *   out      out  (channels, window->height, window->width)
 *   image    in   (channels, height, width)
 *   scratch       (lj_image_resize_scratch) for the box and (full_h, full_w) */
void lj_image_resize_window(float *out, const float *image, int channels, int64_t height,
                            int64_t width, const struct lj_image_box *box, int64_t full_h,
                            int64_t full_w, const struct lj_image_box *window, float *scratch);

/* ---- image_rotate.c ---------------------------------------------------------------------- */

/* The pixels of an image of (height, width) that a box shows when it is rotated about its centre,
 * and some more. */
void lj_image_surroundings(struct lj_image_box *around, const struct lj_image_box *box,
                           double degrees, int64_t height, int64_t width);
/* Floats of scratch that lj_image_resize_rotated needs. */
int64_t lj_image_rotate_scratch(int64_t height, int64_t width, int64_t size);
/* Resizes a box of an image to (size, size), rotated counter-clockwise about the box's centre: what
 * comes into its corners are the pixels around it. The image is reflected at its border.
 *   out      out  (channels, size, size)
 *   image    in   (channels, height, width)
 *   degrees  in   any
 *   scratch       (lj_image_rotate_scratch) */
void lj_image_resize_rotated(float *out, const float *image, int channels, int64_t height,
                             int64_t width, const struct lj_image_box *box, int64_t size,
                             double degrees, float *scratch);

#endif
