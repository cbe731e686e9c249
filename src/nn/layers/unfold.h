/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn: the windows of a convolution as rows of a matrix (im2col), and back. */
#ifndef LEJEPA_NN_UNFOLD_H
#define LEJEPA_NN_UNFOLD_H

#include "nn/nn.h"

/* The windows that a convolution sees of one image. Those outside the image see zeros there. */
struct lj_windows {
    bool planes;                     /* the image is (C, H, W), not (H, W, C) */
    int64_t channels, height, width; /* of the image */
    int64_t kernel, stride, padding; /* pixels, the same along both axes */
    int64_t lines, columns;          /* windows down and across: H', W' */
};

/* Fills in `lines` and `columns`; either is below 1 where no window fits. */
void lj_windows_count(struct lj_windows *windows);
/* Elements of a window, C k k. */
int64_t lj_windows_features(const struct lj_windows *windows);
/* Lines that are unfolded at a time, so that their rows stay in cache. */
int64_t lj_windows_at_once(const struct lj_windows *windows);

/* Lines [first, first + count) of windows, numbered through all images. Local.
 *   rows  out  (count, W', C k k) of x's type; a row is in the order (C, k, k) of the weights
 *   x     in   (images, H, W, C), or planes */
void lj_unfold(const struct lj_windows *windows, int64_t first, int64_t count, const void *x,
               enum lj_type type, void *rows);
/* The transposed map: adds each element of the rows to where lj_unfold found it. Local.
 *   dx    in/out  (images, H, W, C); not planes
 *   rows  in      (count, W', C k k) */
void lj_fold(const struct lj_windows *windows, int64_t first, int64_t count, const float *rows,
             float *dx);

#endif
