/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of images, and the small product in double, at every level of this processor: the
 * bits of the scalar table, at odd lengths and addresses. What is read lies in blocks of exactly
 * its size, so that a sanitizer sees any access beyond; what is written has guards on both
 * sides. */
#include "kernels/kernels.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 20, LONGEST = 16384 };
static const float untouched = -777.25f;

/* An output of `count` floats that begins `shift` floats off alignment. */
struct output {
    float memory[LONGEST + 2 * GUARD + 16];
    float *at;
    int64_t count;
};

static float *begin_output(struct output *out, int64_t count, int64_t shift)
{
    cr_assert(count <= LONGEST);
    for (int64_t i = 0; i < count + 2 * GUARD + 16; i++)
        out->memory[i] = untouched;
    out->count = count;
    return out->at = out->memory + GUARD + shift % 16;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static bool same(float a, float b)
{
    return bits_of(a) == bits_of(b) || (isnan(a) && isnan(b));
}

static void compare(const struct output *got, const struct output *want, const char *what)
{
    for (const float *p = got->memory; p < got->memory + got->count + 2 * GUARD + 16; p++)
        cr_assert((p >= got->at && p < got->at + got->count) || *p == untouched,
                  "%s of %lld wrote element %lld", what, (long long)got->count,
                  (long long)(p - got->at));
    for (int64_t i = 0; i < got->count; i++)
        cr_assert(same(got->at[i], want->at[i]),
                  "%s of %lld: element %lld is %.9g, scalar has %.9g", what, (long long)got->count,
                  (long long)i, (double)got->at[i], (double)want->at[i]);
}

static struct output got, want;
static const struct lj_kernels *scalar, *level;

/* Calls check with each vector table in `level`. */
static void at_every_level(void (*check)(void))
{
    scalar = lj_kernels_of(LJ_ISA_SCALAR);
    for (enum lj_isa isa = LJ_ISA_AVX2; isa < LJ_ISA_COUNT; isa++) {
        level = lj_kernels_of(isa);
        if (level)
            check();
    }
}

/* 0 .. 67, then some longer lengths; -1 at the end. */
static int64_t length(int i)
{
    static const int64_t longer[] = {128, 131, 200, 1000, -1};
    return i <= 67 ? i : longer[i - 68];
}

/* ---- conversion -------------------------------------------------------------------------- */

static void put_float(char *x, enum lj_element element, int64_t i, double value)
{
    float bf16 = (float)value;
    if (element == LJ_ELEMENT_F32)
        memcpy(x + i * 4, &bf16, 4);
    else
        memcpy(x + i * 8, &value, 8);
}

/* Stored elements in a block of their size, at any address. */
static char *stored_elements(enum lj_element element, int64_t count, size_t shift)
{
    static const double special[] = {0.0,    -0.0,   1e300, -1e300, 1e-300, 1e-42,   1.0 / 3,
                                     3.4e38, 3.5e38, 1e-46, -2.5,   NAN,    INFINITY};
    size_t bytes = lj_element_bytes(element) * (size_t)count;
    char *block = malloc(bytes + shift), *x = block + shift;
    for (size_t i = 0; i < bytes; i++)
        x[i] = (char)((i + 3) * 2654435761u >> 13);
    for (int64_t i = 0; element >= LJ_ELEMENT_F32 && i < count; i++)
        put_float(x, element, i, i % 5 == 2 ? special[i % 13] : sin(0.7 * (double)i) * 1e3);
    return block;
}

static void check_convert_of(enum lj_element element, int64_t channels, int64_t pixels, bool last)
{
    size_t shift = (size_t)pixels % 9;
    int64_t count = channels * pixels;
    char *block = stored_elements(element, count, shift), what[64];
    level->convert(begin_output(&got, count, pixels), block + shift, element, channels, pixels,
                   last);
    scalar->convert(begin_output(&want, count, 0), block + shift, element, channels, pixels, last);
    snprintf(what, sizeof what, "%s: element type %d, %lld channels%s", level->name, (int)element,
             (long long)channels, last ? " last" : "");
    compare(&got, &want, what);
    free(block);
}

static void check_convert(void)
{
    static const int64_t channels[] = {1, 2, 3, 4, 5, 13, 256};
    for (enum lj_element element = LJ_ELEMENT_U8; element <= LJ_ELEMENT_F64; element++)
        for (int c = 0; c < 7; c++)
            for (int i = 0; length(i) >= 0; i++)
                if (channels[c] * length(i) <= LONGEST)
                    for (int last = 0; last < 2; last++)
                        check_convert_of(element, channels[c], length(i), last);
}

Test(image_kernels, convert)
{
    at_every_level(check_convert);
}

/* All 256 of a byte are quotients, whatever a kernel does instead of dividing. */
static void check_bytes(void)
{
    unsigned char bytes[256];
    float unsigned_value[256], signed_value[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (unsigned char)i;
    level->convert(unsigned_value, bytes, LJ_ELEMENT_U8, 1, 256, true);
    level->convert(signed_value, bytes, LJ_ELEMENT_I8, 1, 256, true);
    for (int i = 0; i < 256; i++) {
        float from_signed = (float)(i < 128 ? i : i - 256);
        cr_assert_eq(unsigned_value[i], (float)i / 255.0f, "%s: %d", level->name, i);
        cr_assert_eq(signed_value[i], from_signed / 127.0f, "%s: %d", level->name, i);
    }
}

Test(image_kernels, convert_divides_bytes_exactly)
{
    at_every_level(check_bytes);
}

/* ---- weighted sums ----------------------------------------------------------------------- */

static float *random_block(int64_t count, uint64_t stream)
{
    float *x = malloc((size_t)count * sizeof *x);
    lj_random_normal_f32(x, count, stream);
    return x;
}

static void check_weighted_sum_of(int64_t taps, int64_t stride, int64_t count)
{
    float *x = random_block(count ? (taps - 1) * stride + count : 0, (uint64_t)count);
    float *weight = random_block(taps, 7);
    char what[64];
    level->weighted_sum(begin_output(&got, count, count), x, stride, weight, taps, count);
    scalar->weighted_sum(begin_output(&want, count, 0), x, stride, weight, taps, count);
    snprintf(what, sizeof what, "%s: sum of %lld, %lld apart", level->name, (long long)taps,
             (long long)stride);
    compare(&got, &want, what);
    free(x);
    free(weight);
}

static void check_weighted_sum(void)
{
    for (int64_t taps = 1; taps <= 9; taps++)
        for (int i = 0; length(i) >= 0; i++) {
            check_weighted_sum_of(taps, 1, length(i));
            check_weighted_sum_of(taps, 37, length(i));
            check_weighted_sum_of(taps, length(i), length(i));
        }
}

Test(image_kernels, weighted_sum)
{
    at_every_level(check_weighted_sum);
}

/* Outputs begin `scale` apart; the last tap is the last element of its row. */
static void check_resample_of(double scale, int64_t rows, int64_t taps, int64_t count)
{
    int32_t *first = malloc((size_t)count * sizeof *first);
    for (int64_t i = 0; i < count; i++)
        first[i] = (int32_t)(scale * (double)i);
    int64_t width = (count ? first[count - 1] : 0) + taps;
    float *x = random_block(rows ? rows * (width + 3) - 3 + LJ_RESAMPLE_SLACK : 0, 4);
    float *weight = random_block(taps * count, 5);
    char what[80];
    level->resample(begin_output(&got, rows * count, count), x, width + 3, rows, first, weight,
                    taps, count);
    scalar->resample(begin_output(&want, rows * count, 0), x, width + 3, rows, first, weight, taps,
                     count);
    snprintf(what, sizeof what, "%s: %lld rows of %lld taps, %g apart", level->name,
             (long long)rows, (long long)taps, scale);
    compare(&got, &want, what);
    free(first);
    free(x);
    free(weight);
}

static void check_resample(void)
{
    static const double scales[] = {0, 0.3, 0.99, 1, 1.05, 1.9, 2.1, 5.7};
    static const int64_t rows[] = {0, 1, 2, 9};
    for (int s = 0; s < 8; s++)
        for (int64_t taps = 1; taps <= 6; taps++)
            for (int i = 0; length(i) >= 0; i++)
                check_resample_of(scales[s], rows[i % 4], taps, length(i));
}

Test(image_kernels, resample)
{
    at_every_level(check_resample);
}

/* Positions up to an image's size outside. The image lies in a block of exactly its size. */
static void check_rotate_of(int64_t height, int64_t width, int64_t rows, int64_t count,
                            double degrees)
{
    float *x = malloc((size_t)(height * width) * sizeof *x), scale = 1.4f / (float)(count + 1);
    float c = scale * (float)cos(degrees), s = scale * (float)sin(degrees);
    struct lj_rotation rotation = {
        .height = height,
        .width = width,
        .row = {0.3f * (float)height, s * (float)height, c * (float)height},
        .column = {0.6f * (float)width, c * (float)width, -s * (float)width}};
    for (int64_t i = 0; i < height * width; i++)
        x[i] = (float)sin(0.7 * (double)i);
    level->rotate(begin_output(&got, rows * count, count), x, &rotation, rows, count);
    scalar->rotate(begin_output(&want, rows * count, 0), x, &rotation, rows, count);
    compare(&got, &want, level->name);
    free(x);
}

static void check_rotate(void)
{
    static const int64_t sizes[] = {1, 2, 3, 30};
    for (int h = 0; h < 4; h++)
        for (int w = 0; w < 4; w++)
            for (int i = 1; length(i) >= 0 && length(i) <= 131; i++)
                check_rotate_of(sizes[h], sizes[w], 3, length(i), 0.1 * i);
}

Test(image_kernels, rotate)
{
    at_every_level(check_rotate);
}

/* ---- pixels ------------------------------------------------------------------------------ */

static void affine(const struct lj_kernels *k, float *x, int64_t pixels)
{
    k->affine(x, 3 * pixels, 0.45f, 4.3f, -0.1f);
}
static void blend(const struct lj_kernels *k, float *x, int64_t pixels)
{
    k->blend(x, 3 * pixels, 1.3f, -0.2f);
}
static void solarize(const struct lj_kernels *k, float *x, int64_t pixels)
{
    k->solarize(x, 3 * pixels, 0.5f);
}
static void grey(const struct lj_kernels *k, float *x, int64_t pixels)
{
    k->grey(x, pixels);
}
static void saturate(const struct lj_kernels *k, float *x, int64_t pixels)
{
    k->saturate(x, pixels, 1.4f);
}
static void hue(const struct lj_kernels *k, float *x, int64_t pixels)
{
    static const float turns[] = {0, 0.6f, -0.6f, 3, -3, 5.9f, -6, 6};
    k->hue(x, pixels, turns[pixels % 8]);
}

static const struct {
    const char *name;
    void (*run)(const struct lj_kernels *k, float *x, int64_t pixels);
    bool colours; /* defined in 0..1 only */
} pixel_cases[] = {{"affine", affine, false},     {"blend", blend, false},
                   {"solarize", solarize, false}, {"grey", grey, false},
                   {"saturate", saturate, false}, {"hue", hue, true}};

/* Colours among which many have equal channels, some 0 or 1; else extremes between them. */
static void fill_pixels(float *x, int64_t pixels, bool colours)
{
    static const float steps[] = {0, 1, 0.5f, 0.25f, 0.125f, 1e-30f};
    static const float extremes[] = {-0.0f, 1e30f, -1e30f, 1e-40f, NAN, INFINITY, -INFINITY, 0.5f};
    lj_random_between_f32(x, 3 * pixels, 0, 1, (uint64_t)pixels);
    for (int64_t i = 0; i < 3 * pixels; i++) {
        if (i % 3 != 0)
            x[i] = steps[(i * 7 + i / 5) % 6];
        if (!colours && i % 11 == 0)
            x[i] = extremes[i / 11 % 8];
    }
}

static void check_pixels(void)
{
    for (int c = 0; c < 6; c++)
        for (int i = 0; length(i) >= 0; i++) {
            int64_t pixels = length(i);
            fill_pixels(begin_output(&got, 3 * pixels, pixels), pixels, pixel_cases[c].colours);
            fill_pixels(begin_output(&want, 3 * pixels, 0), pixels, pixel_cases[c].colours);
            pixel_cases[c].run(level, got.at, pixels);
            pixel_cases[c].run(scalar, want.at, pixels);
            char what[64];
            snprintf(what, sizeof what, "%s: %s", level->name, pixel_cases[c].name);
            compare(&got, &want, what);
        }
}

Test(image_kernels, pixels)
{
    at_every_level(check_pixels);
}

static void check_luma_sum(void)
{
    static const int64_t lengths[] = {0, 1, 7, 8, 15, 17, 33, 1000, 4095, 4096, 4097, 9001};
    for (int i = 0; i < 12; i++) {
        int64_t pixels = lengths[i];
        float *x = malloc((size_t)(3 * pixels) * sizeof *x);
        lj_random_between_f32(x, 3 * pixels, 0, 1, 9);
        double sum = level->luma_sum(x, pixels), expected = scalar->luma_sum(x, pixels);
        cr_assert(fabs(sum - expected) <= 1e-6 * expected, "%s, %lld pixels: %.9g, not %.9g",
                  level->name, (long long)pixels, sum, expected);
        free(x);
    }
}

Test(image_kernels, luma_sum)
{
    at_every_level(check_luma_sum);
}

/* ---- product in double ------------------------------------------------------------------- */

static double *random_doubles(int64_t count, uint64_t stream)
{
    double *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = sin(0.1 + (double)(i * (int64_t)stream));
    return x;
}

static void check_product_of(int64_t rows, int64_t inner, int64_t n, bool transposed)
{
    int64_t row_stride = transposed ? 1 : inner, inner_stride = transposed ? rows : 1;
    double *a = random_doubles(rows * inner, 3), *b = random_doubles(inner * n, 5);
    double *out = random_doubles(rows * n, 11), *expected = random_doubles(rows * n, 11);
    level->add_matmul(out, a, row_stride, inner_stride, b, rows, inner, n);
    scalar->add_matmul(expected, a, row_stride, inner_stride, b, rows, inner, n);
    cr_assert_eq(memcmp(out, expected, (size_t)(rows * n) * sizeof *out), 0,
                 "%s: (%lld, %lld) (%lld, %lld)%s", level->name, (long long)rows, (long long)inner,
                 (long long)inner, (long long)n, transposed ? " transposed" : "");
    free(a);
    free(b);
    free(out);
    free(expected);
}

static void check_product(void)
{
    for (int64_t inner = 0; inner <= 9; inner++)
        for (int64_t n = 0; n <= 37; n++)
            for (int64_t rows = 0; rows <= 3; rows++) {
                check_product_of(rows, inner, n, false);
                check_product_of(rows, inner, n, true);
            }
}

Test(image_kernels, add_matmul)
{
    at_every_level(check_product);
}
