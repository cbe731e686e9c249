/* SPDX-License-Identifier: Apache-2.0 */
/* Archives: what is found, what is read, what is refused. Values are those the files were written
 * from. */
#include "archive_case.h"
#include "data/archive/archive.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 21, HEIGHT = 6, WIDTH = 5, CHANNELS = 3, PIXELS = HEIGHT * WIDTH, MOST = 1 << 16 };

static double values[MOST];
static float images[MOST];

TestSuite(archive, .init = begin, .fini = end, .timeout = 60);

static struct lj_archive *open_file(const char *path)
{
    struct lj_archive_options options = options_of(path);
    return open_with(&options);
}

/* Opening fails with this status and a text that holds both words. */
static void refuse(const struct lj_archive_options *options, int wanted, const char *one,
                   const char *two)
{
    struct lj_archive *archive = NULL;
    cr_assert_eq(lj_archive_open(&archive, world, options), wanted);
    cr_assert_null(archive);
    cr_assert(strstr(lj_error_text(), one) && strstr(lj_error_text(), two), "text: %s",
              lj_error_text());
}

static void refuse_file(const char *path, const char *one, const char *two)
{
    struct lj_archive_options options = options_of(path);
    refuse(&options, LJ_ERR_DATA, one, two);
}

/* Rows of images in the given order of axes, values pixel(row, channel, place). */
static const double *fill(const char *axes, int64_t rows, int64_t first_row)
{
    int64_t channels = strcmp(axes, "nhw") == 0 ? 1 : CHANNELS;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < PIXELS; p++) {
                int64_t at = strcmp(axes, "nhwc") == 0 ? p * channels + c : c * PIXELS + p;
                values[r * channels * PIXELS + at] = pixel(first_row + r, c, p);
            }
    return values;
}

static struct dataset nhwc(const char *name, hsize_t rows, int64_t first_row)
{
    return (struct dataset){.name = name,
                            .type = H5T_STD_U8LE,
                            .dims = 4,
                            .dim = {rows, HEIGHT, WIDTH, CHANNELS},
                            .values = fill("nhwc", (int64_t)rows, first_row)};
}

/* Every selected image is pixel(first_row + i) / divisor. */
static void check_images(struct lj_archive *archive, int64_t channels, int64_t first_row,
                         double divisor)
{
    int64_t selected = lj_archive_info(archive)->selected;
    cr_assert_eq(lj_archive_read(archive, 0, selected, images), LJ_OK, "%s", lj_error_text());
    for (int64_t i = 0; i < selected; i++)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < PIXELS; p++) {
                float got = images[(i * channels + c) * PIXELS + p];
                float wanted = (float)(pixel(first_row + i, c, p) / divisor);
                cr_assert_float_eq(got, wanted, 1e-7, "row %ld channel %ld place %ld: %g, not %g",
                                   (long)i, (long)c, (long)p, (double)got, (double)wanted);
            }
}

static void write_column(const char *path, const char *name, hsize_t rows, double (*value)(int))
{
    static double column[MOST];
    for (int i = 0; i < (int)rows; i++)
        column[i] = value(i);
    struct dataset d = {
        .name = name, .type = H5T_STD_I32LE, .dims = 1, .dim = {rows}, .values = column};
    write_file(path, true, &d, 1);
}

static double modulo_four(int i)
{
    return i % 4;
}

static double is_third(int i)
{
    return i % 3 == 2;
}

Test(archive, finds_images_and_labels)
{
    const char *path = in_directory("a.h5");
    struct dataset d = nhwc("images", ROWS, 0);
    memcpy(d.chunk, (hsize_t[]){4, HEIGHT, WIDTH, CHANNELS}, 4 * sizeof(hsize_t));
    d.filters = SHUFFLE | DEFLATE;
    write_file(path, false, &d, 1);
    write_column(path, "ans", ROWS, modulo_four);
    struct lj_archive *archive = open_file(path);
    const struct lj_archive_info *info = lj_archive_info(archive);
    cr_assert_eq(info->rows, ROWS);
    cr_assert_eq(info->selected, ROWS);
    cr_assert_eq(info->channels, CHANNELS);
    cr_assert_eq(info->height, HEIGHT);
    cr_assert_eq(info->stored_width, WIDTH);
    cr_assert_eq(info->classes, 4);
    cr_assert_str_eq(info->type, "u8");
    cr_assert_str_eq(info->axes, "nhwc");
    cr_assert_str_eq(info->images, "/images");
    cr_assert_str_eq(info->labels, "/ans");
    cr_assert_str_eq(info->storage, "chunked 4x6x5x3, shuffle, deflate");
    for (int i = 0; i < ROWS; i++)
        cr_assert_eq(lj_archive_label(archive, i), i % 4);
    check_images(archive, CHANNELS, 0, 255.0);
    char text[1024];
    lj_archive_describe(archive, text, sizeof text);
    cr_assert(strstr(text, "21 images") && strstr(text, "4 classes"), "%s", text);
    lj_archive_close(archive);
}

/* Every type in both byte orders, in each order of axes. */
Test(archive, reads_every_type_and_order)
{
    hid_t half_little = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(half_little, 15, 10, 5, 0, 10);
    H5Tset_size(half_little, 2);
    H5Tset_ebias(half_little, 15);
    hid_t half_big = H5Tcopy(half_little);
    H5Tset_order(half_big, H5T_ORDER_BE);
    const struct {
        hid_t type;
        const char *name;
        double divisor;
    } types[] = {
        {H5T_STD_U8LE, "u8", 255},  {H5T_STD_I8LE, "i8", 127},  {H5T_STD_U16LE, "u16", 1},
        {H5T_STD_U16BE, "u16", 1},  {H5T_STD_I16LE, "i16", 1},  {H5T_STD_I16BE, "i16", 1},
        {H5T_STD_U32LE, "u32", 1},  {H5T_STD_U32BE, "u32", 1},  {H5T_IEEE_F32LE, "f32", 1},
        {H5T_IEEE_F32BE, "f32", 1}, {H5T_IEEE_F64LE, "f64", 1}, {H5T_IEEE_F64BE, "f64", 1},
        {half_little, "f16", 1},    {half_big, "f16", 1},       {H5T_STD_I32LE, "i32", 1},
    };
    const char *axes[] = {"nhwc", "nchw", "nhw"};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int a = 0; a < 3; a++) {
            const char *path = in_directory("a.h5");
            struct dataset d = nhwc("x", ROWS, 5);
            d.values = fill(axes[a], ROWS, 5);
            d.type = types[t].type;
            d.dims = a == 2 ? 3 : 4;
            if (a == 1)
                memcpy(d.dim, (hsize_t[]){ROWS, CHANNELS, HEIGHT, WIDTH}, 4 * sizeof(hsize_t));
            write_file(path, false, &d, 1);
            struct lj_archive_options options = options_of(path);
            options.axes = a == 2 ? LJ_DATA_AXES_NHW : LJ_DATA_AXES_AUTO;
            struct lj_archive *archive = open_with(&options);
            cr_assert_str_eq(lj_archive_info(archive)->type, types[t].name);
            cr_assert_str_eq(lj_archive_info(archive)->axes, axes[a]);
            check_images(archive, a == 2 ? 1 : CHANNELS, 5, types[t].divisor);
            lj_archive_close(archive);
        }
}

/* The raw path and HDF5's own agree on every bit, for every pipeline, with a last chunk that is not
 * full. */
Test(archive, raw_chunks_equal_hdf5)
{
    const hid_t types[] = {H5T_STD_U8LE, H5T_STD_I16LE, H5T_IEEE_F32LE, H5T_IEEE_F64LE};
    static float other[MOST];
    for (int filters = 0; filters < 8; filters++)
        for (int t = 0; t < 4; t++) {
            struct dataset d = nhwc("data", ROWS, 2);
            d.type = types[t];
            d.filters = filters;
            memcpy(d.chunk, (hsize_t[]){4, HEIGHT, WIDTH, CHANNELS}, 4 * sizeof(hsize_t));
            write_file(in_directory("a.h5"), false, &d, 1);
            struct lj_archive *archive = open_file(in_directory("a.h5"));
            cr_assert(archive->part[0].raw);
            check_images(archive, CHANNELS, 2, t == 0 ? 255.0 : 1.0);
            lj_archive_close(archive);
            archive = open_file(in_directory("a.h5"));
            lj_archive_use_hdf5_only(archive, true);
            cr_assert_eq(lj_archive_read(archive, 0, ROWS, other), LJ_OK);
            cr_assert_arr_eq(images, other, ROWS * CHANNELS * PIXELS * sizeof *images);
            lj_archive_close(archive);
        }
}

/* Chunks that cut rows into tiles are left to HDF5. */
Test(archive, reads_tiled_chunks)
{
    struct dataset d = nhwc("data", ROWS, 0);
    d.filters = SHUFFLE | DEFLATE;
    memcpy(d.chunk, (hsize_t[]){4, 2, 5, 1}, 4 * sizeof(hsize_t));
    write_file(in_directory("a.h5"), false, &d, 1);
    struct lj_archive *archive = open_file(in_directory("a.h5"));
    cr_assert_not(archive->part[0].raw);
    check_images(archive, CHANNELS, 0, 255.0);
    lj_archive_close(archive);
}

static void write_three(const char *one, const char *two, const char *three)
{
    struct dataset d = nhwc("images", 5, 0);
    write_file(in_directory(one), false, &d, 1);
    d = nhwc("images", 1, 5);
    write_file(in_directory(two), false, &d, 1);
    d = nhwc("images", 8, 6);
    memcpy(d.chunk, (hsize_t[]){3, HEIGHT, WIDTH, CHANNELS}, 4 * sizeof(hsize_t));
    write_file(in_directory(three), false, &d, 1);
}

/* first: (count + 1) */
static void check_groups(const struct lj_archive *archive, const int64_t *first, int64_t count)
{
    struct lj_groups groups = lj_archive_groups(archive);
    cr_assert_eq(groups.count, count);
    for (int64_t g = 0; g <= count; g++)
        cr_assert_eq(groups.first(groups.data, g), first[g], "group %ld", (long)g);
}

Test(archive, joins_files_by_list_glob_and_directory)
{
    write_three("a.h5", "b.hdf5", "c.h5");
    char list[4096];
    snprintf(list, sizeof list, "%s,%s,%s", in_directory("a.h5"), in_directory("b.hdf5"),
             in_directory("c.h5"));
    const char *ways[] = {list, in_directory("*5"), in_directory("")};
    for (int i = 0; i < 3; i++) {
        struct lj_archive *archive = open_file(ways[i]);
        cr_assert_eq(lj_archive_info(archive)->rows, 14);
        cr_assert_eq(lj_archive_info(archive)->parts, 3);
        check_images(archive, CHANNELS, 0, 255.0);
        char name[1024];
        lj_archive_name_row(archive, 7, name, sizeof name);
        cr_assert(strstr(name, "c.h5:/images row 1"), "%s", name);
        const int64_t wanted[] = {0, 5, 6, 14};
        check_groups(archive, wanted, 3);
        lj_archive_close(archive);
    }
}

Test(archive, joins_groups_of_one_name)
{
    struct dataset d = nhwc("/1/images", 2, 3);
    write_file(in_directory("a.h5"), false, &d, 1);
    d = nhwc("/0/images", 3, 0);
    write_file(in_directory("a.h5"), true, &d, 1);
    struct dataset spectra = {
        .name = "/0/spectra", .type = H5T_IEEE_F32LE, .dims = 3, .dim = {3, 50, 7}};
    write_file(in_directory("a.h5"), true, &spectra, 1);
    write_column(in_directory("a.h5"), "/0/y", 3, modulo_four);
    write_column(in_directory("a.h5"), "/1/y", 2, modulo_four);
    struct lj_archive *archive = open_file(in_directory("a.h5"));
    check_images(archive, CHANNELS, 0, 255.0);
    const int32_t wanted[] = {0, 1, 2, 0, 1};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        cr_assert_eq(lj_archive_label(archive, (int64_t)i), wanted[i]);
    lj_archive_close(archive);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.images = "/1/images";
    archive = open_with(&options);
    cr_assert_eq(lj_archive_info(archive)->rows, 2);
    check_images(archive, CHANNELS, 3, 255.0);
    lj_archive_close(archive);
}

/* Rows 2, 5, 8, ... across chunks of four: groups begin where the chunk changes. */
Test(archive, selects_rows)
{
    struct dataset d = nhwc("images", ROWS, 0);
    memcpy(d.chunk, (hsize_t[]){40, HEIGHT, WIDTH, CHANNELS}, 4 * sizeof(hsize_t));
    d.chunk[0] = 20;
    write_file(in_directory("a.h5"), false, &d, 1);
    write_column(in_directory("a.h5"), "split", ROWS, is_third);
    write_column(in_directory("a.h5"), "labels", ROWS, modulo_four);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.where = "split=1";
    struct lj_archive *archive = open_with(&options);
    cr_assert_eq(lj_archive_info(archive)->selected, 7);
    cr_assert_eq(lj_archive_read(archive, 0, 7, images), LJ_OK);
    for (int i = 0; i < 7; i++) {
        cr_assert_eq(lj_archive_row(archive, i), 3 * i + 2);
        cr_assert_eq(lj_archive_label(archive, i), (3 * i + 2) % 4);
        cr_assert_float_eq(images[i * CHANNELS * PIXELS], pixel(3 * i + 2, 0, 0) / 255, 1e-7);
    }
    check_groups(archive, (int64_t[]){0, 6, 7}, 2);
    lj_archive_close(archive);
    options.where = "split=7";
    refuse(&options, LJ_ERR_DATA, "split=7", "none of 21");
    options.where = "absent=1";
    refuse(&options, LJ_ERR_DATA, "absent", "data.where");
    options.where = "split";
    refuse(&options, LJ_ERR_CONFIG, "split", "DATASET=VALUE");
}

Test(archive, decides_axes_by_the_stated_rule)
{
    const struct {
        hsize_t dim[4];
        const char *axes; /* NULL: ambiguous */
    } cases[] = {
        {{2, 256, 256, 3}, "nhwc"}, {{2, 3, 152, 152}, "nchw"}, {{2, 32, 32, 10}, "nhwc"},
        {{2, 64, 65, 64}, NULL},    {{2, 5, 5, 5}, NULL},       {{2, 16, 30, 28}, "nchw"},
        {{2, 4, 200, 30}, NULL},    {{2, 8, 8, 1}, "nhwc"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lj_archive_header header = {0};
        int status = lj_axes_decide(&header, LJ_DATA_AXES_AUTO, cases[i].dim, 4, "f:/x");
        cr_assert_eq(status, cases[i].axes ? LJ_OK : LJ_ERR_DATA, "case %zu", i);
        if (cases[i].axes)
            cr_assert_str_eq(header.axes_text, cases[i].axes);
        else
            cr_assert(strstr(lj_error_text(), "data.axes"));
    }
    struct lj_archive_header header = {0};
    cr_assert_eq(lj_axes_decide(&header, LJ_DATA_AXES_NCHW, cases[4].dim, 4, "f:/x"), LJ_OK);
    cr_assert_eq(header.info.channels, 5);
    cr_assert_eq(lj_axes_decide(&header, LJ_DATA_AXES_NHW, cases[4].dim, 4, "f:/x"), LJ_ERR_DATA);
    cr_assert_eq(lj_axes_decide(&header, LJ_DATA_AXES_NCHW, cases[0].dim, 4, "f:/x"), LJ_ERR_DATA);
}

Test(archive, takes_labels_from_elsewhere)
{
    struct dataset d = nhwc("x", ROWS, 0);
    write_file(in_directory("x.h5"), false, &d, 1);
    for (int i = 0; i < ROWS; i++)
        values[i] = 2 * i;
    struct dataset y = {
        .name = "y", .type = H5T_STD_U8LE, .dims = 4, .dim = {ROWS, 1, 1, 1}, .values = values};
    write_file(in_directory("y.h5"), false, &y, 1);
    char name[2048];
    snprintf(name, sizeof name, "%s:/y", in_directory("y.h5"));
    struct lj_archive_options options = options_of(in_directory("x.h5"));
    options.labels = name;
    struct lj_archive *archive = open_with(&options);
    cr_assert_eq(lj_archive_info(archive)->classes, 41);
    cr_assert_eq(lj_archive_label(archive, 20), 40);
    lj_archive_close(archive);
    write_column(in_directory("x.h5"), "label", ROWS - 1, modulo_four);
    options.labels = "";
    refuse(&options, LJ_ERR_DATA, "21", "20");
    options.labels = "none";
    archive = open_with(&options);
    cr_assert_not(lj_archive_info(archive)->has_labels);
    cr_assert_not(lj_archive_info(archive)->has_labels);
    lj_archive_close(archive);
    options.labels = "kind";
    refuse(&options, LJ_ERR_DATA, "kind", "data.labels");
}

/* Measurements under a label's name are no labels unless asked for, and then an error. */
Test(archive, fractions_are_no_labels)
{
    struct dataset d = nhwc("x", ROWS, 0);
    write_file(in_directory("x.h5"), false, &d, 1);
    for (int i = 0; i < ROWS; i++)
        values[i] = 0.5 * i;
    struct dataset y = {
        .name = "y", .type = H5T_IEEE_F64LE, .dims = 1, .dim = {ROWS}, .values = values};
    write_file(in_directory("x.h5"), true, &y, 1);
    struct lj_archive *archive = open_file(in_directory("x.h5"));
    cr_assert_not(lj_archive_info(archive)->has_labels);
    lj_archive_close(archive);
    struct lj_archive_options options = options_of(in_directory("x.h5"));
    options.labels = "y";
    refuse(&options, LJ_ERR_DATA, "integers", "0.5");
}

static void write_bytes(const char *path, const char *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    fwrite(bytes, 1, count, file);
    fclose(file);
}

Test(archive, refuses_files_that_are_no_archives)
{
    refuse_file(in_directory("absent.h5"), "absent.h5", "No such file");
    write_bytes(in_directory("text.h5"), "hello, this is no archive", 25);
    refuse_file(in_directory("text.h5"), "expected an HDF5 file", "25 bytes");
    write_bytes(in_directory("empty.h5"), "", 0);
    refuse_file(in_directory("empty.h5"), "expected an HDF5 file", "0 bytes");
    write_bytes(in_directory("packed.h5"), "\x1f\x8b\x08 and more", 12);
    refuse_file(in_directory("packed.h5"), "packed.h5", "gunzip");
    struct dataset d = nhwc("images", ROWS, 0);
    write_file(in_directory("whole.h5"), false, &d, 1);
    copy_part(in_directory("whole.h5"), in_directory("torn.h5"), 3000, -1);
    refuse_file(in_directory("torn.h5"), "truncated", "3000 bytes");
    refuse_file(in_directory("nothing-*.h5"), "nothing-*.h5", "matches");
    refuse_file("", "data.archive", "no file");
    refuse_file("/", "no HDF5 file", "data.archive");
}

Test(archive, refuses_unsupported_datasets)
{
    const char *path = in_directory("a.h5");
    struct dataset d = nhwc("images", ROWS, 0);
    write_file(path, false, &d, 1);
    struct lj_archive_options options = options_of(path);
    options.images = "pictures";
    refuse(&options, LJ_ERR_DATA, "pictures", "/images (21x6x5x3)");
    struct dataset flat = {
        .name = "flat", .type = H5T_STD_U8LE, .dims = 2, .dim = {7, 9}, .values = values};
    write_file(path, true, &flat, 1);
    options.images = "flat";
    refuse(&options, LJ_ERR_DATA, "7x9", "(N,H,W,C)");
    write_file(in_directory("flat.h5"), false, &flat, 1);
    refuse_file(in_directory("flat.h5"), "dataset of images", "/flat (7x9)");
    hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, 8);
    struct dataset names = {.name = "names", .type = text, .dims = 3, .dim = {7, 4, 4}};
    write_file(path, true, &names, 1);
    options.images = "names";
    refuse(&options, LJ_ERR_DATA, "names", "found strings");
    struct dataset none = nhwc("images", 0, 0);
    write_file(in_directory("none.h5"), false, &none, 1);
    refuse_file(in_directory("none.h5"), "none.h5", "without rows");
    struct dataset two[] = {nhwc("red", 2, 0), nhwc("blue", 2, 0)};
    write_file(in_directory("two.h5"), false, two, 2);
    refuse_file(in_directory("two.h5"), "/blue (2x6x5x3), /red (2x6x5x3)", "data.images");
}

Test(archive, refuses_parts_that_differ)
{
    struct dataset d = nhwc("images", 5, 0);
    write_file(in_directory("a.h5"), false, &d, 1);
    d.dim[1] = HEIGHT - 1;
    write_file(in_directory("b.h5"), false, &d, 1);
    refuse_file(in_directory("*.h5"), "6x5x3", "5x5x3");
    d.dim[1] = HEIGHT;
    d.type = H5T_STD_U16LE;
    write_file(in_directory("b.h5"), false, &d, 1);
    refuse_file(in_directory("*.h5"), "u16", "u8");
}

/* A byte inverted in the middle of the compressed data of chunk 2 is noticed, and named by row; the
 * other chunks still read. */
Test(archive, names_the_row_of_a_damaged_chunk)
{
    const int filters[] = {DEFLATE, FLETCHER, DEFLATE | SHUFFLE | FLETCHER};
    for (int f = 0; f < 3; f++) {
        struct dataset d = nhwc("images", ROWS, 0);
        d.filters = filters[f];
        memcpy(d.chunk, (hsize_t[]){4, HEIGHT, WIDTH, CHANNELS}, 4 * sizeof(hsize_t));
        write_file(in_directory("a.h5"), false, &d, 1);
        lj_hdf5_lock();
        hid_t file = H5Fopen(in_directory("a.h5"), H5F_ACC_RDONLY, H5P_DEFAULT);
        hid_t dataset = H5Dopen2(file, "images", H5P_DEFAULT);
        hsize_t offset[4] = {8, 0, 0, 0}, bytes = 0;
        haddr_t address = 0;
        unsigned mask = 0;
        cr_assert(H5Dget_chunk_info_by_coord(dataset, offset, &mask, &address, &bytes) >= 0);
        H5Dclose(dataset);
        H5Fclose(file);
        lj_hdf5_unlock();
        copy_part(in_directory("a.h5"), in_directory("b.h5"), 1 << 20,
                  (int64_t)(address + bytes / 2));
        struct lj_archive *archive = open_file(in_directory("b.h5"));
        cr_assert_eq(lj_archive_read(archive, 0, 8, images), LJ_OK);
        cr_assert_eq(lj_archive_read(archive, 5, 6, images), LJ_ERR_DATA);
        cr_assert(strstr(lj_error_text(), "b.h5:/images row 8"), "%s", lj_error_text());
        cr_assert_eq(lj_archive_read(archive, 12, 9, images), LJ_OK);
        lj_archive_close(archive);
    }
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

static double with_holes(int i)
{
    return i == 2 * PIXELS + 3 ? NAN : i == 4 * PIXELS ? -INFINITY : i - 40.0;
}

Test(archive, names_or_replaces_what_is_not_finite)
{
    write_floats(in_directory("a.h5"), 5, with_holes);
    struct lj_archive *archive = open_file(in_directory("a.h5"));
    cr_assert_eq(lj_archive_read(archive, 0, 2, images), LJ_OK);
    cr_assert_eq(lj_archive_read(archive, 0, 5, images), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "a.h5:/images row 2") &&
                  strstr(lj_error_text(), "data.nan=zero"),
              "%s", lj_error_text());
    lj_archive_close(archive);
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.nan = LJ_DATA_NAN_ZERO;
    archive = open_with(&options);
    cr_assert_eq(lj_archive_read(archive, 0, 5, images), LJ_OK);
    for (int i = 0; i < 5 * PIXELS; i++)
        cr_assert_eq(images[i], isfinite(with_holes(i)) ? (float)(i - 40.0) : 0.0f);
    lj_archive_close(archive);
}

/* More files than stay open at once, read again and again in both directions. */
Test(archive, many_small_files)
{
    enum { FILES = 80 };
    for (int f = 0; f < FILES; f++) {
        char name[32];
        snprintf(name, sizeof name, "part-%03d.h5", f);
        struct dataset d = nhwc("images", 1, f);
        write_file(in_directory(name), false, &d, 1);
    }
    struct lj_archive *archive = open_file(in_directory(""));
    cr_assert_eq(lj_archive_info(archive)->rows, FILES);
    check_images(archive, CHANNELS, 0, 255.0);
    for (int f = FILES - 1; f >= 0; f--) {
        cr_assert_eq(lj_archive_read(archive, f, 1, images), LJ_OK);
        cr_assert_float_eq(images[0], pixel(f, 0, 0) / 255, 1e-7);
    }
    lj_archive_close(archive);
}

Test(archive, fingerprint_tells_archives_apart)
{
    struct dataset d = nhwc("images", 5, 0);
    write_file(in_directory("a.h5"), false, &d, 1);
    struct lj_archive *archive = open_file(in_directory("a.h5"));
    uint64_t one = lj_archive_info(archive)->fingerprint;
    lj_archive_close(archive);
    archive = open_file(in_directory("a.h5"));
    cr_assert_eq(lj_archive_info(archive)->fingerprint, one);
    lj_archive_close(archive);
    d = nhwc("images", 6, 0);
    write_file(in_directory("a.h5"), false, &d, 1);
    archive = open_file(in_directory("a.h5"));
    cr_assert_neq(lj_archive_info(archive)->fingerprint, one);
    lj_archive_close(archive);
}

/* Failures included, nothing stays allocated. */
Test(archive, leaves_no_memory_behind)
{
    struct dataset d = nhwc("images", 5, 0);
    write_file(in_directory("a.h5"), false, &d, 1);
    struct lj_archive *archive = open_file(in_directory("a.h5"));
    check_images(archive, CHANNELS, 0, 255.0);
    lj_archive_close(archive);
    refuse_file(in_directory("absent.h5"), "absent", "absent");
    struct lj_archive_options options = options_of(in_directory("a.h5"));
    options.where = "no=1";
    refuse(&options, LJ_ERR_DATA, "no", "no");
    lj_archive_close(NULL);
    struct lj_memory_use use[32];
    int labels = lj_memory_report(use, 32);
    for (int i = 0; i < labels; i++)
        if (strncmp(use[i].label, "archive", 7) == 0)
            cr_assert_eq(use[i].blocks, 0, "%s", use[i].label);
}
