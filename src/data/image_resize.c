/* SPDX-License-Identifier: Apache-2.0 */
/* Antialiased bilinear resize as PyTorch 1.13 does it on float tensors (interpolate, antialias=True):
 * separable, a triangle filter as wide as the scale. For output i of an axis, with s = in / out,
 *   centre = s (i + 1/2),  support = max(s, 1),
 *   taps j from int(centre - support + 1/2) to int(centre + support + 1/2), cut to the input,
 *   weight(j) = triangle((j + 1/2 - centre) / max(s, 1)), divided by their sum.
 * Positions are rounded to float32 where PyTorch rounds them: a weight depends on it by 1e-5.
 *
 * Columns first, one output row at a time: the weighted sum of source rows is contiguous in x and reads
 * the crop where it lies; the row is then resampled along x from a small buffer. */
#include "image.h"

#include <math.h>
#include <string.h>

/* Taps of the outputs `from` .. `from + count - 1` of one axis. */
struct axis {
    int64_t taps;   /* of every output, unused ones have weight 0 */
    int64_t count;  /* outputs */
    int32_t *first; /* (count) */
    float *weight;  /* (taps, count): tap-major, so that a loop over outputs is contiguous */
};

static float axis_scale(int64_t in, int64_t out)
{
    return (float)in / (float)out;
}

static float axis_support(int64_t in, int64_t out)
{
    float scale = axis_scale(in, out);
    return scale >= 1.0f ? scale : 1.0f;
}

static int64_t axis_taps(int64_t in, int64_t out)
{
    return 2 * (int64_t)ceilf(axis_support(in, out)) + 1;
}

static int64_t axis_scratch(int64_t in, int64_t out)
{
    return (axis_taps(in, out) + 1) * out;
}

/* Weights of the taps that start at *first; returns how many there are. */
static int64_t weigh(float *weight, int64_t stride, int32_t *first, int64_t i, int64_t in,
                     int64_t out)
{
    float scale = axis_scale(in, out), support = axis_support(in, out), invscale = 1.0f / support;
    float centre = (float)((double)scale * ((double)i + 0.5));
    int64_t low = lj_max_i64((int64_t)((double)(centre - support) + 0.5), 0);
    int64_t taps = lj_min_i64((int64_t)((double)(centre + support) + 0.5), in) - low;
    float total = 0.0f;
    for (int64_t j = 0; j < taps; j++) {
        float distance = (float)(((double)((float)(j + low) - centre) + 0.5) * (double)invscale);
        weight[j * stride] = fabsf(distance) < 1.0f ? 1.0f - fabsf(distance) : 0.0f;
        total += weight[j * stride];
    }
    for (int64_t j = 0; j < taps; j++)
        weight[j * stride] /= total;
    *first = (int32_t)low;
    return taps;
}

/* Fills the table of one axis in scratch; returns what of scratch is left. */
static float *make_axis(struct axis *axis, int64_t in, int64_t out, int64_t from, int64_t count,
                        float *scratch)
{
    axis->taps = axis_taps(in, out);
    axis->count = count;
    axis->first = (int32_t *)(void *)scratch;
    axis->weight = scratch + count;
    for (int64_t i = 0; i < count; i++) {
        int64_t taps = weigh(axis->weight + i, count, &axis->first[i], from + i, in, out);
        for (int64_t j = taps; j < axis->taps; j++)
            axis->weight[j * count + i] = 0.0f;
    }
    return axis->weight + axis->taps * count;
}

LJ_VECTOR_WIDTHS static void scale_row(float *restrict out, const float *restrict in, int64_t n,
                                       float weight)
{
    for (int64_t x = 0; x < n; x++)
        out[x] = weight * in[x];
}

LJ_VECTOR_WIDTHS static void add_row(float *restrict out, const float *restrict in, int64_t n,
                                     float weight)
{
    for (int64_t x = 0; x < n; x++)
        out[x] += weight * in[x];
}

/* row = the weighted sum of source rows for output i; plane points at the box's first pixel */
static void sum_rows(float *row, const float *plane, int64_t stride, int64_t width,
                     const struct axis *y, int64_t i)
{
    const float *source = plane + y->first[i] * stride;
    scale_row(row, source, width, y->weight[i]);
    for (int64_t j = 1; j < y->taps; j++) {
        float weight = y->weight[j * y->count + i];
        if (weight != 0.0f) /* behind the last tap there may be no row */
            add_row(row, source + j * stride, width, weight);
    }
}

LJ_VECTOR_WIDTHS static void start_taps(float *restrict out, const float *restrict row,
                                        const int32_t *restrict first, const float *restrict weight,
                                        int64_t n)
{
    for (int64_t x = 0; x < n; x++)
        out[x] = weight[x] * row[first[x]];
}

LJ_VECTOR_WIDTHS static void add_taps(float *restrict out, const float *restrict row,
                                      const int32_t *restrict first, const float *restrict weight,
                                      int64_t n)
{
    for (int64_t x = 0; x < n; x++)
        out[x] += weight[x] * row[first[x]];
}

/* The taps of weight 0 may lie behind the row: its buffer goes on with zeros. */
static void sum_columns(float *out, const float *row, const struct axis *x)
{
    start_taps(out, row, x->first, x->weight, x->count);
    for (int64_t j = 1; j < x->taps; j++)
        add_taps(out, row + j, x->first, x->weight + j * x->count, x->count);
}

int64_t lj_image_resize_scratch(int channels, int64_t box_h, int64_t box_w, int64_t out_h,
                                int64_t out_w)
{
    (void)channels; /* planes are resized one after the other */
    return axis_scratch(box_h, out_h) + axis_scratch(box_w, out_w) + box_w +
           axis_taps(box_w, out_w);
}

void lj_image_resize_window(float *out, const float *image, int channels, int64_t height,
                            int64_t width, const struct lj_image_box *box, int64_t full_h,
                            int64_t full_w, const struct lj_image_box *window, float *scratch)
{
    struct axis x, y;
    float *row = make_axis(&y, box->height, full_h, window->top, window->height, scratch);
    row = make_axis(&x, box->width, full_w, window->left, window->width, row);
    memset(row + box->width, 0, (size_t)x.taps * sizeof *row);
    for (int c = 0; c < channels; c++) {
        const float *plane = image + (c * height + box->top) * width + box->left;
        for (int64_t i = 0; i < y.count; i++, out += x.count) {
            sum_rows(row, plane, width, box->width, &y, i);
            sum_columns(out, row, &x);
        }
    }
}

void lj_image_resize(float *out, const float *image, int channels, int64_t height, int64_t width,
                     int64_t top, int64_t left, int64_t box_h, int64_t box_w, int64_t out_h,
                     int64_t out_w, float *scratch)
{
    struct lj_image_box box = {top, left, box_h, box_w}, all = {0, 0, out_h, out_w};
    lj_image_resize_window(out, image, channels, height, width, &box, out_h, out_w, &all, scratch);
}
