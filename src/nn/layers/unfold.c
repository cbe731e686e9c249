/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of images as rows of a matrix, and their gradients back to the images. */
#include "nn/layers/unfold.h"

#include <string.h>

/* Rows of a matmul that with 64 channels of 3 x 3 windows fill about 1 MiB. */
enum { ROWS_AT_ONCE = 512 };

static int64_t windows_along(int64_t pixels, const struct lj_windows *w)
{
    int64_t free = pixels + 2 * w->padding - w->kernel;
    return free < 0 ? 0 : free / w->stride + 1;
}

void lj_windows_count(struct lj_windows *windows)
{
    windows->lines = windows_along(windows->height, windows);
    windows->columns = windows_along(windows->width, windows);
}

int64_t lj_windows_features(const struct lj_windows *windows)
{
    return windows->channels * windows->kernel * windows->kernel;
}

int64_t lj_windows_at_once(const struct lj_windows *windows)
{
    return lj_max_i64(ROWS_AT_ONCE / windows->columns, 1);
}

/* Where element (line y, column x, channel c) of an image lies; -1: outside. */
static int64_t place(const struct lj_windows *w, int64_t y, int64_t x, int64_t c)
{
    if (y < 0 || y >= w->height || x < 0 || x >= w->width)
        return -1;
    return w->planes ? (c * w->height + y) * w->width + x : (y * w->width + x) * w->channels + c;
}

/* Elements from one channel of a pixel to the next. */
static int64_t channel_step(const struct lj_windows *w)
{
    return w->planes ? w->height * w->width : 1;
}

/* The index, from the image's first element, of each line of windows. */
static int64_t image_of(const struct lj_windows *w, int64_t line)
{
    return line / w->lines * w->channels * w->height * w->width;
}

/* Copies the pixel at `from` (-1: zeros) to one place of the window in each channel. */
static void copy_pixel(const struct lj_windows *w, const void *image, int64_t from,
                       enum lj_type type, void *row)
{
    int64_t taps = w->kernel * w->kernel, step = channel_step(w);
    if (type == LJ_BF16) {
        const lj_bf16 *x = image;
        lj_bf16 *y = row;
        for (int64_t c = 0; c < w->channels; c++)
            y[c * taps] = from < 0 ? 0 : x[from + c * step];
    } else {
        const float *x = image;
        float *y = row;
        for (int64_t c = 0; c < w->channels; c++)
            y[c * taps] = from < 0 ? 0 : x[from + c * step];
    }
}

void lj_unfold(const struct lj_windows *windows, int64_t first, int64_t count, const void *x,
               enum lj_type type, void *rows)
{
    int64_t k = windows->kernel, size = lj_type_bytes(type);
    char *row = rows;
    for (int64_t line = first; line < first + count; line++) {
        const char *image = (const char *)x + image_of(windows, line) * size;
        int64_t top = line % windows->lines * windows->stride - windows->padding;
        for (int64_t column = 0; column < windows->columns; column++) {
            int64_t left = column * windows->stride - windows->padding;
            for (int64_t tap = 0; tap < k * k; tap++)
                copy_pixel(windows, image, place(windows, top + tap / k, left + tap % k, 0), type,
                           row + tap * size);
            row += lj_windows_features(windows) * size;
        }
    }
}

void lj_fold(const struct lj_windows *windows, int64_t first, int64_t count, const float *rows,
             float *dx)
{
    int64_t k = windows->kernel;
    for (int64_t line = first; line < first + count; line++) {
        float *image = dx + image_of(windows, line);
        int64_t top = line % windows->lines * windows->stride - windows->padding;
        for (int64_t column = 0; column < windows->columns; column++) {
            int64_t left = column * windows->stride - windows->padding;
            for (int64_t tap = 0; tap < k * k; tap++) {
                int64_t to = place(windows, top + tap / k, left + tap % k, 0);
                for (int64_t c = 0; c < windows->channels && to >= 0; c++)
                    image[to + c] += rows[c * k * k + tap];
            }
            rows += lj_windows_features(windows);
        }
    }
}
