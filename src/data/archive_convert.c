/* SPDX-License-Identifier: Apache-2.0 */
/* A stored row becomes float32 planes (C, H, W): u8 / 255, i8 / 127, others as they are; then
 * data.stretch:
 *   asinh       asinh(x)
 *   log1p       log(1 + max(x, 0))
 *   percentile  each channel's 1st to 99th percentile to 0..1, cut off outside
 * With data.nan=zero, what is not finite (as float32) counts as 0 in the archive's units, before the
 * stretch: no signal. It needs no statistic, so a row's values depend on that row alone. */
#include "archive.h"

#include <float.h>
#include <math.h>

/* Element p of channel c is at p * step + c * jump. */
#define CONVERT(name, type, divisor)                                                         \
    static inline __attribute__((always_inline)) void name(                                  \
        float *restrict planes, const type *restrict row, int64_t channels, int64_t pixels,  \
        int64_t step, int64_t jump)                                                          \
    {                                                                                        \
        for (int64_t c = 0; c < channels; c++)                                               \
            for (int64_t p = 0; p < pixels; p++)                                             \
                planes[c * pixels + p] = (float)row[p * step + c * jump] / (divisor);        \
    }                                                                                        \
    static void name##_any(float *planes, const void *row, int64_t channels, int64_t pixels, \
                           bool last)                                                        \
    {                                                                                        \
        if (channels == 1 || !last)                                                          \
            name(planes, row, channels, pixels, 1, pixels);                                  \
        else if (channels == 3)                                                              \
            name(planes, row, 3, pixels, 3, 1);                                              \
        else                                                                                 \
            name(planes, row, channels, pixels, channels, 1);                                \
    }

CONVERT(from_u8, uint8_t, 255.0f)
CONVERT(from_i8, int8_t, 127.0f)
CONVERT(from_u16, uint16_t, 1.0f)
CONVERT(from_i16, int16_t, 1.0f)
CONVERT(from_u32, uint32_t, 1.0f)
CONVERT(from_f32, float, 1.0f)
CONVERT(from_f64, double, 1.0f)

void lj_convert_row(const struct lj_archive_head *head, const void *row, float *planes)
{
    static void (*const convert[])(float *, const void *, int64_t, int64_t, bool) = {
        [LJ_U8] = from_u8_any,   [LJ_I8] = from_i8_any,   [LJ_U16] = from_u16_any,
        [LJ_I16] = from_i16_any, [LJ_U32] = from_u32_any, [LJ_F32] = from_f32_any,
        [LJ_F64] = from_f64_any,
    };
    const struct lj_archive_info *info = &head->info;
    convert[head->element](planes, row, info->channels, info->stored_height * info->stored_width,
                           head->axes == LJ_NHWC);
}

bool lj_all_finite(const float *values, int64_t count)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < count; i++)
        bad |= !(fabsf(values[i]) <= FLT_MAX);
    return !bad;
}

static void stretch_percentile(const struct lj_archive_head *head, float *planes, int64_t pixels)
{
    for (int c = 0; c < head->info.channels; c++) {
        float low = head->low[c], range = head->high[c] - low;
        for (float *x = planes + c * pixels, *end = x + pixels; x < end; x++)
            *x = range > 0 ? fminf(fmaxf((*x - low) / range, 0.0f), 1.0f) : 0.0f;
    }
}

static void stretch(const struct lj_archive_head *head, float *planes, int64_t pixels)
{
    int64_t count = head->info.channels * pixels;
    switch (head->stretch) {
    case LJ_STRETCH_NONE:
        break;
    case LJ_STRETCH_ASINH:
        for (int64_t i = 0; i < count; i++)
            planes[i] = asinhf(planes[i]);
        break;
    case LJ_STRETCH_LOG1P:
        for (int64_t i = 0; i < count; i++)
            planes[i] = log1pf(fmaxf(planes[i], 0.0f));
        break;
    case LJ_STRETCH_PERCENTILE:
        stretch_percentile(head, planes, pixels);
        break;
    }
}

void lj_stretch_planes(const struct lj_archive_head *head, float *planes)
{
    int64_t pixels = head->info.stored_height * head->info.stored_width;
    if (head->nan_zero)
        for (int64_t i = 0; i < head->info.channels * pixels; i++)
            planes[i] = fabsf(planes[i]) <= FLT_MAX ? planes[i] : 0.0f;
    stretch(head, planes, pixels);
}
