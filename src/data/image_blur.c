/* SPDX-License-Identifier: Apache-2.0 */
/* Gaussian blur as torchvision's gaussian_blur: weights exp(-x^2 / 2 sigma^2) at integer x, normalised
 * to sum 1, border reflected without repeating the edge pixel. Separable: rows, then columns. */
#include "image.h"

#include <math.h>
#include <string.h>

/* One plane between the passes, a padded row and the weights. */
int64_t lj_image_blur_scratch(int64_t height, int64_t width)
{
    int64_t longer = lj_max_i64(height, width);
    return height * width + 3 * longer + longer;
}

/* weight[k] of the pixels at distance k, 0 .. radius */
static void gaussian(float *weight, int64_t radius, double sigma)
{
    double sum = 0.0;
    for (int64_t k = -radius; k <= radius; k++)
        sum += exp(-0.5 * (double)(k * k) / (sigma * sigma));
    for (int64_t k = 0; k <= radius; k++)
        weight[k] = (float)(exp(-0.5 * (double)(k * k) / (sigma * sigma)) / sum);
}

static inline int64_t reflect(int64_t i, int64_t n)
{
    if (i < 0)
        return -i;
    return i < n ? i : 2 * (n - 1) - i;
}

LJ_VECTOR_WIDTHS static void weigh_row(float *restrict out, const float *restrict in, int64_t n,
                                       float weight)
{
    for (int64_t x = 0; x < n; x++)
        out[x] = weight * in[x];
}

/* out += weight * (a + b); a and b may be the same row */
LJ_VECTOR_WIDTHS static void add_pair(float *restrict out, const float *a, const float *b,
                                      int64_t n, float weight)
{
    for (int64_t x = 0; x < n; x++)
        out[x] += weight * (a[x] + b[x]);
}

static void blur_rows(float *out, const float *plane, int64_t height, int64_t width,
                      const float *weight, int64_t radius, float *padded)
{
    for (int64_t y = 0; y < height; y++) {
        const float *row = plane + y * width;
        memcpy(padded + radius, row, (size_t)width * sizeof *row);
        for (int64_t k = 1; k <= radius; k++) {
            padded[radius - k] = row[k];
            padded[radius + width - 1 + k] = row[width - 1 - k];
        }
        const float *middle = padded + radius;
        weigh_row(out + y * width, middle, width, weight[0]);
        for (int64_t k = 1; k <= radius; k++)
            add_pair(out + y * width, middle - k, middle + k, width, weight[k]);
    }
}

static void blur_columns(float *out, const float *plane, int64_t height, int64_t width,
                         const float *weight, int64_t radius)
{
    for (int64_t y = 0; y < height; y++) {
        weigh_row(out + y * width, plane + y * width, width, weight[0]);
        for (int64_t k = 1; k <= radius; k++)
            add_pair(out + y * width, plane + reflect(y - k, height) * width,
                     plane + reflect(y + k, height) * width, width, weight[k]);
    }
}

void lj_image_blur(float *image, int channels, int64_t height, int64_t width, double sigma,
                   int64_t radius, float *scratch)
{
    LJ_CHECK(radius >= 0 && radius < lj_min_i64(height, width),
             "blur of radius %lld in %lld x %lld pixels", (long long)radius, (long long)height,
             (long long)width);
    float *between = scratch, *padded = scratch + height * width;
    float *weight = padded + 3 * lj_max_i64(height, width);
    gaussian(weight, radius, sigma);
    for (int c = 0; c < channels; c++) {
        float *plane = image + c * height * width;
        blur_rows(between, plane, height, width, weight, radius, padded);
        blur_columns(plane, between, height, width, weight, radius);
    }
}
