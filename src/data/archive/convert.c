/* SPDX-License-Identifier: Apache-2.0 */
/* A stored row becomes float32 planes (C, H, W): u8 / 255, i8 / 127, other types unscaled, or all
 * of them by data.full_scale; then comes data.stretch:
 *   asinh       asinh(x / scale): about linear within the scale, logarithmic above it. By default
 *               each channel's scale is its noise, as each band of a survey has its own softening
 *               (Lupton, Gunn & Szalay 1999). To stretch the mean of three bands instead (Lupton et
 *               al. 2004) keeps the hue of a picture, which normalisation does not keep anyway.
 *               Zero stays zero: backgrounds are expected to be subtracted
 *   log1p       log(1 + max(x, 0))
 *   percentile  each channel's 1st to 99th percentile to 0..1, values outside cut off
 * With data.nan=zero, a value that is not finite as float32 is replaced by 0 before the stretch:
 * zero in the archive's own units means no signal. A mean would need statistics of other rows; so
 * the values of a row depend on that row alone. */
#include "data/archive/archive.h"

#include <float.h>
#include <math.h>

_Static_assert((int)LJ_CHANNELS_MAX <= (int)LJ_CONVERT_CHANNELS_MAX,
               "the kernel takes all channels in one call");

void lj_convert_row(const struct lj_archive_header *header, const void *row, float *planes)
{
    const struct lj_archive_info *info = &header->info;
    int64_t pixels = info->stored_height * info->stored_width;
    lj_kernels()->convert(planes, row, header->element, info->channels, pixels,
                          header->axes == LJ_DATA_AXES_NHWC || header->axes == LJ_DATA_AXES_HWC);
    if (header->factor == 1.0f)
        return;
    for (int64_t i = 0; i < info->channels * pixels; i++)
        planes[i] *= header->factor;
}

bool lj_all_finite(const float *values, int64_t count)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < count; i++)
        bad |= !(fabsf(values[i]) <= FLT_MAX);
    return !bad;
}

static void stretch_percentile(const struct lj_archive_header *header, float *planes,
                               int64_t pixels)
{
    for (int c = 0; c < header->info.channels; c++) {
        float low = header->limits.low[c], range = header->limits.high[c] - low;
        for (float *x = planes + c * pixels, *end = x + pixels; x < end; x++)
            *x = range > 0 ? fminf(fmaxf((*x - low) / range, 0.0f), 1.0f) : 0.0f;
    }
}

static void stretch(const struct lj_archive_header *header, float *planes, int64_t pixels)
{
    int64_t count = header->info.channels * pixels;
    switch (header->stretch) {
    case LJ_DATA_STRETCH_NONE:
        break;
    case LJ_DATA_STRETCH_ASINH:
        for (int64_t i = 0; i < count; i++)
            planes[i] = asinhf(planes[i] / header->limits.high[i / pixels]);
        break;
    case LJ_DATA_STRETCH_LOG1P:
        for (int64_t i = 0; i < count; i++)
            planes[i] = log1pf(fmaxf(planes[i], 0.0f));
        break;
    case LJ_DATA_STRETCH_PERCENTILE:
        stretch_percentile(header, planes, pixels);
        break;
    }
}

void lj_stretch_planes(const struct lj_archive_header *header, float *planes)
{
    int64_t pixels = header->info.stored_height * header->info.stored_width;
    if (header->nan == LJ_DATA_NAN_ZERO)
        for (int64_t i = 0; i < header->info.channels * pixels; i++)
            planes[i] = fabsf(planes[i]) <= FLT_MAX ? planes[i] : 0.0f;
    stretch(header, planes, pixels);
}
