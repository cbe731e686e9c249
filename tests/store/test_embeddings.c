/* SPDX-License-Identifier: Apache-2.0 */
/* Embedding files against plain HDF5 calls, and nonfinite files. */
#include "store/store.h"

#include "scratch_dir.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static char dir[64], path[128];

static void begin(void)
{
    cr_assert(scratch_create(dir));
    snprintf(path, sizeof path, "%s/e.h5", dir);
}

static void end(void)
{
    scratch_destroy(dir);
}

static void put(hid_t file, const char *name, hid_t stored, hid_t memory, int dims,
                const hsize_t *dim, const void *values)
{
    hid_t space = H5Screate_simple(dims, dim, NULL);
    hid_t set = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert_geq(H5Dwrite(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
    H5Dclose(set);
    H5Sclose(space);
}

/* Index and all values. */
static int read_all(struct lj_embeddings *in)
{
    LJ_TRY(lj_embeddings_read_index(path, NULL, in));
    return lj_embeddings_read_values(path, in->width, 0, in->rows, &in->values);
}

Test(embeddings, round_trip, .init = begin, .fini = end)
{
    float values[6] = {1, 2, 3, 4, 5, 6};
    int32_t labels[3] = {7, -1, 0};
    int64_t row[3] = {1LL << 40, 5, 6};
    struct lj_embeddings out = {.rows = 3,
                                .width = 2,
                                .values = values,
                                .labels = labels,
                                .row = row},
                         in;
    cr_assert_eq(lj_embeddings_write(path, &out, "{}"), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(read_all(&in), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(in.rows, 3);
    cr_assert_eq(in.width, 2);
    cr_assert_arr_eq(in.values, values, sizeof values);
    cr_assert_arr_eq(in.labels, labels, sizeof labels);
    cr_assert_arr_eq(in.row, row, sizeof row);
    lj_embeddings_free(&in);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "labels", H5P_DEFAULT), type = H5Dget_type(set);
    cr_assert(H5Tequal(type, H5T_STD_I32LE));
    H5Fclose(file);

    struct lj_embeddings bare = {.width = 2, .values = values}; /* no rows, no labels */
    cr_assert_eq(lj_embeddings_write(path, &bare, "{}"), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(read_all(&in), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(in.rows, 0);
    cr_assert_null(in.labels);
    cr_assert_null(in.row);
    lj_embeddings_free(&in);
}

/* A writer puts rows, syncs some, and is gone; the next one goes on if it writes the same. */
static void expect_done(const char *provenance, int64_t rows, int64_t expected)
{
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    static const int32_t labels[3] = {7, -1, 0};
    const struct lj_embeddings_layout layout = {
        .rows = rows, .width = 2, .labels = true, .provenance = provenance};
    struct lj_embeddings_file *file;
    int64_t done = -1;
    cr_assert_eq(lj_embeddings_create(&file, path, &layout, &done), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(done, expected);
    cr_assert_eq(lj_embeddings_put(file, 0, 3, values, labels, NULL), LJ_OK);
    cr_assert_eq(lj_embeddings_sync(file, 2), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_embeddings_abandon(file), 2);
}

Test(embeddings, continued, .init = begin, .fini = end)
{
    struct lj_embeddings_layout layout = {
        .rows = 3, .width = 2, .labels = true, .provenance = "{\"step\": 1, \"archive\": \"a\"}"};
    struct lj_embeddings_file *file;
    struct lj_embeddings in;
    const float last[2] = {8, 9};
    const int32_t label = 3;
    int64_t done = 0;
    expect_done("{\"step\": 1, \"archive\": \"b\"}", 3, 0);
    expect_done("{\"step\": 1, \"archive\": \"c\"}", 3, 2);
    expect_done("{\"step\": 2, \"archive\": \"c\"}", 3, 0);
    expect_done("{\"step\": 2, \"archive\": \"c\"}", 4, 0);
    expect_done("{\"step\": 1, \"archive\": \"c\"}", 3, 0);
    cr_assert_eq(lj_embeddings_create(&file, path, &layout, &done), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(done, 2);
    cr_assert_eq(lj_embeddings_put(file, 2, 1, last, &label, NULL), LJ_OK);
    cr_assert_eq(lj_embeddings_close(file), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(read_all(&in), LJ_OK, "%s", lj_error_text());
    const float wanted[6] = {1, 2, 3, 4, 8, 9};
    cr_assert_arr_eq(in.values, wanted, sizeof wanted);
    cr_assert_eq(in.labels[1], -1);
    cr_assert_eq(in.labels[2], 3);
    lj_embeddings_free(&in);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0, "something was left behind");
    cr_assert_eq(mkdir(dir, 0700), 0);
}

Test(embeddings, rows_of_a_file, .init = begin, .fini = end)
{
    float values[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, *part;
    struct lj_embeddings out = {.rows = 5, .width = 2, .values = values};
    cr_assert_eq(lj_embeddings_write(path, &out, "{}"), LJ_OK, "%s", lj_error_text());
    for (int first = 0; first <= 5; first++)
        for (int end = first; end <= 5; end++) {
            cr_assert_eq(lj_embeddings_read_values(path, 2, first, end, &part), LJ_OK, "%s",
                         lj_error_text());
            cr_assert_arr_eq(part, values + 2 * first, (size_t)(2 * (end - first)) * sizeof(float));
            lj_free(part);
        }
    cr_assert_eq(lj_embeddings_read_values(path, 2, 4, 6, &part), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "rows 4 .. 5"), "%s", lj_error_text());
    cr_assert_eq(lj_embeddings_read_values(path, 3, 0, 5, &part), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "width 2"), "%s", lj_error_text());
}

Test(embeddings, disk_full, .init = begin, .fini = end)
{
    float values[600] = {0};
    struct lj_embeddings out = {.rows = 300, .width = 2, .values = values};
    struct rlimit saved, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &saved);
    for (rlim_t limit = 0; limit < 2400; limit += 400) {
        small = (struct rlimit){limit, saved.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
        int status = lj_embeddings_write(path, &out, "{}");
        setrlimit(RLIMIT_FSIZE, &saved);
        cr_assert_eq(status, LJ_ERR_RESOURCE);
        cr_assert_eq(rmdir(dir), 0, "something was left behind");
        cr_assert_eq(mkdir(dir, 0700), 0);
    }
}

Test(embeddings, unsupported_files, .init = begin, .fini = end)
{
    struct lj_embeddings in;
    const hsize_t two[2] = {2, 1}, three = 3;
    const double values[2] = {1, 2}, halves[2] = {1, 2.5};
    const int64_t labels[3] = {1, 1LL << 33, 0};
    cr_assert_eq(read_all(&in), LJ_ERR_DATA);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    cr_assert_eq(read_all(&in), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "no dataset embeddings"), "%s", lj_error_text());
    file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    put(file, "embeddings", H5T_IEEE_F64BE, H5T_NATIVE_DOUBLE, 2, two, values);
    put(file, "labels", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, &three, labels);
    H5Fclose(file);
    cr_assert_eq(read_all(&in), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "has 3 values"), "%s", lj_error_text());
    file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    H5Ldelete(file, "labels", H5P_DEFAULT);
    put(file, "labels", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, two, labels);
    H5Fclose(file);
    cr_assert_eq(read_all(&in), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "label of row 1"), "%s", lj_error_text());
    file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    H5Ldelete(file, "labels", H5P_DEFAULT);
    put(file, "labels", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, two, halves);
    H5Fclose(file);
    cr_assert_eq(read_all(&in), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "label of row 1 is 2.5"), "%s", lj_error_text());
    cr_assert_null(in.values);
}

/* Labels as other tools write them: floats, NaN or a number of their own for "none". */
Test(embeddings, labels_of_floats, .init = begin, .fini = end)
{
    struct lj_embeddings in;
    const hsize_t dim[2] = {5, 1}, rows = 5;
    const double values[5] = {0}, labels[5] = {2, NAN, 1e20, -1, 0};
    const int32_t wanted[5] = {2, -1, -1, -1, 0};
    const double none = 1e20, two = 2;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    put(file, "embeddings", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 2, dim, values);
    put(file, "labels", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, &rows, labels);
    H5Fclose(file);
    cr_assert_eq(lj_embeddings_read_index(path, NULL, &in), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "data.unlabelled"), "%s", lj_error_text());
    cr_assert_eq(lj_embeddings_read_index(path, &two, &in), LJ_ERR_DATA);
    cr_assert_eq(lj_embeddings_read_index(path, &none, &in), LJ_OK, "%s", lj_error_text());
    cr_assert_arr_eq(in.labels, wanted, sizeof wanted);
    lj_embeddings_free(&in);
}
