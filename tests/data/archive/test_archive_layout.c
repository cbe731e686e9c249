/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: which datasets are joined, which of three axes count images, and what is left to the
 * user to say. */
#include "archive_case.h"
#include "data/archive/archive.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { HEIGHT = 12, WIDTH = 10, CHANNELS = 4, PIXELS = HEIGHT * WIDTH, MOST = 1 << 15 };

static double values[MOST];
static float images[MOST];

TestSuite(archive_layout, .init = begin, .fini = end, .timeout = 60);

/* Opening fails with a text that holds both words. */
static void refuse_file(const char *path, const char *one, const char *two)
{
    struct lj_archive_options options = options_of(path);
    struct lj_archive *archive = NULL;
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), one) && strstr(lj_error_text(), two), "text: %s",
              lj_error_text());
}

/* Grey images of three axes. */
static struct dataset grey(const char *name, hsize_t rows, hsize_t height, hsize_t width)
{
    return (struct dataset){.name = name,
                            .type = H5T_STD_U8LE,
                            .dims = 3,
                            .dim = {rows, height, width},
                            .values = values};
}

/* Writes one image, the row-th, as a file without an axis of rows. */
static void write_image(const char *name, const char *dataset, bool channels_last, int64_t row,
                        bool add, hsize_t chunk)
{
    for (int64_t c = 0; c < CHANNELS; c++)
        for (int64_t p = 0; p < PIXELS; p++)
            values[channels_last ? p * CHANNELS + c : c * PIXELS + p] = pixel(row, c, p);
    struct dataset d = grey(dataset, CHANNELS, HEIGHT, WIDTH);
    if (channels_last)
        d = grey(dataset, HEIGHT, WIDTH, CHANNELS);
    for (int i = 0; i < 3; i++)
        d.chunk[i] = chunk ? (d.dim[i] < chunk ? d.dim[i] : chunk) : 0;
    d.filters = chunk ? SHUFFLE | DEFLATE : 0;
    write_file(in_directory(name), add, &d, 1);
}

static void check_images(struct lj_archive *archive, int64_t rows)
{
    cr_assert_eq(lj_archive_info(archive)->rows, rows);
    cr_assert_eq(lj_archive_info(archive)->channels, CHANNELS);
    cr_assert_eq(lj_archive_info(archive)->height, HEIGHT);
    cr_assert_eq(lj_archive_info(archive)->width, WIDTH);
    cr_assert_eq(lj_archive_read(archive, 0, rows, images), LJ_OK, "%s", lj_error_text());
    for (int64_t i = 0; i < rows * CHANNELS * PIXELS; i++) {
        double wanted = pixel(i / PIXELS / CHANNELS, i / PIXELS % CHANNELS, i % PIXELS) / 255;
        cr_assert_float_eq(images[i], (float)wanted, 1e-7, "value %ld", (long)i);
    }
}

/* One image a file: contiguous, in one chunk, in several; with a label each. */
Test(archive_layout, a_file_may_be_one_image)
{
    for (int last = 0; last < 2; last++)
        for (hsize_t chunk = 0; chunk < 20; chunk += 5) {
            for (int64_t row = 0; row < 3; row++) {
                char name[16];
                snprintf(name, sizeof name, "%ld.h5", (long)row);
                write_image(name, "climate", last, row, false, chunk);
                const double label = (double)(2 * row);
                struct dataset scalar = {
                    .name = "label", .type = H5T_STD_I32LE, .dims = 0, .values = &label};
                write_file(in_directory(name), true, &scalar, 1);
            }
            refuse_file(in_directory("*.h5"), "0.h5:/climate",
                        last ? "data.axes=hwc" : "data.axes=chw");
            struct lj_archive_options options = options_of(in_directory("*.h5"));
            options.axes = last ? LJ_DATA_AXES_HWC : LJ_DATA_AXES_CHW;
            struct lj_archive *archive = open_with(&options);
            cr_assert_str_eq(lj_archive_info(archive)->axes, last ? "hwc" : "chw");
            cr_assert_eq(archive->part[0].raw, chunk == 15);
            check_images(archive, 3);
            const int32_t labels[] = {0, 2, 4};
            for (size_t l = 0; l < sizeof labels / sizeof *labels; l++)
                cr_assert_eq(lj_archive_label(archive, (int64_t)l), labels[l]);
            lj_archive_close(archive);
        }
}

/* One image a dataset, joined by a pattern; the mask has another shape and no name that matches. */
Test(archive_layout, a_dataset_may_be_one_image)
{
    write_image("a.h5", "/train/0", true, 0, false, 0);
    write_image("a.h5", "/train/1", true, 1, true, 0);
    write_image("a.h5", "/test/0", true, 2, true, 0);
    struct dataset mask = grey("mask", 3, HEIGHT, WIDTH);
    write_file(in_directory("a.h5"), true, &mask, 1);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.axes = LJ_DATA_AXES_HWC;
    const char *patterns[] = {"/train/*", "train/[01]"};
    for (int i = 0; i < 2; i++) {
        options.images = patterns[i];
        struct lj_archive *archive = open_with(&options);
        check_images(archive, 2);
        struct lj_archive_dataset set[2];
        cr_assert_eq(lj_archive_datasets(archive, set, 2), 2);
        cr_assert_str_eq(set[0].name, "/train/0");
        cr_assert_str_eq(set[1].name, "/train/1");
        cr_assert_eq(set[1].rows, 1);
        cr_assert_eq(set[1].files, 1);
        cr_assert_eq(lj_archive_datasets(archive, set, 1), 1);
        lj_archive_close(archive);
    }
}

Test(archive_layout, three_axes_are_rows_only_if_no_image_has_them)
{
    const struct {
        hsize_t dim[3];
        const char *other; /* NULL: certainly (N, H, W) */
    } cases[] = {
        {{768, 1152, 16}, "hwc"}, {{200, 64, 48}, "hwc"},  {{16, 1152, 768}, "chw"},
        {{35, 320, 320}, "chw"},  {{60000, 28, 28}, NULL}, {{64, 28, 28}, NULL},
        {{128, 362, 362}, NULL},  {{5000, 64, 48}, NULL},  {{12, 400, 90}, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lj_archive_header header = {0};
        int status = lj_axes_check_rows(&header, cases[i].dim, false, "f:/x");
        cr_assert_eq(status, cases[i].other ? LJ_ERR_DATA : LJ_OK, "case %zu", i);
        if (cases[i].other)
            cr_assert(strstr(lj_error_text(), "data.axes=nhw") &&
                          strstr(lj_error_text(), cases[i].other),
                      "%s", lj_error_text());
        cr_assert_eq(lj_axes_check_rows(&header, cases[i].dim, true, "f:/x"), LJ_OK);
    }
}

/* Volumes of several lengths are stacks of slices; of one length they may be channels. */
Test(archive_layout, lengths_that_differ_count_images)
{
    struct dataset d = grey("reconstruction", 5, HEIGHT, HEIGHT);
    write_file(in_directory("a.h5"), false, &d, 1);
    write_file(in_directory("b.h5"), false, &d, 1);
    refuse_file(in_directory("*.h5"), "a.h5:/reconstruction", "data.axes=nhw");
    d.dim[0] = 7;
    write_file(in_directory("b.h5"), false, &d, 1);
    struct lj_archive_options options = options_of(in_directory("*.h5"));
    struct lj_archive *archive = open_with(&options);
    cr_assert_eq(lj_archive_info(archive)->rows, 12);
    cr_assert(strstr(lj_archive_info(archive)->axes_reason, "several lengths"));
    lj_archive_close(archive);
}

/* A mask is no part of the volume; scans of other names are joined when asked for. */
Test(archive_layout, only_one_name_is_joined_unasked)
{
    const char *path = in_directory("a.h5");
    struct dataset d[] = {grey("volume", 20, HEIGHT, HEIGHT), grey("mask", 20, HEIGHT, HEIGHT)};
    write_file(path, false, d, 2);
    refuse_file(path, "/mask (20x12x12), /volume (20x12x12)", "data.images=*");
    struct lj_archive_options options = options_of(path);
    options.images = "vol*";
    struct lj_archive *archive = open_with(&options);
    cr_assert_eq(lj_archive_info(archive)->rows, 20);
    cr_assert_str_eq(lj_archive_info(archive)->images, "/volume");
    lj_archive_close(archive);
    struct dataset one = grey("scan1", 20, HEIGHT, HEIGHT), two = grey("scan2", 20, HEIGHT, HEIGHT);
    write_file(in_directory("c.h5"), false, &one, 1);
    write_file(in_directory("d.h5"), false, &two, 1);
    refuse_file(in_directory("[cd].h5"), "d.h5: its images are /scan2", "/scan1");
    options = options_of(in_directory("[cd].h5"));
    options.images = "*";
    archive = open_with(&options);
    cr_assert_eq(lj_archive_info(archive)->rows, 40);
    lj_archive_close(archive);
    write_file(in_directory("d.h5"), false, &one, 1);
    options.images = "";
    archive = open_with(&options);
    cr_assert_eq(lj_archive_info(archive)->rows, 40);
    lj_archive_close(archive);
}
