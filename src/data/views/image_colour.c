/* SPDX-License-Identifier: Apache-2.0 */
/* Colour operations on (3, pixels) planes in 0..1, as torchvision 0.14 does them with
 * float tensors: blending a x + (1 - a) y, clamped to 0..1; greyscale 0.2989 r + 0.587 g +
 * 0.114 b; hue by HSV. */
#include "data/views/image.h"

#include "kernels/kernels.h"

void lj_image_brightness(float *rgb, int64_t pixels, float factor)
{
    lj_kernels()->blend(rgb, 3 * pixels, factor, 0.0f);
}

void lj_image_contrast(float *rgb, int64_t pixels, float factor)
{
    float mean = (float)(lj_kernels()->luma_sum(rgb, pixels) / (double)pixels);
    lj_kernels()->blend(rgb, 3 * pixels, factor, (1.0f - factor) * mean);
}

void lj_image_saturation(float *rgb, int64_t pixels, float factor)
{
    lj_kernels()->saturate(rgb, pixels, factor);
}

void lj_image_grey(float *rgb, int64_t pixels)
{
    lj_kernels()->grey(rgb, pixels);
}

void lj_image_hue(float *rgb, int64_t pixels, float shift)
{
    lj_kernels()->hue(rgb, pixels, 6.0f * shift);
}
