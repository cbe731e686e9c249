/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of every numeric type, and what cannot be one. */
#include "store/store.h"

#include "scratch_dir.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <string.h>

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

Test(array, round_trip, .init = begin, .fini = end)
{
    const int64_t shape[3] = {2, 1, 3};
    const float out[6] = {0, -1, 2.5f, 3, 4, 5};
    int dims = 3;
    int64_t dim[3];
    float *in;
    cr_assert_eq(lj_array_write(path, "grad", 3, shape, out, "d(loss)/d(proj)"), LJ_OK);
    cr_assert_eq(lj_array_read(path, "grad", false, &dims, dim, &in), LJ_OK);
    cr_assert_eq(dims, 3);
    cr_assert_arr_eq(dim, shape, sizeof shape);
    cr_assert_arr_eq(in, out, sizeof out);
    lj_free(in);
    cr_assert_eq(lj_array_write("/nowhere/x.h5", "grad", 3, shape, out, ""), LJ_ERR_RESOURCE);
}
