/* SPDX-License-Identifier: Apache-2.0 */
/* Principal axes of rows whose covariance is known. */
#include "eval/eval.h"

#include <criterion/criterion.h>
#include <math.h>

/* Rows +-a u and +-b v about a centre: variances a^2/2 and b^2/2 along u and v. */
Test(principal, known_axes)
{
    const double u[] = {0.6, 0.8, 0}, v[] = {-0.8, 0.6, 0}, centre[] = {5, -3, 2};
    const double a = 4, b = 1;
    float x[4 * 3];
    double place[2];
    for (int j = 0; j < 3; j++) {
        x[j] = (float)(centre[j] + a * u[j]);
        x[3 + j] = (float)(centre[j] - a * u[j]);
        x[6 + j] = (float)(centre[j] + b * v[j]);
        x[9 + j] = (float)(centre[j] - b * v[j]);
    }
    struct lj_principal p;
    cr_assert_eq(lj_principal_create(&p, x, 4, 3), LJ_OK);
    cr_assert_float_eq(p.eigenvalue[0], a * a / 2, 1e-5);
    cr_assert_float_eq(p.eigenvalue[1], b * b / 2, 1e-5);
    cr_assert_float_eq(p.eigenvalue[2], 0, 1e-12);
    for (int j = 0; j < 3; j++) {
        cr_assert_float_eq(p.mean[j], centre[j], 1e-6);
        cr_assert_float_eq(p.axis[j], u[j], 1e-6);
        cr_assert_float_eq(p.axis[3 + j], -v[j], 1e-6, "component %d is %g, expected %g", j,
                           p.axis[3 + j], -v[j]);
        for (int i = 0; i < 3; i++)
            cr_assert_float_eq(p.covariance[3 * i + j],
                               a * a / 2 * u[i] * u[j] + b * b / 2 * v[i] * v[j], 1e-5);
    }
    lj_principal_place(&p, x, 2, place);
    cr_assert_float_eq(place[0], a, 1e-5);
    cr_assert_float_eq(place[1], 0, 1e-5);
    lj_principal_place(&p, x + 6, 2, place);
    cr_assert_float_eq(place[1], -b, 1e-5);
    lj_principal_destroy(&p);
}

Test(principal, edges)
{
    const float one[] = {3}, bad[] = {1, NAN};
    struct lj_principal p;
    double place[2];
    cr_assert_eq(lj_principal_create(&p, one, 1, 1), LJ_OK);
    cr_assert_eq(p.eigenvalue[0], 0);
    lj_principal_place(&p, one, 2, place);
    cr_assert_eq(place[0], 0);
    cr_assert_eq(place[1], 0, "there is no second axis");
    lj_principal_destroy(&p);
    cr_assert_eq(lj_principal_create(&p, bad, 2, 1), LJ_ERR_NUMERIC);
}
