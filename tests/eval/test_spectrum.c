/* SPDX-License-Identifier: Apache-2.0 */
/* Closed forms: the rows +-a_j e_j have mean 0 and covariance diag(2 a_j^2 / N). */
#include "eval/eval.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

enum { WIDTH = 37 };

/* (2 WIDTH, WIDTH) moved by `shift` in every feature. */
static void axes(float *x, double shift)
{
    memset(x, 0, 2 * WIDTH * WIDTH * sizeof *x);
    for (int j = 0; j < WIDTH; j++) {
        x[(2 * j) * WIDTH + j] = (float)(1 + j);
        x[(2 * j + 1) * WIDTH + j] = -(float)(1 + j);
    }
    for (int i = 0; i < 2 * WIDTH * WIDTH; i++)
        x[i] += (float)shift;
}

Test(spectrum, diagonal_covariance)
{
    float x[2 * WIDTH * WIDTH];
    double eigenvalues[WIDTH], trace = 0, entropy = 0;
    struct lj_spectrum spectrum = {.eigenvalues = eigenvalues};
    axes(x, 2.0);
    cr_assert_eq(lj_spectrum_of(x, 2 * WIDTH, WIDTH, &spectrum), LJ_OK, "%s", lj_error_text());
    for (int j = 1; j <= WIDTH; j++)
        trace += (double)(j * j) / WIDTH;
    for (int j = 1; j <= WIDTH; j++) {
        double value = (double)(j * j) / WIDTH;
        cr_assert_float_eq(eigenvalues[WIDTH - j], value, 1e-11, "%d", j);
        entropy -= value / trace * log(value / trace);
    }
    cr_assert_float_eq(spectrum.trace, trace, 1e-10);
    cr_assert_float_eq(spectrum.effective_rank, exp(entropy), 1e-10);
    cr_assert_float_eq(spectrum.condition, WIDTH * WIDTH, 1e-7);
    cr_assert_float_eq(spectrum.mean_norm, 2 * sqrt(WIDTH), 1e-12);
}

/* Equal eigenvalues: effective rank is the width; rotation by 45 degrees changes nothing. */
Test(spectrum, isotropic)
{
    const float x[8] = {1, 1, -1, -1, 1, -1, -1, 1};
    double eigenvalues[2];
    struct lj_spectrum spectrum = {.eigenvalues = eigenvalues};
    cr_assert_eq(lj_spectrum_of(x, 4, 2, &spectrum), LJ_OK);
    cr_assert_float_eq(spectrum.effective_rank, 2.0, 1e-14);
    cr_assert_float_eq(spectrum.condition, 1.0, 1e-14);
    const float line[6] = {1, 1, 2, 2, 4, 4}; /* one direction only */
    cr_assert_eq(lj_spectrum_of(line, 3, 2, &spectrum), LJ_OK);
    cr_assert_float_eq(spectrum.effective_rank, 1.0, 1e-12);
    cr_assert_float_eq(eigenvalues[0], 2 * 14.0 / 9, 1e-14);
}

Test(spectrum, edges)
{
    const float one[1] = {3};
    double eigenvalues[1];
    struct lj_spectrum spectrum = {.eigenvalues = eigenvalues};
    cr_assert_eq(lj_spectrum_of(one, 1, 1, &spectrum), LJ_OK);
    cr_assert_eq(eigenvalues[0], 0.0);
    cr_assert_eq(spectrum.effective_rank, 0.0);
    cr_assert_eq(spectrum.mean_norm, 3.0);
    cr_assert_eq(lj_spectrum_of(one, 0, 1, &spectrum), LJ_ERR_DATA);
    const float bad[2] = {NAN, 1};
    cr_assert_eq(lj_spectrum_of(bad, 2, 1, &spectrum), LJ_ERR_NUMERIC);
}

Test(spectrum, threads_do_not_matter)
{
    float x[2 * WIDTH * WIDTH];
    double one[WIDTH], three[WIDTH];
    struct lj_spectrum a = {.eigenvalues = one}, b = {.eigenvalues = three};
    for (int i = 0; i < 2 * WIDTH * WIDTH; i++)
        x[i] = sinf((float)(i * i));
    omp_set_num_threads(1);
    cr_assert_eq(lj_spectrum_of(x, 2 * WIDTH, WIDTH, &a), LJ_OK);
    omp_set_num_threads(3);
    cr_assert_eq(lj_spectrum_of(x, 2 * WIDTH, WIDTH, &b), LJ_OK);
    cr_assert_arr_eq(one, three, sizeof one);
}
