/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: the numbers made of pixels: stretches, sizes, statistics. Values are those the files
 * were written from. */
#include "archive_case.h"
#include "data/archive/archive.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

enum { ROWS = 21, HEIGHT = 6, WIDTH = 5, CHANNELS = 3, PIXELS = HEIGHT * WIDTH, MOST = 1 << 16 };

static double values[MOST];
static float images[MOST];

TestSuite(archive_values, .init = begin, .fini = end, .timeout = 60);

static struct lj_archive *open_file(const char *path)
{
    struct lj_archive_options options = options_of(path);
    options.axes = LJ_DATA_AXES_NHW;
    return open_with(&options);
}

static void write_floats(const char *path, hsize_t rows, double (*value)(int))
{
    for (int i = 0; i < (int)rows * PIXELS; i++)
        values[i] = value(i);
    struct dataset d = {.name = "images",
                        .type = H5T_IEEE_F32LE,
                        .dims = 3,
                        .dim = {rows, HEIGHT, WIDTH},
                        .values = values};
    write_file(path, false, &d, 1);
}

static double around_zero(int i)
{
    return i - 40.0;
}

Test(archive_values, stretches)
{
    write_floats(in_directory("a.h5"), 5, around_zero);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    for (int s = 0; s < 3; s++) {
        options.stretch = s == 2 ? LJ_DATA_STRETCH_LOG1P : LJ_DATA_STRETCH_ASINH;
        options.stretch_scale = s ? 2.5 : 1;
        struct lj_archive *archive = open_with(&options);
        cr_assert_eq(lj_archive_read(archive, 0, 5, images), LJ_OK);
        for (int i = 0; i < 5 * PIXELS; i++) {
            double x = i - 40.0, y = x / options.stretch_scale;
            double wanted = s == 2 ? log(1 + (x > 0 ? x : 0)) : log(y + sqrt(y * y + 1));
            cr_assert_float_eq(images[i], wanted, 1e-5);
        }
        lj_archive_close(archive);
    }
}

/* Two channels. One is flat about 2 with a median absolute deviation of about 8, and a tenth of its
 * pixels lie far above. The other is zero, but for a third of its pixels, which are -12 or 12. */
static double noise(int i)
{
    int pixel = i / 2;
    if (i % 2)
        return pixel % 3 ? 0 : pixel % 2 ? 12 : -12;
    return pixel % 10 == 0 ? 5000 + pixel : 2 + (pixel * 7) % 33 - 16;
}

Test(archive_values, asinh_is_scaled_by_the_noise)
{
    enum { COUNT = 5 * 2 * 11 * 12 };
    for (int i = 0; i < COUNT; i++)
        values[i] = noise(i);
    struct dataset d = {.name = "images",
                        .type = H5T_IEEE_F32LE,
                        .dims = 4,
                        .dim = {5, 11, 12, 2},
                        .values = values};
    write_file(in_directory("a.h5"), false, &d, 1);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.stretch = LJ_DATA_STRETCH_ASINH;
    struct lj_archive *archive = open_with(&options);
    const float *scale = lj_archive_limits(archive)->high;
    cr_assert_float_eq(scale[0], 1.4826 * 9, 1.5);
    cr_assert_float_eq(scale[1], 1.4826 * 12, 1e-4);
    cr_assert_eq(lj_archive_read(archive, 1, 1, images), LJ_OK);
    for (int i = 0; i < 2 * 132; i++) {
        double x = values[2 * 132 + i] / (double)scale[i % 2];
        cr_assert_float_eq(images[i % 2 * 132 + i / 2], asinh(x), 1e-6);
    }
    lj_archive_close(archive);
}

/* The stored value becomes 1, before the stretch. */
Test(archive_values, full_scale)
{
    write_floats(in_directory("a.h5"), 5, around_zero);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.full_scale = 1024;
    for (int s = 0; s < 2; s++) {
        options.stretch = s ? LJ_DATA_STRETCH_ASINH : LJ_DATA_STRETCH_NONE;
        options.stretch_scale = 1;
        struct lj_archive *archive = open_with(&options);
        cr_assert_eq(lj_archive_read(archive, 0, 5, images), LJ_OK);
        for (int i = 0; i < 5 * PIXELS; i++) {
            double x = (i - 40.0) / 1024;
            cr_assert_float_eq(images[i], s ? asinh(x) : x, 1e-7);
        }
        lj_archive_close(archive);
    }
}

/* Unsigned bytes are divided by 255 unless another full scale is given. */
Test(archive_values, full_scale_of_bytes)
{
    for (int i = 0; i < 5 * PIXELS; i++)
        values[i] = i;
    struct dataset d = {.name = "images",
                        .type = H5T_STD_U8LE,
                        .dims = 3,
                        .dim = {5, HEIGHT, WIDTH},
                        .values = values};
    write_file(in_directory("a.h5"), false, &d, 1);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    const double given[] = {0, 255, 51};
    for (int k = 0; k < 3; k++) {
        options.full_scale = given[k];
        struct lj_archive *archive = open_with(&options);
        cr_assert_eq(lj_archive_read(archive, 0, 5, images), LJ_OK);
        for (int i = 0; i < 5 * PIXELS; i++)
            cr_assert_float_eq(images[i], i / (k == 2 ? 51.0 : 255.0), k == 2 ? 1e-6 : 1e-7);
        lj_archive_close(archive);
    }
    cr_assert_eq(lj_pixel_divisor("u8", 0), 255);
    cr_assert_eq(lj_pixel_divisor("i8", 0), 127);
    cr_assert_eq(lj_pixel_divisor("u16", 0), 1);
    cr_assert_eq(lj_pixel_divisor("u16", 4095), 4095);
    cr_assert_eq(lj_pixel_full_scale("u16", 0), 65535);
    cr_assert_eq(lj_pixel_full_scale("u16", 4095), 1);
    cr_assert(lj_pixel_full_scale("u8", 0) == 1 && lj_pixel_full_scale("f32", 0) == 1);
}

/* Values 0 .. 149 each once: the 1st percentile is 1, the 99th 147. */
static double one_each(int i)
{
    return (i * 7) % 150;
}

Test(archive_values, stretches_by_percentile)
{
    write_floats(in_directory("a.h5"), 5, one_each);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.stretch = LJ_DATA_STRETCH_PERCENTILE;
    struct lj_archive *archive = open_with(&options);
    cr_assert_eq(lj_archive_read(archive, 0, 5, images), LJ_OK);
    for (int i = 0; i < 150; i++) {
        double wanted = (one_each(i) - 1) / 146;
        wanted = wanted < 0 ? 0 : wanted > 1 ? 1 : wanted;
        cr_assert_float_eq(images[i], wanted, 1e-6, "%d: %g, not %g", i, (double)images[i], wanted);
    }
    lj_archive_close(archive);
}

/* Halving averages: a ramp along one axis stays one, a constant stays itself. The ramp 8 c of a
 * column c becomes, away from the border, 8 (2 k + 1/2) in column k. */
static double ramp(int i)
{
    return 8 * (i % 16);
}

Test(archive_values, resizes)
{
    for (int i = 0; i < 3 * 12 * 16; i++)
        values[i] = ramp(i);
    struct dataset d = {
        .name = "images", .type = H5T_IEEE_F32LE, .dims = 3, .dim = {3, 12, 16}, .values = values};
    write_file(in_directory("a.h5"), false, &d, 1);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.axes = LJ_DATA_AXES_NHW;
    options.size = 8;
    struct lj_archive *archive = open_with(&options);
    const struct lj_archive_info *info = lj_archive_info(archive);
    cr_assert(info->height == 8 && info->width == 8 && info->stored_height == 12);
    images[3 * 64] = -1;
    cr_assert_eq(lj_archive_read(archive, 0, 3, images), LJ_OK);
    for (int i = 0; i < 3 * 64; i++)
        if (i % 8 > 0 && i % 8 < 7)
            cr_assert_float_eq(images[i], 8 * (2 * (i % 8) + 0.5), 1e-4, "%d: %g", i,
                               (double)images[i]);
    cr_assert_eq(images[3 * 64], -1.0f);
    lj_archive_close(archive);
}

/* 0 .. N-1: mean (N-1)/2, variance (N^2-1)/12. */
static double counting(int i)
{
    return i;
}

/* As many threads may be reading at once as there are. */
Test(archive_values, many_readers)
{
    enum { READERS = 200 };
    struct lj_scratch *scratch[READERS];
    const unsigned char *at = NULL;
    write_floats(in_directory("a.h5"), 5, around_zero);
    struct lj_archive *archive = open_file(in_directory("a.h5"));
    for (int i = 0; i < READERS; i++)
        cr_assert_eq(lj_rows_read(archive, 0, 0, 1, &scratch[i], &at), LJ_OK, "%d: %s", i,
                     lj_error_text());
    for (int i = 0; i < READERS; i++)
        lj_scratch_release(archive, scratch[i]);
    lj_archive_close(archive);
}

Test(archive_values, statistics_are_those_of_the_pixels)
{
    const int rows = 301;
    double n = rows * PIXELS;
    write_floats(in_directory("a.h5"), (hsize_t)rows, counting);
    struct lj_archive *archive = open_file(in_directory("a.h5"));
    float mean = 0, std = 0;
    cr_assert_eq(lj_archive_statistics(archive, world, &mean, &std), LJ_OK);
    cr_assert_float_eq(mean, (n - 1) / 2, 1e-3);
    cr_assert_float_eq(std, sqrt((n * n - 1) / 12), 1e-3);
    float low = -1, high = -1;
    lj_archive_range(archive, &low, &high);
    cr_assert(low == 0 && high == (float)(n - 1), "%g .. %g", (double)low, (double)high);
    cr_assert_eq(lj_archive_sample_range(archive, &low, &high), LJ_OK);
    cr_assert(low == 0 && high > 0.98 * n && high < n, "%g .. %g", (double)low, (double)high);
    lj_archive_close(archive);
}

static double constant(int i)
{
    (void)i;
    return 0.1f;
}

Test(archive_values, a_constant_channel_has_deviation_one)
{
    write_floats(in_directory("a.h5"), 3, constant);
    struct lj_archive *archive = open_file(in_directory("a.h5"));
    float mean = 0, std = 0;
    cr_assert_eq(lj_archive_statistics(archive, world, &mean, &std), LJ_OK);
    cr_assert_float_eq(mean, 0.1f, 1e-7);
    cr_assert_eq(std, 1.0f);
    lj_archive_close(archive);
}

/* So has its asinh a scale: 1, not the 0 that its noise is. */
Test(archive_values, a_constant_channel_has_scale_one)
{
    write_floats(in_directory("a.h5"), 3, constant);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.axes = LJ_DATA_AXES_NHW;
    options.stretch = LJ_DATA_STRETCH_ASINH;
    struct lj_archive *archive = open_with(&options);
    cr_assert_eq(lj_archive_limits(archive)->high[0], 1);
    cr_assert_eq(lj_archive_read(archive, 0, 3, images), LJ_OK);
    cr_assert_float_eq(images[17], asinh(0.1), 1e-7);
    lj_archive_close(archive);
}
