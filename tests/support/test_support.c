/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of what tests use, on cases whose answers are known. */
#include "golden.h"
#include "gradcheck.h"
#include "random.h"
#include "tmpdir.h"

#include "base/base.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* f = sum of i x_i^3 */
static double cubes(const double *x, int64_t n, void *calls)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)i * x[i] * x[i] * x[i];
    ++*(int *)calls;
    return sum;
}

Test(support, gradcheck_accepts_the_gradient)
{
    double x[4] = {0.5, -1, 2, 0.1}, df[4];
    int calls = 0;
    for (int i = 0; i < 4; i++)
        df[i] = 3.0 * i * x[i] * x[i];
    struct lj_gradcheck check = lj_gradcheck(cubes, &calls, x, 4, df, 1e-4);
    lj_gradcheck_assert(&check, 1e-7, "cubes");
    cr_assert_eq(calls, 8);
    cr_assert_eq(x[1], -1.0, "x is restored");
}

Test(support, gradcheck_names_the_worst_element)
{
    double x[3] = {1, 1, 1}, df[3] = {0, 3.1, 7};
    int calls = 0;
    struct lj_gradcheck check = lj_gradcheck(cubes, &calls, x, 3, df, 1e-4);
    cr_assert_eq(check.worst, 2);
    cr_assert_float_eq(check.numeric, 6, 1e-6);
    cr_assert_float_eq(check.error, 1.0 / 7, 1e-6);
    df[1] = NAN;
    check = lj_gradcheck(cubes, &calls, x, 3, df, 1e-4);
    cr_assert_eq(check.worst, 1, "NaN is worse than any number");
    cr_assert(isnan(check.error));
    check = lj_gradcheck(cubes, &calls, x, 0, df, 1e-4);
    cr_assert_eq(check.worst, -1);
    cr_assert_eq(check.error, 0.0);
}

static void write_dataset(hid_t file, const char *name, hid_t type, int dims, const hsize_t *shape,
                          const void *data)
{
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    hid_t space = H5Screate_simple(dims, shape, NULL);
    hid_t set = H5Dcreate2(file, name, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    cr_assert(set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Pclose(links);
}

Test(support, golden_reads_what_was_written)
{
    struct lj_tmpdir directory;
    lj_tmpdir_make(&directory);
    setenv("GOLDEN_DIR", directory.path, 1);
    hid_t file =
        H5Fcreate(lj_tmpdir_file(&directory, "a.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    write_dataset(file, "case0/x", H5T_NATIVE_FLOAT, 2, (hsize_t[]){2, 3},
                  (float[]){0, 1, 2, 3, 4, 0.1f});
    write_dataset(file, "y", H5T_NATIVE_DOUBLE, 1, (hsize_t[]){1}, (double[]){0.1});
    write_dataset(file, "k", H5T_NATIVE_INT32, 1, (hsize_t[]){2}, (int[]){-5, 1 << 30});
    write_dataset(file, "none", H5T_NATIVE_INT32, 1, (hsize_t[]){0}, (int[]){0});
    H5Fclose(file);

    struct lj_golden x = lj_golden_f32("a.h5", "case0/x");
    cr_assert(x.dims == 2 && x.shape[0] == 2 && x.shape[1] == 3 && x.count == 6);
    cr_assert(x.f32[4] == 4 && x.f32[5] == 0.1f);
    struct lj_golden y = lj_golden_f64("a.h5", "y");
    cr_assert(y.count == 1 && y.f64[0] == 0.1);
    struct lj_golden wide = lj_golden_f64("a.h5", "case0/x");
    cr_assert(wide.f64[5] == (double)0.1f);
    struct lj_golden k = lj_golden_i64("a.h5", "k");
    cr_assert(k.i64[0] == -5 && k.i64[1] == 1 << 30);
    struct lj_golden none = lj_golden_i64("a.h5", "none");
    cr_assert(none.count == 0 && none.shape[0] == 0);
    cr_assert(lj_golden_has("a.h5", "case0/x"));
    cr_assert_not(lj_golden_has("a.h5", "case1/x"));
    lj_golden_free(&x);
    lj_golden_free(&y);
    lj_golden_free(&wide);
    lj_golden_free(&k);
    lj_golden_free(&none);
    lj_tmpdir_remove(&directory);
}

Test(support, tmpdir_is_made_and_removed_with_its_content)
{
    struct lj_tmpdir a, b;
    struct stat about;
    lj_tmpdir_make(&a);
    lj_tmpdir_make(&b);
    cr_assert_str_neq(a.path, b.path);
    cr_assert_eq(mkdir(lj_tmpdir_file(&a, "inner"), 0700), 0);
    const char *path = lj_tmpdir_write(&a, "inner/file", "text\n");
    cr_assert(stat(path, &about) == 0 && about.st_size == 5);
    char removed[LJ_PATH_MAX];
    snprintf(removed, sizeof removed, "%s", a.path);
    lj_tmpdir_remove(&a);
    cr_assert_neq(stat(removed, &about), 0);
    lj_tmpdir_remove(&b);
}

Test(support, random_arrays_are_reproducible_and_differ_by_stream)
{
    float a[1000], b[1000];
    double c[1000];
    lj_random_normal_f32(a, 1000, 1);
    lj_random_normal_f32(b, 10, 1);
    lj_random_normal_f64(c, 1000, 1);
    cr_assert_eq(a[9], b[9], "an element does not depend on the length");
    cr_assert_eq(a[500], (float)c[500]);
    lj_random_normal_f32(b, 1000, 2);
    cr_assert_neq(a[0], b[0]);
    lj_random_between_f32(a, 1000, -3, -2, 5);
    lj_random_between_f64(c, 1000, 10, 20, 5);
    double sum = 0;
    for (int i = 0; i < 1000; i++) {
        cr_assert(a[i] >= -3 && a[i] <= -2);
        cr_assert(c[i] >= 10 && c[i] < 20);
        sum += c[i];
    }
    cr_assert_float_eq(sum / 1000, 15, 0.5, "5 standard deviations of the mean");
    lj_random_normal_f32(a, 0, 1);
}
