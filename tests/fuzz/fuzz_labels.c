/* SPDX-License-Identifier: Apache-2.0 */
/* Labels and the columns of data.where: of any types and lengths, beside the images, at the root or
 * in a file of their own, in archives of one or two parts whose images are as they should be. */
#include "data/data.h"
#include "fuzz_hdf5.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS "labels.h5" /* a file of columns alone */
enum { ROWS_MAX = 8, COLUMNS_MAX = 3, PIXELS = 4 };

/* ---- the files --------------------------------------------------------------------------- */

static void put_images(struct fuzz_bytes *b, hid_t file, hsize_t rows)
{
    static const uint8_t values[ROWS_MAX * PIXELS * PIXELS];
    const hsize_t dim[] = {rows, PIXELS, PIXELS, 1};
    hid_t links = H5Pcreate(H5P_LINK_CREATE), space = H5Screate_simple(4, dim, NULL);
    H5Pset_create_intermediate_group(links, 1);
    hid_t set = H5Dcreate2(file, fuzz_below(b, 2) ? "a/images" : "images", H5T_STD_U8LE, space,
                           links, H5P_DEFAULT, H5P_DEFAULT);
    LJ_CHECK(set >= 0 &&
                 H5Dwrite(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0,
             "images");
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(links);
}

/* Numbers small enough to be labels, and some that are none. */
static double pick_number(struct fuzz_bytes *b)
{
    static const double rare[] = {-1, -2, NAN, 0.5, INT32_MAX, INT32_MIN, 4e9, 1e300};
    int which = fuzz_below(b, 32);
    return which < 8 ? rare[7 - which] : which % 4;
}

static hid_t text_type(size_t size)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    return type;
}

/* A column of numbers or of strings, or what fuzz_put makes of it. */
static void put_column(struct fuzz_bytes *b, hid_t file, hsize_t rows)
{
    static const char *const names[] = {"labels", "split", "a/split", "y"};
    static const char *const words[] = {"train", "a b", "", "0"};
    double numbers[2 * ROWS_MAX];
    char texts[2 * ROWS_MAX][8] = {{0}};
    const char *pointers[2 * ROWS_MAX];
    const hsize_t dim[] = {rows, 1};
    struct fuzz_dataset column = {
        .name = names[fuzz_below(b, 4)], .dims = 1 + fuzz_below(b, 2), .dim = dim};
    int kind = fuzz_below(b, 5);
    for (hsize_t i = 0; i < rows; i++) {
        numbers[i] = pick_number(b);
        pointers[i] = words[fuzz_below(b, 4)];
        snprintf(texts[i], sizeof texts[i], "%s", pointers[i]);
    }
    hid_t type = text_type(kind == 3 ? sizeof texts[0] : H5T_VARIABLE);
    column.type = kind == 0 ? H5T_STD_I32LE : kind == 1 ? H5T_STD_U8LE : H5T_IEEE_F32LE;
    column.memory = H5T_NATIVE_DOUBLE;
    column.values = numbers;
    if (kind >= 3) {
        column.type = column.memory = type;
        column.values = kind == 3 ? (const void *)texts : (const void *)pointers;
    }
    hid_t set = fuzz_put(b, file, &column);
    if (set >= 0)
        H5Dclose(set);
    H5Tclose(type);
}

static void put_columns(struct fuzz_bytes *b, hid_t file, hsize_t rows)
{
    for (int columns = 1 + fuzz_below(b, COLUMNS_MAX); columns > 0; columns--)
        put_column(b, file, rows);
}

/* The parts' paths as data.archive. Returns the rows. */
static int64_t make_files(struct fuzz_bytes *b, char *paths, size_t capacity)
{
    static const char *const names[] = {"labels-1.h5", "labels-2.h5"};
    hsize_t all = 0;
    int parts = 1 + fuzz_below(b, 2), at = 0;
    for (int p = 0; p < parts; p++) {
        hsize_t rows = 1 + (hsize_t)fuzz_below(b, ROWS_MAX);
        const char *path = fuzz_path(names[p]);
        hid_t file = fuzz_create(path);
        put_images(b, file, rows);
        put_columns(b, file, rows);
        H5Fclose(file);
        all += rows;
        at += snprintf(paths + at, capacity - (size_t)at, "%s%s", p ? "," : "", path);
    }
    hid_t file = fuzz_create(fuzz_path(COLUMNS));
    put_columns(b, file, all);
    H5Fclose(file);
    return (int64_t)all;
}

/* ---- reading ----------------------------------------------------------------------------- */

static const char *pick_labels(struct fuzz_bytes *b, char *text, size_t capacity)
{
    static const char *const labels[] = {"",  "labels", "split",    "/a/split",
                                         "y", "none",   "gone.h5:y"};
    static const char *const others[] = {"labels", "y", "/a/split"};
    int which = fuzz_below(b, 10);
    if (which < 7)
        return labels[which];
    snprintf(text, capacity, "%s:%s", fuzz_path(COLUMNS), others[which - 7]);
    return text;
}

static const char *pick_where(struct fuzz_bytes *b)
{
    static const char *const where[] = {"",
                                        "",
                                        "",
                                        "split=0",
                                        "split=train",
                                        "/a/split!=\"a b\"",
                                        "y<2 and labels!=1",
                                        "labels=0..2,4294967296",
                                        "y>=-1 and /split=0,train"};
    return where[fuzz_below(b, 9)];
}

/* What every archive keeps. */
static void check_archive(const struct lj_archive *archive, int64_t rows)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    int64_t last = -1, largest = -1;
    LJ_CHECK(info->rows == rows && info->selected > 0 && info->selected <= rows,
             "%lld of %lld rows, of %lld", (long long)info->selected, (long long)info->rows,
             (long long)rows);
    LJ_CHECK(info->has_labels == (*info->labels != 0), "labels '%s'", info->labels);
    for (int64_t i = 0; i < info->selected; i++) {
        int64_t row = lj_archive_row(archive, i);
        LJ_CHECK(row > last && row < rows, "row %lld after %lld", (long long)row, (long long)last);
        last = row;
        if (info->has_labels)
            largest = lj_max_i64(largest, lj_archive_label(archive, i));
    }
    LJ_CHECK(info->classes == (info->has_labels ? largest + 1 : 0),
             "%lld classes, largest label %lld", (long long)info->classes, (long long)largest);
}

/* The same labels as HDF5 reads them, of the first part or of a file of their own. */
static void check_labels(const struct lj_archive *archive)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    struct lj_archive_part part;
    double values[2 * ROWS_MAX];
    char path[512];
    lj_archive_part(archive, 0, &part);
    const char *colon = strrchr(info->labels, ':');
    snprintf(path, sizeof path, "%.*s", colon ? (int)(colon - info->labels) : 511,
             colon ? info->labels : part.file);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, colon ? colon + 1 : info->labels, H5P_DEFAULT);
    LJ_CHECK(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0, "%s",
             info->labels);
    H5Dclose(set);
    H5Fclose(file);
    for (int64_t i = 0; i < info->selected; i++) {
        int64_t row = lj_archive_row(archive, i);
        int32_t label = lj_archive_label(archive, i);
        if (row < part.rows || colon)
            LJ_CHECK(isnan(values[row]) ? label == -1 : label == values[row],
                     "row %lld has label %d, not %g", (long long)row, label, values[row]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_bytes bytes = {data, size};
    struct lj_archive *archive = NULL;
    struct lj_comm *world = fuzz_world();
    char paths[1024], labels[512];
    fuzz_begin();
    struct lj_archive_options options = {.files = paths,
                                         .images = "images",
                                         .labels = pick_labels(&bytes, labels, sizeof labels),
                                         .where = pick_where(&bytes),
                                         .blank = "",
                                         .axes = LJ_DATA_AXES_NHWC};
    int64_t rows = make_files(&bytes, paths, sizeof paths);
    int status = lj_archive_open(&archive, world, &options);
    fuzz_expect(status);
    if (status == LJ_OK) {
        check_archive(archive, rows);
        if (lj_archive_info(archive)->has_labels)
            check_labels(archive);
        lj_archive_close(archive);
    }
    fuzz_end();
    return 0;
}
