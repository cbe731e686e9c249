/* SPDX-License-Identifier: Apache-2.0 */
/* Archives whose datasets promise more than is stored: what is read all the same, what is refused
 * before memory is allocated for it. */
#include "make_archive.h"
#include "data/archive/archive.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 9, HEIGHT = 6, WIDTH = 5, PIXELS = HEIGHT * WIDTH, MOST = ROWS * PIXELS };

static struct lj_comm *world;
static double values[MOST];
static float images[MOST];

static void begin(void)
{
    cr_assert_eq(lj_comm_start(&world), LJ_OK);
    directory_make();
    for (int i = 0; i < MOST; i++)
        values[i] = pixel(i / PIXELS, 0, i % PIXELS);
}

static void end(void)
{
    directory_remove();
    lj_comm_finish(world);
}

TestSuite(archive_storage, .init = begin, .fini = end, .timeout = 60);

/* Files, datasets and other objects of HDF5 that are open. */
static ssize_t open_objects(void)
{
    return H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL);
}

/* Opening fails with a text that holds both words, and leaves nothing open. */
static void refuse(const struct lj_archive_options *options, const char *one, const char *two)
{
    struct lj_archive *archive = NULL;
    ssize_t before = open_objects();
    cr_assert_eq(lj_archive_open(&archive, world, options), LJ_ERR_DATA, "%s", lj_error_text());
    cr_assert_null(archive);
    cr_assert(strstr(lj_error_text(), one) && strstr(lj_error_text(), two), "text: %s",
              lj_error_text());
    cr_assert_eq(open_objects(), before);
}

static void refuse_file(const char *path, const char *one, const char *two)
{
    struct lj_archive_options options = options_of(path);
    options.axes = LJ_DATA_AXES_NHW;
    refuse(&options, one, two);
}

/* The archive has the first `count` rows of values, and further rows that are all `rest`. */
static void check_rows(const char *path, const char *storage, int64_t rows, int64_t count,
                       float rest)
{
    struct lj_archive_options options = options_of(path);
    options.axes = LJ_DATA_AXES_NHW;
    struct lj_archive *archive = NULL;
    ssize_t before = open_objects();
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_archive_info(archive)->rows, rows);
    cr_assert_str_eq(lj_archive_info(archive)->storage, storage);
    cr_assert_eq(lj_archive_read(archive, 0, rows, images), LJ_OK, "%s", lj_error_text());
    for (int64_t i = 0; i < rows * PIXELS; i++) {
        float wanted = i < count * PIXELS ? (float)(values[i] / 255) : rest;
        cr_assert_float_eq(images[i], wanted, 1e-7, "value %ld", (long)i);
    }
    lj_archive_close(archive);
    cr_assert_eq(open_objects(), before);
}

/* Grey images, contiguous, written. */
static struct dataset grey(const char *name, hsize_t rows)
{
    return (struct dataset){.name = name,
                            .type = H5T_STD_U8LE,
                            .dims = 3,
                            .dim = {rows, HEIGHT, WIDTH},
                            .values = values};
}

/* The same in chunks of four rows that are not written. */
static struct dataset unwritten(const char *name, hsize_t rows)
{
    struct dataset d = grey(name, rows);
    memcpy(d.chunk, (hsize_t[]){4, HEIGHT, WIDTH}, 3 * sizeof(hsize_t));
    d.values = NULL;
    return d;
}

/* Three parts whose rows add up to little more than nothing in 64 bits, with labels that fit the
 * sum. */
Test(archive_storage, rows_that_wrap_are_refused)
{
    for (int f = 0; f < 3; f++) {
        char name[8];
        snprintf(name, sizeof name, "%d.h5", f);
        struct dataset d = unwritten("images", ((hsize_t)1 << 63) - 256);
        write_file(in_directory(name), false, &d, 1);
    }
    refuse_file(in_directory("*.h5"), "0.h5:/images", "9223372036854775552x6x5");
}

/* A column is compared with the rows before it is read. */
Test(archive_storage, long_label_columns_are_refused)
{
    struct dataset d[] = {grey("images", ROWS), unwritten("labels", (hsize_t)1 << 50)};
    d[1].dims = 1;
    write_file(in_directory("a.h5"), false, d, 2);
    refuse_file(in_directory("a.h5"), "a.h5:/labels", "found 1125899906842624");
}

/* Writes the first `rows` rows of a dataset that exists. */
static void write_rows(const char *path, const char *name, hsize_t rows)
{
    const hsize_t start[3] = {0}, count[3] = {rows, HEIGHT, WIDTH};
    lj_hdf5_lock();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), set = H5Dopen2(file, name, H5P_DEFAULT);
    hid_t space = H5Dget_space(set), memory = H5Screate_simple(3, count, NULL);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
    cr_assert_geq(H5Dwrite(set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, values), 0);
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(file);
    lj_hdf5_unlock();
}

Test(archive_storage, unwritten_values_are_refused)
{
    const char *path = in_directory("a.h5");
    struct dataset d = grey("images", ROWS);
    d.values = NULL;
    write_file(path, false, &d, 1);
    refuse_file(path, "a.h5:/images", "its values were never written");
    d = unwritten("images", ROWS);
    write_file(path, false, &d, 1);
    refuse_file(path, "a.h5:/images", "3 of its 3 chunks were never written");
    write_rows(path, "images", 4);
    refuse_file(path, "a.h5:/images", "2 of its 3 chunks were never written");
    write_rows(path, "images", ROWS);
    check_rows(path, "chunked 4x6x5", ROWS, ROWS, 0);
    d = unwritten("labels", ROWS);
    d.dims = 1;
    write_file(path, true, &d, 1);
    refuse_file(path, "a.h5:/labels", "never written");
}

/* A fill value of the writer's stands for what was not written, in any number that the file makes
 * likely. */
Test(archive_storage, fill_values_are_read)
{
    const char *path = in_directory("a.h5");
    const double fill = 51, none = -1;
    struct dataset d = unwritten("images", ROWS);
    d.fill = &fill;
    write_file(path, false, &d, 1);
    write_rows(path, "images", 4);
    struct dataset labels = unwritten("labels", ROWS);
    labels.dims = 1;
    labels.type = H5T_STD_I32LE;
    labels.fill = &none;
    write_file(path, true, &labels, 1);
    check_rows(path, "chunked 4x6x5", ROWS, 4, 0.2f);
    d.dim[0] = (hsize_t)1 << 40;
    write_file(path, false, &d, 1);
    write_rows(path, "images", 4);
    refuse_file(path, "1099511627776x6x5", "bytes stored for it");
}

/* Replaces a number of 8 bytes in a file. */
static void patch(const char *path, const uint64_t *pattern, int numbers, uint64_t first)
{
    int64_t at = find_bytes(path, pattern, (size_t)numbers * sizeof *pattern);
    cr_assert_gt(at, 0);
    FILE *file = fopen(path, "r+b");
    fseek(file, (long)at, SEEK_SET);
    fwrite(&first, sizeof first, 1, file);
    fclose(file);
}

Test(archive_storage, shapes_larger_than_the_file_are_refused)
{
    const char *path = in_directory("a.h5");
    struct dataset d = grey("images", ROWS);
    write_file(path, false, &d, 1);
    patch(path, (uint64_t[]){ROWS, HEIGHT, WIDTH}, 3, 1 << 20);
    /* HDF5 1.14 does not open such datasets */
    refuse_file(path, "a.h5:/images", H5_VERSION_GE(1, 14, 0) ? "damaged" : "1048576x6x5");
    write_file(path, false, &d, 1);
    patch(path, (uint64_t[]){2048, ROWS * PIXELS}, 2, 1 << 20);
    refuse_file(path, "a.h5:/images", H5_VERSION_GE(1, 14, 0) ? "damaged" : "9x6x5");
}

/* One of two datasets that belong together cannot be opened: without a word its rows would be
 * missing. */
Test(archive_storage, a_dataset_that_cannot_be_opened_is_not_left_out)
{
    const char *path = in_directory("a.h5"), *damaged = in_directory("b.h5");
    const struct dataset d[] = {grey("a/images", ROWS), grey("b/images", ROWS - 1)};
    write_file(path, false, d, 2);
    const uint64_t shape[] = {ROWS - 1, HEIGHT, WIDTH};
    int64_t version = find_bytes(path, shape, sizeof shape) - 8; /* of the dataspace's message */
    copy_part(path, damaged, 1 << 30, version);
    refuse_file(damaged, "/b/images", "damaged");
    struct lj_archive_options options = options_of(damaged);
    options.axes = LJ_DATA_AXES_NHW;
    options.images = "/a/images";
    struct lj_archive *archive = NULL;
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_archive_info(archive)->rows, ROWS);
    lj_archive_close(archive);
}

/* ---- external files ---------------------------------------------------------------------- */

/* Two raw files with 5 and 4 rows of bytes, the second behind 7 bytes of something else; at most
 * `bytes` of the second are written. */
static void write_external(const char *path, size_t bytes)
{
    unsigned char raw[MOST];
    for (int i = 0; i < MOST; i++)
        raw[i] = (unsigned char)values[i];
    FILE *one = fopen(in_directory("one.raw"), "wb"), *two = fopen(in_directory("two.raw"), "wb");
    fwrite(raw, 1, 5 * PIXELS, one);
    fwrite("before ", 1, 7, two);
    fwrite(raw + 5 * PIXELS, 1, bytes, two);
    fclose(one);
    fclose(two);
    const hsize_t dim[3] = {ROWS, HEIGHT, WIDTH};
    lj_hdf5_lock();
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(3, dim, NULL);
    H5Pset_external(plan, in_directory("one.raw"), 0, 5 * PIXELS);
    H5Pset_external(plan, "two.raw", 7, H5F_UNLIMITED);
    H5Dclose(H5Dcreate2(file, "images", H5T_STD_U8LE, space, H5P_DEFAULT, plan, H5P_DEFAULT));
    H5Sclose(space);
    H5Pclose(plan);
    H5Fclose(file);
    lj_hdf5_unlock();
}

/* An absolute name is taken as it is; the other one lies below the working directory. */
Test(archive_storage, external_files_are_read_if_long_enough)
{
    const char *path = in_directory("a.h5");
    write_external(path, 4 * PIXELS);
    refuse_file(path, "a.h5:/images", "two.raw is missing");
    cr_assert_eq(chdir(in_directory("")), 0);
    check_rows(path, "external files", ROWS, ROWS, 0);
    write_external(path, 4 * PIXELS - 1);
    refuse_file(path, "two.raw has 126 bytes", "expected 120 from byte 7 on");
    unlink("one.raw");
    refuse_file(path, "one.raw", "missing");
}

/* ---- virtual datasets -------------------------------------------------------------------- */

/* A part of a virtual dataset: rows [first, first + rows) are all rows of a source; rows 0: as many
 * as there are, in blocks of four, one for each number in the source's name. */
struct piece {
    const char *file, *set;
    hsize_t first, rows;
};

static void write_virtual(const char *path, const char *name, const struct piece *pieces, int count,
                          const double *fill)
{
    hsize_t dim[3] = {0, HEIGHT, WIDTH}, most[3] = {H5S_UNLIMITED, HEIGHT, WIDTH};
    const hsize_t blocks[3] = {H5S_UNLIMITED, 1, 1}, four[3] = {4, HEIGHT, WIDTH};
    const hsize_t step[3] = {4, 1, 1};
    bool endless = pieces[0].rows == 0;
    dim[0] = endless ? 0 : ROWS;
    lj_hdf5_lock();
    hid_t file = access(path, F_OK) == 0 ? H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT)
                                         : H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(3, dim, endless ? most : NULL);
    if (fill)
        H5Pset_fill_value(plan, H5T_NATIVE_DOUBLE, fill);
    for (int i = 0; i < count; i++) {
        const hsize_t start[3] = {pieces[i].first, 0, 0};
        const hsize_t block[3] = {pieces[i].rows, HEIGHT, WIDTH}, one[3] = {1, 1, 1};
        hid_t source = H5Screate_simple(3, endless ? four : block, NULL);
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start, endless ? step : NULL,
                            endless ? blocks : one, endless ? four : block);
        cr_assert_geq(H5Pset_virtual(plan, space, pieces[i].file, pieces[i].set, source), 0);
        H5Sclose(source);
    }
    hid_t set = H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    cr_assert(set >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(plan);
    H5Fclose(file);
    lj_hdf5_unlock();
}

/* Rows [first, first + rows) of values as a file of their own. */
static void write_source(const char *path, hsize_t first, hsize_t rows)
{
    struct dataset d = grey("pixels", rows);
    d.values = values + first * PIXELS;
    write_file(path, false, &d, 1);
}

static const struct piece two_files[] = {{"one.src", "pixels", 0, 5}, {"two.src", "pixels", 5, 4}};

Test(archive_storage, virtual_datasets_are_read_if_their_sources_exist)
{
    const char *path = in_directory("a.h5");
    write_virtual(path, "images", two_files, 2, NULL);
    write_source(in_directory("one.src"), 0, 5);
    refuse_file(path, "a.h5:/images", "the file two.src, which holds a part of it, is missing");
    cr_assert_eq(mkfifo(in_directory("two.src"), 0600), 0); /* opening it would never end */
    refuse_file(path, "a.h5:/images", "the file two.src, which holds a part of it, is missing");
    unlink(in_directory("two.src"));
    struct dataset other = grey("other", 4);
    write_file(in_directory("two.src"), false, &other, 1);
    refuse_file(path, "a.h5:/images", "the dataset pixels, which holds a part of it, is missing");
    write_source(in_directory("two.src"), 5, 3);
    refuse_file(path, "two.src:pixels", "3x6x5");
    struct dataset empty = unwritten("pixels", 4);
    write_file(in_directory("two.src"), false, &empty, 1);
    refuse_file(path, "two.src:pixels", "never written");
    write_source(in_directory("two.src"), 5, 4);
    check_rows(path, "virtual", ROWS, ROWS, 0);
}

/* Sources are also looked for where HDF5_VDS_PREFIX says and in the working directory. */
Test(archive_storage, sources_are_found_where_hdf5_finds_them)
{
    const char *path = in_directory("a.h5");
    char below[1024];
    snprintf(below, sizeof below, "%s", in_directory("below"));
    write_virtual(path, "images", two_files, 2, NULL);
    cr_assert_eq(mkdir(below, 0700), 0);
    cr_assert_eq(chdir(below), 0);
    write_source("one.src", 0, 5);
    write_source("two.src", 5, 4);
    check_rows(path, "virtual", ROWS, ROWS, 0);
    cr_assert_eq(chdir("/"), 0);
    refuse_file(path, "one.src", "missing");
    char list[2048];
    snprintf(list, sizeof list, "/nowhere:%s", below);
    setenv("HDF5_VDS_PREFIX", list, 1);
    check_rows(path, "virtual", ROWS, ROWS, 0);
    cr_assert_eq(chdir(below), 0);
    unlink("one.src");
    unlink("two.src");
    cr_assert_eq(rmdir(below), 0);
}

Test(archive_storage, virtual_datasets_may_lie_on_virtual_ones)
{
    const char *path = in_directory("a.h5");
    const struct piece same[] = {{".", "parts", 0, ROWS}}, circle[] = {{".", "images", 0, ROWS}};
    write_virtual(path, "parts", two_files, 2, NULL);
    write_virtual(path, "images", same, 1, NULL);
    write_source(in_directory("one.src"), 0, 5);
    refuse_file(path, "a.h5:parts", "two.src");
    write_source(in_directory("two.src"), 5, 4);
    check_rows(path, "virtual", ROWS, ROWS, 0);
    write_virtual(in_directory("b.h5"), "images", circle, 1, NULL);
    refuse_file(in_directory("b.h5"), "images", "8 deep");
}

Test(archive_storage, virtual_datasets_with_holes_are_refused)
{
    const char *path = in_directory("a.h5");
    const double fill = 51;
    write_source(in_directory("one.src"), 0, 5);
    write_virtual(path, "images", two_files, 1, NULL);
    refuse_file(path, "a.h5:/images", "cover 150 of 270 values");
    unlink(path);
    write_virtual(path, "images", two_files, 1, &fill);
    check_rows(path, "virtual", ROWS, 5, 0.2f);
}

/* Blocks of four rows from block-0.src, block-1.src, ... as far as there are files. */
Test(archive_storage, blocks_are_counted_by_name)
{
    const char *path = in_directory("a.h5");
    const struct piece blocks[] = {{"block-%b.src", "pixels", 0, 0}};
    write_virtual(path, "images", blocks, 1, NULL);
    write_source(in_directory("block-0.src"), 0, 4);
    write_source(in_directory("block-1.src"), 4, 4);
    check_rows(path, "virtual", 8, 8, 0);
    struct dataset empty = unwritten("pixels", 4);
    write_file(in_directory("block-1.src"), false, &empty, 1);
    refuse_file(path, "block-1.src:pixels", "never written");
}

/* %% is a percent sign in a name, also before a b. */
Test(archive_storage, percent_signs_are_no_blocks)
{
    const char *path = in_directory("a.h5");
    const struct piece whole[] = {{"a%%b.src", "pixels", 0, ROWS}};
    write_virtual(path, "images", whole, 1, NULL);
    refuse_file(path, "a.h5:/images", "the file a%b.src, which holds a part of it, is missing");
    write_source(in_directory("a%b.src"), 0, ROWS);
    check_rows(path, "virtual", ROWS, ROWS, 0);
}
