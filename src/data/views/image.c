/* SPDX-License-Identifier: Apache-2.0 */
/* Flips and rotations by quarter turns. */
#include "data/views/image.h"

#include <string.h>

void lj_image_flip_x(float *image, int channels, int64_t height, int64_t width)
{
    for (int64_t y = 0; y < channels * height; y++) {
        float *row = image + y * width;
        for (int64_t x = 0; x < width / 2; x++) {
            float left = row[x];
            row[x] = row[width - 1 - x];
            row[width - 1 - x] = left;
        }
    }
}

static void swap_rows(float *restrict a, float *restrict b, int64_t width)
{
    for (int64_t x = 0; x < width; x++) {
        float upper = a[x];
        a[x] = b[x];
        b[x] = upper;
    }
}

void lj_image_flip_y(float *image, int channels, int64_t height, int64_t width)
{
    for (int c = 0; c < channels; c++) {
        float *plane = image + c * height * width;
        for (int64_t y = 0; y < height / 2; y++)
            swap_rows(plane + y * width, plane + (height - 1 - y) * width, width);
    }
}

/* out[y][x] = in[x][size - 1 - y] */
static void rotate_plane(float *restrict out, const float *restrict in, int64_t size)
{
    for (int64_t y = 0; y < size; y++)
        for (int64_t x = 0; x < size; x++)
            out[y * size + x] = in[x * size + size - 1 - y];
}

void lj_image_rotate(float *image, int channels, int64_t size, int quarters, float *scratch)
{
    if (quarters & 2) {
        lj_image_flip_x(image, channels, size, size);
        lj_image_flip_y(image, channels, size, size);
    }
    if (!(quarters & 1))
        return;
    for (int c = 0; c < channels; c++) {
        float *plane = image + c * size * size;
        rotate_plane(scratch, plane, size);
        memcpy(plane, scratch, (size_t)(size * size) * sizeof *plane);
    }
}
