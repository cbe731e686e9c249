/* SPDX-License-Identifier: Apache-2.0 */
/* The probe against scikit-learn (golden/make_probe.py), and problems with known answers. */
#include "eval/eval.h"

#include <criterion/criterion.h>
#include <hdf5.h>
#include <math.h>
#include <stdlib.h>

static void read_golden(hid_t file, const char *name, hid_t type, void *values)
{
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    cr_assert_geq(set, 0, "%s", name);
    cr_assert_geq(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
    H5Dclose(set);
}

Test(probe, as_scikit_learn)
{
    enum { TRAIN = 253, TEST = 100, WIDTH = 7 };
    static float train[TRAIN * WIDTH], test[TEST * WIDTH];
    int32_t labels[TRAIN], expected[TEST], predicted[TEST];
    double loss;
    char path[1024];
    snprintf(path, sizeof path, "%s/probe.h5", getenv("GOLDEN_DIR"));
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert_geq(file, 0, "%s", path);
    read_golden(file, "train", H5T_NATIVE_FLOAT, train);
    read_golden(file, "test", H5T_NATIVE_FLOAT, test);
    read_golden(file, "train_labels", H5T_NATIVE_INT32, labels);
    read_golden(file, "predicted", H5T_NATIVE_INT32, expected);
    read_golden(file, "loss", H5T_NATIVE_DOUBLE, &loss);
    H5Fclose(file);
    struct lj_probe_result result;
    cr_assert_eq(lj_linear_probe(train, labels, TRAIN, test, TEST, WIDTH, 0.01, predicted, &result),
                 LJ_OK, "%s", lj_error_text());
    cr_assert_float_eq(result.loss, loss, 1e-8, "%.12g, expected %.12g", result.loss, loss);
    cr_assert_lt(result.gradient_norm, 1e-5);
    cr_assert_arr_eq(predicted, expected, sizeof expected);
}

Test(probe, one_class)
{
    const float x[4] = {1, 2, 3, 4};
    const int32_t labels[2] = {9, 9};
    int32_t predicted[2] = {0};
    struct lj_probe_result result;
    cr_assert_eq(lj_linear_probe(x, labels, 2, x, 2, 2, 0.1, predicted, &result), LJ_OK);
    cr_assert_eq(predicted[0], 9);
    cr_assert_eq(predicted[1], 9);
    cr_assert_float_eq(result.loss, 0.0, 1e-15);
}

Test(probe, one_row_a_class)
{
    const float x[6] = {1, 0, 0, 1, -1, -1};
    const int32_t labels[3] = {2, 0, 1};
    int32_t predicted[3];
    struct lj_probe_result result;
    cr_assert_eq(lj_linear_probe(x, labels, 3, x, 3, 2, 0.01, predicted, &result), LJ_OK);
    cr_assert_arr_eq(predicted, labels, sizeof labels);
}

/* Nothing but constants to learn from: the most frequent class, with the entropy of the classes. */
Test(probe, constant_features)
{
    const float x[5] = {0.1f, 0.1f, 0.1f, 0.1f, 0.1f};
    const int32_t labels[5] = {4, 7, 7, 4, 7};
    int32_t predicted[5];
    struct lj_probe_result result;
    cr_assert_eq(lj_linear_probe(x, labels, 5, x, 5, 1, 0.01, predicted, &result), LJ_OK);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(predicted[i], 7);
    cr_assert_float_eq(result.loss, -(0.4 * log(0.4) + 0.6 * log(0.6)), 1e-8);
}

Test(probe, failures)
{
    const float x[2] = {NAN, 1};
    const int32_t labels[2] = {0, 1};
    int32_t predicted[2];
    struct lj_probe_result result;
    cr_assert_eq(lj_linear_probe(x, labels, 0, x, 0, 1, 0.1, predicted, &result), LJ_ERR_DATA);
    cr_assert_eq(lj_linear_probe(x, labels, 2, x, 2, 1, 0.1, predicted, &result), LJ_ERR_NUMERIC);
}
