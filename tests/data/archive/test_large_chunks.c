/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks above the limit are decoded once for all of their rows. A filter of the test counts. */
#include "make_archive.h"
#include "data/archive/archive.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* A chunk is larger than HDF5's own cache, 1 MiB. */
enum { ROWS = 40, CHUNK_ROWS = 20, SIZE = 256, PIXELS = SIZE * SIZE, COUNTS = 300 };

static struct lj_comm *world;
static unsigned char values[ROWS * PIXELS];
static float image[PIXELS];
static int decoded;

/* A filter that changes nothing and counts what is read. */
static size_t count_decoded(unsigned flags, size_t values_count, const unsigned *parameters,
                            size_t bytes, size_t *capacity, void **buffer)
{
    (void)values_count, (void)parameters, (void)capacity, (void)buffer;
    decoded += (flags & H5Z_FLAG_REVERSE) != 0;
    return bytes;
}

static void begin(void)
{
    const H5Z_class2_t counts = {.version = H5Z_CLASS_T_VERS,
                                 .id = COUNTS,
                                 .encoder_present = 1,
                                 .decoder_present = 1,
                                 .name = "counts",
                                 .filter = count_decoded};
    cr_assert_eq(lj_comm_start(&world), LJ_OK);
    directory_make();
    cr_assert_geq(H5Zregister(&counts), 0);
}

static void end(void)
{
    directory_remove();
    lj_comm_finish(world);
}

TestSuite(large_chunks, .init = begin, .fini = end, .timeout = 60);

static unsigned char value(int64_t row, int64_t pixel)
{
    return (unsigned char)(row * 7 + pixel % 251);
}

/* Writes images in chunks of CHUNK_ROWS rows and `width` columns; deflated or not. */
static void write_images(const char *path, hsize_t rows, hsize_t width, bool deflate)
{
    const hsize_t dim[3] = {rows, SIZE, SIZE}, chunk[3] = {CHUNK_ROWS, SIZE, width};
    for (int64_t i = 0; i < (int64_t)rows * PIXELS; i++)
        values[i] = value(i / PIXELS, i % PIXELS);
    lj_hdf5_lock();
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(3, dim, NULL), plan = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plan, 3, chunk);
    H5Pset_filter(plan, COUNTS, 0, 0, NULL);
    if (deflate)
        H5Pset_deflate(plan, 1);
    hid_t set = H5Dcreate2(file, "images", H5T_STD_U8LE, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    cr_assert_geq(H5Dwrite(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
    H5Dclose(set);
    H5Pclose(plan);
    H5Sclose(space);
    H5Fclose(file);
    lj_hdf5_unlock();
    decoded = 0;
}

static struct lj_archive *open_archive(const char *path)
{
    struct lj_archive_options options = options_of(path);
    struct lj_archive *archive = NULL;
    options.axes = LJ_DATA_AXES_NHW;
    options.chunk_bytes_max = 1 << 20;
    cr_assert_eq(lj_archive_open(&archive, world, &options), LJ_OK, "%s", lj_error_text());
    return archive;
}

/* Reads a row and compares it with that of a part. */
static void check_row(struct lj_archive *archive, int64_t index, int64_t row)
{
    cr_assert_eq(lj_archive_read(archive, index, 1, image), LJ_OK, "%s", lj_error_text());
    for (int64_t p = 0; p < PIXELS; p++)
        cr_assert_float_eq(image[p], value(row, p) / 255.0, 1e-7);
}

Test(large_chunks, are_decoded_once)
{
    for (int deflate = 0; deflate < 2; deflate++) {
        write_images(in_directory("a.h5"), ROWS, SIZE, deflate);
        struct lj_archive *archive = open_archive(in_directory("a.h5"));
        for (int64_t i = 0; i < ROWS; i++)
            check_row(archive, i, i);
        cr_assert_eq(decoded, ROWS / CHUNK_ROWS, "%d times", decoded);
        for (int64_t i = CHUNK_ROWS; i < ROWS; i += 3)
            check_row(archive, i, i);
        cr_assert_eq(decoded, ROWS / CHUNK_ROWS, "%d times", decoded);
        lj_archive_close(archive);
    }
}

/* Rows that lie in several chunks side by side. */
Test(large_chunks, side_by_side_are_decoded_once)
{
    write_images(in_directory("a.h5"), CHUNK_ROWS, SIZE / 2, true);
    struct lj_archive *archive = open_archive(in_directory("a.h5"));
    for (int64_t i = 0; i < CHUNK_ROWS; i++)
        check_row(archive, i, i);
    cr_assert_eq(decoded, 2, "%d times", decoded);
    lj_archive_close(archive);
}

/* Of several files, the one that is read keeps its chunk; no other takes memory for one. */
Test(large_chunks, of_one_part_are_kept)
{
    for (int f = 0; f < 3; f++) {
        char name[8];
        snprintf(name, sizeof name, "%d.h5", f);
        write_images(in_directory(name), CHUNK_ROWS, SIZE, true);
    }
    struct lj_archive *archive = open_archive(in_directory("*.h5"));
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < 3 * CHUNK_ROWS; i++) {
            check_row(archive, i, i % CHUNK_ROWS);
            int open = 0;
            for (int p = 0; p < 3; p++)
                open += archive->open[p] >= 0;
            cr_assert_eq(open, 1);
        }
    cr_assert_eq(decoded, 6, "%d times", decoded);
    lj_archive_close(archive);
}

/* Statistics, too, decode a chunk once. */
Test(large_chunks, statistics_decode_them_once)
{
    write_images(in_directory("a.h5"), ROWS, SIZE, true);
    struct lj_archive *archive = open_archive(in_directory("a.h5"));
    float mean = 0, std = 0;
    cr_assert_eq(lj_archive_statistics(archive, world, &mean, &std), LJ_OK);
    cr_assert_eq(decoded, ROWS / CHUNK_ROWS, "%d times", decoded);
    lj_archive_close(archive);
}
