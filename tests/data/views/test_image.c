/* SPDX-License-Identifier: Apache-2.0 */
/* Image operations against torchvision's float tensor path (golden/image.h5), and their
 * properties. */
#include "data/views/image.h"
#include "image_golden.h"
#include "kernels/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance = 1e-5;

static float *floats(int64_t count)
{
    return calloc((size_t)count, sizeof(float));
}

static float *random_image(int64_t count, uint64_t name)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 1, LJ_DRAW_TEST, name, 0, 0);
    float *image = floats(count);
    for (int64_t i = 0; i < count; i++)
        image[i] = (float)lj_rng_uniform(&rng);
    return image;
}

Test(image, resize_equals_torchvision)
{
    struct image_case c;
    int k = 0;
    for (; image_case_read(&c, "resize", k); k++) {
        int64_t box[4];
        for (int i = 0; i < 4; i++)
            box[i] = (int64_t)c.args[i];
        int64_t count = c.channels * c.out_h * c.out_w;
        float *out = floats(count),
              *scratch =
                  floats(lj_image_resize_scratch(c.channels, box[2], box[3], c.out_h, c.out_w));
        lj_image_resize(out, c.image, c.channels, c.height, c.width, box[0], box[1], box[2], box[3],
                        c.out_h, c.out_w, scratch);
        double worst = largest_difference(out, c.expected, count);
        cr_expect(worst < tolerance, "case %d: %g", k, worst);
        free(out);
        free(scratch);
        image_case_free(&c);
    }
    cr_assert(k == 16);
}

/* Scratch of exactly the stated size: guards behind it stay. */
Test(image, resize_keeps_to_its_scratch)
{
    int64_t sizes[] = {1, 2, 5, 28, 33};
    for (int i = 0; i < 25; i++) {
        int64_t in = sizes[i / 5], out = sizes[i % 5];
        int64_t need = lj_image_resize_scratch(2, in, 3, out, 7);
        float *image = random_image(2 * in * 3, 3), *view = floats(2 * out * 7 + 1);
        float *scratch = floats(need + 1);
        scratch[need] = view[2 * out * 7] = 17.0f;
        lj_image_resize(view, image, 2, in, 3, 0, 0, in, 3, out, 7, scratch);
        cr_expect(scratch[need] == 17.0f && view[2 * out * 7] == 17.0f, "%d to %d", (int)in,
                  (int)out);
        free(image);
        free(view);
        free(scratch);
    }
}

Test(image, resize_of_a_constant_is_constant)
{
    float *image = floats(40 * 50), *out = floats(64 * 9);
    float *scratch = floats(lj_image_resize_scratch(1, 40, 50, 64, 9));
    for (int i = 0; i < 40 * 50; i++)
        image[i] = 0.375f;
    lj_image_resize(out, image, 1, 40, 50, 0, 0, 40, 50, 64, 9, scratch);
    for (int i = 0; i < 64 * 9; i++)
        cr_expect(fabsf(out[i] - 0.375f) < 1e-6f);
    free(image);
    free(out);
    free(scratch);
}

/* A pixel outside the box must not be read: NaN there does not show. */
Test(image, resize_reads_only_the_box)
{
    float *image = random_image(12 * 12, 4), *out = floats(64);
    float *scratch = floats(lj_image_resize_scratch(1, 5, 6, 8, 8));
    for (int y = 0; y < 12; y++)
        for (int x = 0; x < 12; x++)
            if (y < 3 || y >= 8 || x < 4 || x >= 10)
                image[y * 12 + x] = NAN;
    lj_image_resize(out, image, 1, 12, 12, 3, 4, 5, 6, 8, 8, scratch);
    for (int i = 0; i < 64; i++)
        cr_expect(isfinite(out[i]));
    free(image);
    free(out);
    free(scratch);
}

typedef void colour_operation(float *rgb, int64_t pixels, float factor);

static void check_colour(const char *operation, colour_operation *apply, int cases)
{
    struct image_case c;
    int k = 0;
    for (; image_case_read(&c, operation, k); k++) {
        apply(c.image, c.height * c.width, (float)c.args[0]);
        double worst = largest_difference(c.image, c.expected, 3 * c.height * c.width);
        cr_expect(worst < tolerance, "%s %g: %g", operation, c.args[0], worst);
        image_case_free(&c);
    }
    cr_assert(k == cases, "%s: %d cases", operation, k);
}

static void grey(float *rgb, int64_t pixels, float unused)
{
    (void)unused;
    lj_image_grey(rgb, pixels);
}

static void solarize(float *rgb, int64_t pixels, float threshold)
{
    lj_kernels()->solarize(rgb, 3 * pixels, threshold);
}

Test(image, colours_equal_torchvision)
{
    check_colour("brightness", lj_image_brightness, 4);
    check_colour("contrast", lj_image_contrast, 4);
    check_colour("saturation", lj_image_saturation, 4);
    check_colour("hue", lj_image_hue, 7);
    check_colour("grey", grey, 1);
    check_colour("solarize", solarize, 2);
}

/* The mean of contrast goes over blocks of 4096 pixels: sizes around them against a plain sum. */
Test(image, contrast_takes_the_mean_of_all_pixels)
{
    int64_t sizes[] = {1, 15, 17, 4095, 4096, 4097, 9000};
    for (int i = 0; i < 7; i++) {
        int64_t n = sizes[i];
        float *rgb = random_image(3 * n, 5);
        double mean = 0.0;
        for (int64_t p = 0; p < n; p++)
            mean += 0.2989 * (double)rgb[p] + 0.587 * (double)rgb[n + p] +
                    0.114 * (double)rgb[2 * n + p];
        mean /= (double)n;
        lj_image_contrast(rgb, n, 0.0f);
        for (int64_t p = 0; p < 3 * n; p++)
            cr_assert(fabs((double)rgb[p] - mean) < 1e-6, "%d pixels", (int)n);
        free(rgb);
    }
}

Test(image, blur_equals_torchvision)
{
    struct image_case c;
    int k = 0;
    for (; image_case_read(&c, "blur", k); k++) {
        float *scratch = floats(lj_image_blur_scratch(c.height, c.width, (int64_t)c.args[0] / 2));
        lj_image_blur(c.image, c.channels, c.height, c.width, c.args[1], (int64_t)c.args[0] / 2,
                      scratch);
        double worst = largest_difference(c.image, c.expected, c.channels * c.height * c.width);
        cr_expect(worst < tolerance, "case %d: %g", k, worst);
        free(scratch);
        image_case_free(&c);
    }
    cr_assert(k == 7);
}

Test(image, blur_of_a_constant_is_constant_at_any_radius)
{
    for (int64_t size = 1; size <= 9; size += 2)
        for (int64_t radius = 0; radius < size; radius++) {
            int64_t need = lj_image_blur_scratch(size, size + 3, radius), count = size * (size + 3);
            float *image = floats(count), *scratch = floats(need + 1);
            scratch[need] = 17.0f;
            for (int64_t i = 0; i < count; i++)
                image[i] = 0.625f;
            lj_image_blur(image, 1, size, size + 3, 0.7, radius, scratch);
            for (int64_t i = 0; i < count; i++)
                cr_assert(fabsf(image[i] - 0.625f) < 1e-6f);
            cr_assert(scratch[need] == 17.0f);
            free(image);
            free(scratch);
        }
}

Test(image, rotation_equals_rot90)
{
    struct image_case c;
    for (int quarters = 0; quarters < 4; quarters++) {
        cr_assert(image_case_read(&c, "turn", quarters));
        float *scratch = floats(c.height * c.width);
        lj_image_rotate(c.image, c.channels, c.height, quarters, scratch);
        cr_expect(largest_difference(c.image, c.expected, c.height * c.width) == 0.0, "%d quarters",
                  quarters);
        free(scratch);
        image_case_free(&c);
    }
}

/* Positions are float32: off by up to 1e-5 pixels. */
Test(image, rotation_by_any_angle_equals_grid_sample)
{
    struct image_case c;
    int k = 0;
    for (; image_case_read(&c, "rotate", k); k++) {
        struct lj_image_box box = {(int64_t)c.args[0], (int64_t)c.args[1], (int64_t)c.args[2],
                                   (int64_t)c.args[3]};
        int64_t size = (int64_t)c.args[4], count = c.channels * size * size;
        int64_t need = lj_image_rotate_scratch(c.height, c.width, size);
        float *out = floats(count + 1), *scratch = floats(need + 1);
        out[count] = scratch[need] = 17.0f;
        lj_image_resize_rotated(out, c.image, c.channels, c.height, c.width, &box, size, c.args[5],
                                scratch);
        double worst = largest_difference(out, c.expected, count);
        cr_expect(worst < 5 * tolerance, "case %d: %g", k, worst);
        cr_expect(out[count] == 17.0f && scratch[need] == 17.0f, "case %d wrote beyond", k);
        free(out);
        free(scratch);
        image_case_free(&c);
    }
    cr_assert(k == 10);
}

/* Boxes of all kinds, in images of all kinds: scratch is enough, and the values are the image's. */
Test(image, rotation_keeps_to_its_scratch_and_to_the_range)
{
    const int64_t sizes[] = {1, 2, 3, 17, 40};
    struct lj_rng rng;
    lj_rng_begin(&rng, 1, LJ_DRAW_TEST, 8, 0, 0);
    for (int k = 0; k < 2000; k++) {
        int64_t height = sizes[lj_rng_below(&rng, 5)], width = sizes[lj_rng_below(&rng, 5)];
        int64_t size = sizes[lj_rng_below(&rng, 5)];
        struct lj_image_box box = {.height = 1 + lj_rng_below(&rng, height),
                                   .width = 1 + lj_rng_below(&rng, width)};
        box.top = lj_rng_below(&rng, height - box.height + 1);
        box.left = lj_rng_below(&rng, width - box.width + 1);
        int64_t need = lj_image_rotate_scratch(height, width, size);
        float *image = random_image(height * width, (uint64_t)k), *out = floats(size * size);
        float *scratch = floats(need + 1);
        scratch[need] = 17.0f;
        lj_image_resize_rotated(out, image, 1, height, width, &box, size,
                                lj_rng_between(&rng, -10, 370), scratch);
        cr_assert(scratch[need] == 17.0f, "case %d", k);
        for (int64_t i = 0; i < size * size; i++)
            cr_assert(out[i] >= -1e-6f && out[i] <= 1 + 1e-6f, "case %d: %g", k, (double)out[i]);
        free(image);
        free(out);
        free(scratch);
    }
}

Test(image, four_quarter_turns_and_two_flips_are_the_identity)
{
    for (int64_t size = 1; size <= 20; size += 3) {
        float *image = random_image(2 * size * size, 6), *kept = floats(2 * size * size);
        float *scratch = floats(size * size);
        memcpy(kept, image, (size_t)(2 * size * size) * sizeof *kept);
        for (int turn = 0; turn < 4; turn++)
            lj_image_rotate(image, 2, size, 1, scratch);
        cr_expect(largest_difference(image, kept, 2 * size * size) == 0.0);
        lj_image_rotate(image, 2, size, 3, scratch);
        lj_image_rotate(image, 2, size, 1, scratch);
        cr_expect(largest_difference(image, kept, 2 * size * size) == 0.0);
        for (int turn = 0; turn < 2; turn++) {
            lj_image_flip_x(image, 2, size, size);
            lj_image_flip_y(image, 2, size, size);
        }
        cr_expect(largest_difference(image, kept, 2 * size * size) == 0.0);
        free(image);
        free(kept);
        free(scratch);
    }
}

Test(image, flips_move_the_corner)
{
    float image[6] = {1, 2, 3, 4, 5, 6}, x[6] = {3, 2, 1, 6, 5, 4}, y[6] = {6, 5, 4, 3, 2, 1};
    lj_image_flip_x(image, 1, 2, 3);
    cr_expect(largest_difference(image, x, 6) == 0.0);
    lj_image_flip_x(image, 1, 2, 3);
    lj_image_flip_y(image, 1, 2, 3);
    lj_image_flip_x(image, 1, 2, 3);
    cr_expect(largest_difference(image, y, 6) == 0.0);
}
