/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of every numeric type, and what cannot be one. */
#include "store/store.h"

#include "scratch_dir.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <string.h>
#include <unistd.h>

static char dir[64], path[128];

static void begin(void)
{
    cr_assert(scratch_create(dir));
    snprintf(path, sizeof path, "%s/a.h5", dir);
}

static void end(void)
{
    scratch_destroy(dir);
}

static void put(const char *name, hid_t stored, int dims)
{
    const hsize_t dim[4] = {1, 3, 1, 1};
    const int32_t values[3] = {1, 2, 100};
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t space = H5Screate_simple(dims, dim, NULL);
    hid_t set = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(set, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
}

Test(array, any_numeric_type, .init = begin, .fini = end)
{
    const float expected[3] = {1, 2, 100};
    H5Fclose(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    const hid_t types[] = {H5T_STD_I8LE,  H5T_STD_U8BE,   H5T_STD_I16BE,  H5T_STD_U32LE,
                           H5T_STD_I64BE, H5T_IEEE_F32BE, H5T_IEEE_F64LE, H5T_IEEE_F64BE};
    for (int i = 0; i < 8; i++) {
        char name[16];
        int dims = 3;
        int64_t dim[3] = {0};
        float *values;
        snprintf(name, sizeof name, "x%d", i);
        put(name, types[i], 2);
        cr_assert_eq(lj_array_read(path, name, false, &dims, dim, &values), LJ_OK, "%s",
                     lj_error_text());
        cr_assert_eq(dims, 2);
        cr_assert_eq(dim[0], 1);
        cr_assert_eq(dim[1], 3);
        cr_assert_arr_eq(values, expected, sizeof expected);
        lj_free(values);
    }
}

Test(array, absent_or_unsupported, .init = begin, .fini = end)
{
    int dims = 3;
    int64_t dim[3];
    float *values = (float *)&dims;
    cr_assert_eq(lj_array_read(path, "x", true, &dims, dim, &values), LJ_ERR_DATA);
    H5Fclose(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    cr_assert_eq(lj_array_read(path, "x", true, &dims, dim, &values), LJ_OK);
    cr_assert_null(values);
    dims = 3;
    cr_assert_eq(lj_array_read(path, "x", false, &dims, dim, &values), LJ_ERR_DATA);
    put("deep", H5T_STD_I8LE, 4);
    cr_assert_eq(lj_array_read(path, "deep", false, &dims, dim, &values), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "4 dimensions"), "%s", lj_error_text());
    put("flat", H5T_STD_I8LE, 2);
    dims = 1;
    cr_assert_eq(lj_array_read(path, "flat", false, &dims, dim, &values), LJ_ERR_DATA);
    put("text", H5T_C_S1, 2);
    cr_assert_eq(lj_array_read(path, "text", true, &dims, dim, &values), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "integer or float"), "%s", lj_error_text());
}

/* One element is written of a dataset of chunks of (1, 3). */
static void put_promise(const char *name, hsize_t rows, hsize_t columns, bool write)
{
    const hsize_t dim[2] = {rows, columns}, chunk[2] = {1, 3}, one[2] = {1, 1}, start[2] = {0, 0};
    const float value = 1;
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), plan = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(2, dim, NULL), memory = H5Screate_simple(2, one, NULL);
    H5Pset_chunk(plan, 2, chunk);
    hid_t set = H5Dcreate2(file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, one, NULL);
    cr_assert(set >= 0);
    if (write)
        cr_assert_geq(H5Dwrite(set, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, &value), 0);
    H5Dclose(set);
    H5Sclose(memory);
    H5Sclose(space);
    H5Pclose(plan);
    H5Fclose(file);
}

/* The number of elements wraps to 0; or it is far beyond what the file can hold; or none was ever
 * written. */
Test(array, promises_without_data, .init = begin, .fini = end)
{
    int dims = 3;
    int64_t dim[3];
    float *values = NULL;
    H5Fclose(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
    put_promise("wraps", (hsize_t)1 << 48, 1 << 16, false);
    put_promise("large", (hsize_t)1 << 40, 3, true);
    put_promise("unwritten", 2, 3, false);
    const struct {
        const char *name, *text;
    } cases[] = {{"wraps", "281474976710656, 65536"},
                 {"large", "1099511627776, 3"},
                 {"unwritten", "never written"}};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(lj_array_read(path, cases[i].name, false, &dims, dim, &values), LJ_ERR_DATA);
        cr_assert(strstr(lj_error_text(), cases[i].text), "%s", lj_error_text());
        cr_assert_null(values);
    }
}

/* The source of a virtual dataset may be missing, and would then read as zeros. */
Test(array, values_in_other_files_are_refused, .init = begin, .fini = end)
{
    const hsize_t dim[1] = {3};
    int dims = 3;
    int64_t shape[3];
    float *values = NULL;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t plan = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(1, dim, NULL);
    cr_assert_geq(H5Pset_virtual(plan, space, "absent.h5", "x", space), 0);
    H5Dclose(H5Dcreate2(file, "x", H5T_IEEE_F32LE, space, H5P_DEFAULT, plan, H5P_DEFAULT));
    H5Sclose(space);
    H5Pclose(plan);
    H5Fclose(file);
    cr_assert_eq(lj_array_read(path, "x", false, &dims, shape, &values), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "other files"), "%s", lj_error_text());
}

/* Rows of all views, written out of order; read whole, and by rows with the views of a row side by
 * side. */
Test(array, rows, .init = begin, .fini = end)
{
    const struct lj_array_shape shape = {.views = 2, .rows = 3, .width = 2};
    const float whole[12] = {0, 1, 10, 11, 20, 21, 5, 6, 15, 16, 25, 26};
    const float by_rows[12] = {0, 1, 5, 6, 10, 11, 15, 16, 20, 21, 25, 26};
    struct lj_array_file *file;
    struct lj_array_shape found;
    int dims = 3;
    int64_t dim[3];
    float *in;
    cr_assert_eq(lj_array_create(&file, path, "grad", &shape, "d(loss)/d(proj)"), LJ_OK);
    cr_assert_eq(lj_array_put_rows(file, 1, 2, by_rows + 4), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(lj_array_put_rows(file, 0, 1, by_rows), LJ_OK);
    cr_assert_eq(lj_array_finish(file, true), LJ_OK);
    cr_assert_eq(lj_array_read(path, "grad", false, &dims, dim, &in), LJ_OK);
    cr_assert_eq(dims, 3);
    cr_assert(dim[0] == 2 && dim[1] == 3 && dim[2] == 2);
    cr_assert_arr_eq(in, whole, sizeof whole);
    lj_free(in);
    cr_assert_eq(lj_array_find_rows(path, "proj", true, &found), LJ_OK);
    cr_assert_not(found.found);
    cr_assert_eq(lj_array_find_rows(path, "grad", false, &found), LJ_OK, "%s", lj_error_text());
    cr_assert(found.found && found.views == 2 && found.rows == 3 && found.width == 2);
    cr_assert_eq(found.global_views, 0);
    cr_assert_eq(lj_array_read_rows(path, "grad", 1, 3, &in), LJ_OK, "%s", lj_error_text());
    cr_assert_arr_eq(in, by_rows + 4, 8 * sizeof *in);
    lj_free(in);
    cr_assert_eq(lj_array_read_rows(path, "grad", 2, 2, &in), LJ_OK, "%s", lj_error_text());
    lj_free(in);
    cr_assert_eq(lj_array_read_rows(path, "grad", 2, 4, &in), LJ_ERR_DATA);
    cr_assert_null(in);
}

Test(array, a_file_that_is_not_whole_is_removed, .init = begin, .fini = end)
{
    const struct lj_array_shape shape = {.views = 1, .rows = 3, .width = 2};
    struct lj_array_file *file;
    cr_assert_eq(lj_array_create(&file, path, "grad", &shape, ""), LJ_OK);
    lj_error_set("what failed");
    cr_assert_eq(lj_array_finish(file, false), LJ_OK);
    cr_assert_str_eq(lj_error_text(), "what failed");
    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_eq(lj_array_create(&file, "/nowhere/x.h5", "grad", &shape, ""), LJ_ERR_RESOURCE);
    cr_assert_null(file);
}
