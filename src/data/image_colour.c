/* SPDX-License-Identifier: Apache-2.0 */
/* Colour operations on (3, pixels) planes in 0..1, as torchvision 0.14 defines them on float tensors:
 * blending a x + (1 - a) y clamped to 0..1, greyscale 0.2989 r + 0.587 g + 0.114 b, hue by HSV. */
#include "image.h"

static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

static inline float smaller(float a, float b)
{
    return a < b ? a : b;
}

static inline float clamp01(float x)
{
    return smaller(larger(x, 0.0f), 1.0f);
}

static inline float luma(float r, float g, float b)
{
    return 0.2989f * r + 0.587f * g + 0.114f * b;
}

/* clamp(factor * x + constant) */
LJ_VECTOR_WIDTHS static void scale_add_clamp(float *x, int64_t count, float factor, float constant)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = clamp01(factor * x[i] + constant);
}

void lj_image_brightness(float *rgb, int64_t pixels, float factor)
{
    scale_add_clamp(rgb, 3 * pixels, factor, 0.0f);
}

/* Sum of the greyscale image in 16 interleaved float32 sums, so that the order is fixed and the loop
 * still runs in vectors; pixels is at most a block. */
enum { SUM_LANES = 16, SUM_BLOCK = 4096 };

LJ_VECTOR_WIDTHS static double luma_block_sum(const float *r, const float *g, const float *b,
                                              int64_t pixels)
{
    float sums[SUM_LANES] = {0};
    int64_t whole = pixels - pixels % SUM_LANES;
    for (int64_t i = 0; i < whole; i += SUM_LANES)
        for (int64_t k = 0; k < SUM_LANES; k++)
            sums[k] += luma(r[i + k], g[i + k], b[i + k]);
    double sum = 0.0;
    for (int64_t i = whole; i < pixels; i++)
        sum += (double)luma(r[i], g[i], b[i]);
    for (int k = 0; k < SUM_LANES; k++)
        sum += (double)sums[k];
    return sum;
}

void lj_image_contrast(float *rgb, int64_t pixels, float factor)
{
    double sum = 0.0;
    for (int64_t at = 0; at < pixels; at += SUM_BLOCK)
        sum += luma_block_sum(rgb + at, rgb + pixels + at, rgb + 2 * pixels + at,
                              lj_min_i64(SUM_BLOCK, pixels - at));
    float mean = (float)(sum / (double)pixels);
    scale_add_clamp(rgb, 3 * pixels, factor, (1.0f - factor) * mean);
}

LJ_VECTOR_WIDTHS static void saturate(float *restrict r, float *restrict g, float *restrict b,
                                      int64_t pixels, float factor)
{
    float rest = 1.0f - factor;
    for (int64_t i = 0; i < pixels; i++) {
        float grey = rest * luma(r[i], g[i], b[i]);
        r[i] = clamp01(factor * r[i] + grey);
        g[i] = clamp01(factor * g[i] + grey);
        b[i] = clamp01(factor * b[i] + grey);
    }
}

void lj_image_saturation(float *rgb, int64_t pixels, float factor)
{
    saturate(rgb, rgb + pixels, rgb + 2 * pixels, pixels, factor);
}

LJ_VECTOR_WIDTHS static void grey_planes(float *restrict r, float *restrict g, float *restrict b,
                                         int64_t pixels)
{
    for (int64_t i = 0; i < pixels; i++)
        r[i] = g[i] = b[i] = luma(r[i], g[i], b[i]);
}

void lj_image_grey(float *rgb, int64_t pixels)
{
    grey_planes(rgb, rgb + pixels, rgb + 2 * pixels, pixels);
}

/* One channel of HSV to RGB without cases: with k = (n + 6 hue) mod 6, the channel is
 * value - value * saturation * clamp(min(k, 4 - k)), n = 5, 3, 1 for red, green, blue; this equals the
 * table of six sectors. chroma = value * saturation = largest - smallest channel. */
static inline float hsv_channel(float hue6, float n, float value, float chroma)
{
    float k = hue6 + n;
    k = k >= 6.0f ? k - 6.0f : k;
    return value - chroma * clamp01(smaller(k, 4.0f - k));
}

/* hue6 is the hue in sixths of a turn; a grey pixel has chroma 0 and keeps its value. */
LJ_VECTOR_WIDTHS static void turn_hue(float *restrict r, float *restrict g, float *restrict b,
                                      int64_t pixels, float turn6)
{
    for (int64_t i = 0; i < pixels; i++) {
        float red = r[i], green = g[i], blue = b[i];
        float value = larger(red, larger(green, blue));
        float chroma = value - smaller(red, smaller(green, blue));
        float divisor = chroma > 0.0f ? chroma : 1.0f;
        float from_red = (green - blue) / divisor;
        float from_green = 2.0f + (blue - red) / divisor;
        float from_blue = 4.0f + (red - green) / divisor;
        float hue6 = value == red ? from_red : value == green ? from_green : from_blue;
        hue6 += turn6;
        hue6 = hue6 < 0.0f ? hue6 + 6.0f : hue6;
        hue6 = hue6 >= 6.0f ? hue6 - 6.0f : hue6;
        r[i] = hsv_channel(hue6, 5.0f, value, chroma);
        g[i] = hsv_channel(hue6, 3.0f, value, chroma);
        b[i] = hsv_channel(hue6, 1.0f, value, chroma);
    }
}

void lj_image_hue(float *rgb, int64_t pixels, float shift)
{
    turn_hue(rgb, rgb + pixels, rgb + 2 * pixels, pixels, 6.0f * shift);
}
