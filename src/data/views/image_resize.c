/* SPDX-License-Identifier: Apache-2.0 */
/* Antialiased bilinear resize as PyTorch 1.13 does it on float tensors (interpolate,
 * antialias=True): separable, a triangle filter as wide as the scale. For output i of an axis, with
 * s = in / out,
 *   centre = s (i + 1/2),  support = max(s, 1),
 *   taps j from int(centre - support + 1/2) to int(centre + support + 1/2), cut to the input,
 *   weight(j) = triangle((j + 1/2 - centre) / max(s, 1)), divided by their sum.
 * Positions are rounded to float32 where PyTorch rounds them, because this changes weights by up to
 * 1e-5.
 *
 * Vertically first, a few output rows at a time: each is a weighted sum of source rows, read where
 * the image lies; then these rows are resampled horizontally from a small buffer. */
#include "data/views/image.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

/* Output rows that are resampled horizontally together, so that positions and weights are read once
 * for all of them. */
enum { ROWS = 8 };

/* Which inputs make the outputs of one axis, and with what weights. Output i reads the inputs
 * from first[i] on, input first[i] + j with weight[i * output_step + j * tap_step]. All outputs
 * have as many taps as the largest needs, all inside the input; those that an output does not
 * need have weight 0. */
struct axis {
    int64_t count;       /* outputs */
    int64_t taps;        /* inputs of each */
    int64_t output_step; /* between the weights of neighbouring outputs */
    int64_t tap_step;    /* between the weights of neighbouring taps */
    int32_t *first;      /* (count) first input of each output */
    float *weight;       /* (count, taps) or (taps, count) */
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

static int64_t axis_taps_max(int64_t in, int64_t out)
{
    return 2 * (int64_t)ceilf(axis_support(in, out)) + 1;
}

static int64_t axis_scratch(int64_t in, int64_t out)
{
    return (axis_taps_max(in, out) + 1) * out;
}

/* The inputs that one output depends on. */
struct span {
    float centre; /* of the filter, in inputs */
    int64_t low;  /* first input */
    int64_t taps; /* number of inputs */
};

static struct span span_of(int64_t i, int64_t in, int64_t out)
{
    float scale = axis_scale(in, out), support = axis_support(in, out);
    struct span span = {.centre = (float)((double)scale * ((double)i + 0.5))};
    span.low = lj_max_i64((int64_t)((double)(span.centre - support) + 0.5), 0);
    span.taps = lj_min_i64((int64_t)((double)(span.centre + support) + 0.5), in) - span.low;
    return span;
}

/* Writes the weights of the span's inputs, `step` floats apart. */
static void weigh(float *weight, int64_t step, const struct span *span, float invscale)
{
    float total = 0.0f;
    for (int64_t j = 0; j < span->taps; j++) {
        double shift = (double)((float)(j + span->low) - span->centre) + 0.5;
        float distance = fabsf((float)(shift * (double)invscale));
        weight[j * step] = distance < 1.0f ? 1.0f - distance : 0.0f;
        total += weight[j * step];
    }
    for (int64_t j = 0; j < span->taps; j++)
        weight[j * step] /= total;
}

/* Makes the axis of outputs from .. from + count - 1, of `out` outputs from `in` inputs, in
 * scratch; returns the rest of the scratch. */
static float *make_axis(struct axis *axis, int64_t in, int64_t out, int64_t from, int64_t count,
                        bool tap_major, float *scratch)
{
    float invscale = 1.0f / axis_support(in, out);
    int64_t taps = 1;
    for (int64_t i = 0; i < count; i++)
        taps = lj_max_i64(taps, span_of(from + i, in, out).taps);
    *axis = (struct axis){.count = count,
                          .taps = taps,
                          .output_step = tap_major ? 1 : taps,
                          .tap_step = tap_major ? count : 1,
                          .first = (int32_t *)(void *)scratch,
                          .weight = scratch + count};
    memset(axis->weight, 0, (size_t)(taps * count) * sizeof *axis->weight);
    for (int64_t i = 0; i < count; i++) {
        struct span span = span_of(from + i, in, out);
        int64_t first = lj_min_i64(span.low, in - taps), skip = span.low - first;
        axis->first[i] = (int32_t)first;
        weigh(axis->weight + i * axis->output_step + skip * axis->tap_step, axis->tap_step, &span,
              invscale);
    }
    return axis->weight + taps * count;
}

int64_t lj_image_resize_scratch(int channels, int64_t box_h, int64_t box_w, int64_t out_h,
                                int64_t out_w)
{
    (void)channels; /* planes are resized one after the other */
    return axis_scratch(box_h, out_h) + axis_scratch(box_w, out_w) + ROWS * box_w +
           LJ_RESAMPLE_SLACK;
}

/* Resizes one plane; plane points at the first pixel of the box, rows is scratch. */
static void resize_plane(float *out, const float *plane, int64_t stride, int64_t width,
                         const struct axis *y, const struct axis *x, float *rows)
{
    const struct lj_kernels *k = lj_kernels();
    for (int64_t i = 0; i < y->count; i += ROWS) {
        int64_t n = lj_min_i64(ROWS, y->count - i);
        for (int64_t r = 0; r < n; r++)
            k->weighted_sum(rows + r * width, plane + y->first[i + r] * stride, stride,
                            y->weight + (i + r) * y->output_step, y->taps, width);
        k->resample(out + i * x->count, rows, width, n, x->first, x->weight, x->taps, x->count);
    }
}

void lj_image_resize_window(float *out, const float *image, int channels, int64_t height,
                            int64_t width, const struct lj_image_box *box, int64_t full_h,
                            int64_t full_w, const struct lj_image_box *window, float *scratch)
{
    struct axis x, y;
    scratch = make_axis(&y, box->height, full_h, window->top, window->height, false, scratch);
    scratch = make_axis(&x, box->width, full_w, window->left, window->width, true, scratch);
    for (int c = 0; c < channels; c++) {
        const float *plane = image + (c * height + box->top) * width + box->left;
        resize_plane(out + c * y.count * x.count, plane, width, box->width, &y, &x, scratch);
    }
}

void lj_image_resize(float *out, const float *image, int channels, int64_t height, int64_t width,
                     int64_t top, int64_t left, int64_t box_h, int64_t box_w, int64_t out_h,
                     int64_t out_w, float *scratch)
{
    struct lj_image_box box = {top, left, box_h, box_w}, all = {0, 0, out_h, out_w};
    lj_image_resize_window(out, image, channels, height, width, &box, out_h, out_w, &all, scratch);
}
