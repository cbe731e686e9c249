/* SPDX-License-Identifier: Apache-2.0 */
/* Blank values: who says which they are, for every type of pixels; what becomes of blank pixels. */
#include "archive_case.h"

#include "data/archive/archive.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 4, HEIGHT = 9, WIDTH = 8, CHANNELS = 2, PIXELS = HEIGHT * WIDTH };
enum { COUNT = CHANNELS * PIXELS, BLANK_ROW = 2, BLANK_AT = 37 };

static double values[ROWS * COUNT];
static float images[ROWS * COUNT];

TestSuite(blank, .init = begin, .fini = end, .timeout = 60);

/* Writes a.h5, (N, H, W, C) of small numbers but for one pixel. */
static const char *write_images(hid_t type, double blank)
{
    for (int i = 0; i < ROWS * COUNT; i++)
        values[i] = 1 + i % 50;
    values[BLANK_ROW * COUNT + BLANK_AT] = blank;
    struct dataset d = {.name = "images",
                        .type = type,
                        .dims = 4,
                        .dim = {ROWS, HEIGHT, WIDTH, CHANNELS},
                        .values = values};
    write_file(in_directory("a.h5"), false, &d, 1);
    return in_directory("a.h5");
}

/* Adds an attribute of `count` numbers to the images of a.h5; count 0: a scalar. */
static void write_attribute(const char *name, hid_t type, hsize_t count, const double *numbers)
{
    lj_hdf5_lock();
    hid_t file = H5Fopen(in_directory("a.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "images", H5P_DEFAULT);
    hid_t space = count ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR);
    hid_t made = H5Acreate2(set, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert_geq(H5Awrite(made, H5T_NATIVE_DOUBLE, numbers), 0);
    H5Aclose(made);
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(file);
    lj_hdf5_unlock();
}

static struct lj_archive *open_blank(const char *blank, enum lj_data_nan nan)
{
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    struct lj_archive *archive = NULL;
    options.blank = blank;
    options.nan = nan;
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_OK, "%s", lj_error_text());
    return archive;
}

/* One pixel is blank: refused with its row and value, or zero, and counted by a sample. */
static void expect_blank(const char *blank, const char *said, const char *origin)
{
    struct lj_archive *archive = open_blank(blank, LJ_DATA_NAN_ERROR);
    cr_assert(strstr(lj_archive_info(archive)->blank, origin), "%s",
              lj_archive_info(archive)->blank);
    cr_assert_eq(lj_archive_read(archive, 0, BLANK_ROW, images), LJ_OK);
    cr_assert_eq(lj_archive_read(archive, 0, ROWS, images), LJ_ERR_DATA);
    const char *text = lj_error_text();
    cr_assert(strstr(text, "row 2") && strstr(text, said) && strstr(text, origin), "%s", text);
    struct lj_pixel_sample sample;
    cr_assert_eq(lj_archive_sample(archive, &sample), LJ_OK);
    cr_assert_float_eq(sample.nonfinite, 1.0 / (ROWS * COUNT), 1e-12);
    lj_archive_close(archive);

    archive = open_blank(blank, LJ_DATA_NAN_ZERO);
    cr_assert_eq(lj_archive_read(archive, 0, ROWS, images), LJ_OK, "%s", lj_error_text());
    for (int i = 0; i < ROWS * COUNT; i++) {
        int row = i / COUNT, channel = i % COUNT / PIXELS, pixel = i % PIXELS;
        bool is = row == BLANK_ROW && pixel * CHANNELS + channel == BLANK_AT;
        cr_assert_eq(images[i] == 0, is, "%d: %g", i, (double)images[i]);
    }
    lj_archive_close(archive);
}

static void expect_none(const char *blank)
{
    struct lj_archive *archive = open_blank(blank, LJ_DATA_NAN_ERROR);
    cr_assert_str_eq(lj_archive_info(archive)->blank, "");
    cr_assert_eq(lj_archive_read(archive, 0, ROWS, images), LJ_OK, "%s", lj_error_text());
    lj_archive_close(archive);
}

Test(blank, setting_for_every_type)
{
    const struct {
        hid_t type;
        const char *blank;
        double value;
    } cases[] = {{H5T_STD_U8LE, "255", 255},
                 {H5T_STD_I8BE, "-128", -128},
                 {H5T_STD_U16LE, "65535", 65535},
                 {H5T_STD_I16BE, "-9999", -9999},
                 {H5T_STD_U32LE, "4294967295", 4294967295.0},
                 {H5T_STD_I32LE, "-2147483648", -2147483648.0},
                 {H5T_STD_U64LE, "9223372036854775808", 9223372036854775808.0},
                 {H5T_STD_I64LE, "-99", -99},
                 {H5T_IEEE_F32BE, "1e20", (double)1e20f},
                 {H5T_IEEE_F32LE, "-9999.3", (double)-9999.3f},
                 {H5T_IEEE_F64LE, "-1.7e308", -1.7e308}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char said[64];
        snprintf(said, sizeof said, "%.10g", cases[i].value);
        write_images(cases[i].type, cases[i].value);
        expect_blank(cases[i].blank, said, "data.blank");
    }
}

/* Neighbours that float32 does not tell apart. */
Test(blank, compared_as_stored)
{
    write_images(H5T_STD_U32LE, 4294967294.0);
    struct lj_archive *archive = open_blank("4294967295", LJ_DATA_NAN_ERROR);
    cr_assert_eq(lj_archive_read(archive, 0, ROWS, images), LJ_OK, "%s", lj_error_text());
    lj_archive_close(archive);
}

Test(blank, attributes)
{
    const double one[] = {-32768}, two[] = {-1, -32768}, nan[] = {NAN}, far[] = {1e6};
    const char *const names[] = {"BLANK", "_FillValue", "missing_value"};
    for (int i = 0; i < 3; i++) {
        write_images(H5T_STD_I16LE, -32768);
        write_attribute(names[i], i ? H5T_STD_I16LE : H5T_STD_I64LE, i == 1, one);
        expect_blank("", "-32768", "attribute");
        expect_none("none");
    }
    write_images(H5T_STD_I16LE, -32768);
    write_attribute("missing_value", H5T_IEEE_F32LE, 2, two);
    expect_blank(NULL, "-32768", "attribute");
    write_images(H5T_STD_I16LE, 1); /* what no pixel can be, or is anyway */
    write_attribute("missing_value", H5T_IEEE_F64LE, 1, far);
    write_attribute("_FillValue", H5T_IEEE_F64LE, 1, nan);
    expect_none("");
}

Test(blank, too_many_values_are_refused)
{
    const double many[] = {1, 2, 3, 4};
    write_images(H5T_IEEE_F32LE, 1);
    write_attribute("missing_value", H5T_IEEE_F32LE, 4, many);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    struct lj_archive *archive = NULL;
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "missing_value"), "%s", lj_error_text());
    expect_none("none");
}

Test(blank, settings_that_are_no_value_are_refused)
{
    write_images(H5T_STD_U8LE, 0);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    struct lj_archive *archive = NULL;
    const char *const wrong[] = {"-9999", "256", "0.5", "nan", "inf", "empty", "1 2"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        options.blank = wrong[i];
        cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_ERR_CONFIG, "%s", wrong[i]);
        cr_assert(strstr(lj_error_text(), "data.blank="), "%s", lj_error_text());
    }
}

/* Limits come from measurements. */
Test(blank, percentiles_leave_blank_pixels_out)
{
    write_images(H5T_IEEE_F32LE, 1);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    struct lj_archive *archive = NULL;
    options.blank = "50";
    options.nan = LJ_DATA_NAN_ZERO;
    options.stretch = LJ_DATA_STRETCH_PERCENTILE;
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_archive_limits(archive)->high[1], 48.0f);
    lj_archive_close(archive);
}
