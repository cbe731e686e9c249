/* SPDX-License-Identifier: Apache-2.0 */
/* Gaussian blur as torchvision's gaussian_blur: weights exp(-x^2 / 2 sigma^2) at integer
 * x, normalised to sum 1, border reflected without repeating the edge pixel. Separable:
 * rows, then columns. */
#include "data/views/image.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* Rows that are padded before any of them is blurred. A processor loads data slowly that it has
 * just stored at another offset; after 8 rows the stores are done. */
enum { ROWS = 8 };

/* Scratch holds the plane blurred along its rows, with `radius` rows more above and below, then
 * ROWS padded rows, then the weights. */
int64_t lj_image_blur_scratch(int64_t height, int64_t width, int64_t radius)
{
    return (height + 2 * radius) * width + ROWS * (width + 2 * radius) + 2 * radius + 1;
}

/* Fills weight (2 radius + 1). */
static void gaussian(float *weight, int64_t radius, double sigma)
{
    double sum = 0.0;
    for (int64_t k = -radius; k <= radius; k++)
        sum += exp(-0.5 * (double)(k * k) / (sigma * sigma));
    for (int64_t k = -radius; k <= radius; k++)
        weight[radius + k] = (float)(exp(-0.5 * (double)(k * k) / (sigma * sigma)) / sum);
}

static void pad_row(float *padded, const float *row, int64_t width, int64_t radius)
{
    memcpy(padded + radius, row, (size_t)width * sizeof *row);
    for (int64_t k = 1; k <= radius; k++) {
        padded[radius - k] = row[k];
        padded[radius + width - 1 + k] = row[width - 1 - k];
    }
}

static void blur_rows(float *out, const float *plane, int64_t height, int64_t width,
                      const float *weight, int64_t radius, float *padded)
{
    int64_t taps = 2 * radius + 1, step = width + 2 * radius;
    for (int64_t y = 0; y < height; y += ROWS) {
        int64_t n = lj_min_i64(ROWS, height - y);
        for (int64_t r = 0; r < n; r++)
            pad_row(padded + r * step, plane + (y + r) * width, width, radius);
        for (int64_t r = 0; r < n; r++)
            lj_kernels()->weighted_sum(out + (y + r) * width, padded + r * step, 1, weight, taps,
                                       width);
    }
}

/* Fills the `radius` rows above and below the plane with its reflection. */
static void pad_columns(float *plane, int64_t height, int64_t width, int64_t radius)
{
    size_t bytes = (size_t)width * sizeof *plane;
    float *last = plane + (height - 1) * width;
    for (int64_t k = 1; k <= radius; k++) {
        memcpy(plane - k * width, plane + k * width, bytes);
        memcpy(last + k * width, last - k * width, bytes);
    }
}

void lj_image_blur(float *image, int channels, int64_t height, int64_t width, double sigma,
                   int64_t radius, float *scratch)
{
    LJ_CHECK(radius >= 0 && radius < lj_min_i64(height, width),
             "blur of radius %lld in %lld x %lld pixels", (long long)radius, (long long)height,
             (long long)width);
    float *between = scratch, *padded = between + (height + 2 * radius) * width;
    float *weight = padded + ROWS * (width + 2 * radius);
    gaussian(weight, radius, sigma);
    for (int c = 0; c < channels; c++) {
        float *plane = image + c * height * width;
        blur_rows(between + radius * width, plane, height, width, weight, radius, padded);
        pad_columns(between + radius * width, height, width, radius);
        lj_kernels()->weighted_sum(plane, between, width, weight, 2 * radius + 1, height * width);
    }
}
