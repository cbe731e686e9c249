/* SPDX-License-Identifier: Apache-2.0 */
/* Functions whose minimum is known. */
#include "eval/lbfgs.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* Rosenbrock's valley: minimum 0 at (1, 1). */
static double valley(void *data, const double *x, double *gradient)
{
    double a = 1 - x[0], b = x[1] - x[0] * x[0];
    ++*(int *)data;
    gradient[0] = -2 * a - 400 * x[0] * b;
    gradient[1] = 200 * b;
    return a * a + 100 * b * b;
}

/* Ill-conditioned: minimum at (1, ..., 19), curvatures 1 .. 1e4. SciPy with the same history needs
 * 604 iterations. */
static double bowl(void *data, const double *x, double *gradient)
{
    double sum = 0;
    (void)data;
    for (int i = 0; i < 19; i++) {
        double curvature = pow(10, i * 4.0 / 18), d = x[i] - (i + 1);
        gradient[i] = curvature * d;
        sum += 0.5 * curvature * d * d;
    }
    return sum;
}

static double endless(void *data, const double *x, double *gradient)
{
    (void)data;
    gradient[0] = 1;
    return x[0];
}

static double broken(void *data, const double *x, double *gradient)
{
    (void)data, (void)x;
    gradient[0] = 1;
    return NAN;
}

static double work[600];

Test(lbfgs, rosenbrock)
{
    int calls = 0;
    double x[2] = {-1.2, 1};
    struct lj_lbfgs problem = {.count = 2,
                               .value = valley,
                               .data = &calls,
                               .work = work,
                               .tolerance = 1e-9,
                               .max_iterations = 200};
    cr_assert_eq(lj_lbfgs_minimise(&problem, x), LJ_OK, "%s", lj_error_text());
    cr_assert_float_eq(x[0], 1, 1e-8);
    cr_assert_float_eq(x[1], 1, 1e-8);
    cr_assert_lt(problem.gradient_norm, 1e-9);
    cr_assert_lt(calls, 120); /* steepest descent needs tens of thousands */
}

Test(lbfgs, quadratic)
{
    double x[19] = {0};
    struct lj_lbfgs problem = {
        .count = 19, .value = bowl, .work = work, .tolerance = 1e-7, .max_iterations = 1500};
    cr_assert_eq(lj_lbfgs_minimise(&problem, x), LJ_OK, "%s", lj_error_text());
    for (int i = 0; i < 19; i++)
        cr_assert_float_eq(x[i], i + 1, 1e-6);
    cr_assert_leq(lj_lbfgs_work(19), (int64_t)(sizeof work / sizeof *work));
    cr_assert_eq(lj_lbfgs_minimise(&problem, x), LJ_OK);
    cr_assert_eq(problem.iterations, 0); /* already there */
}

Test(lbfgs, failures)
{
    double x[2] = {-1.2, 1};
    int calls = 0;
    struct lj_lbfgs problem = {.count = 2,
                               .value = valley,
                               .data = &calls,
                               .work = work,
                               .tolerance = 1e-9,
                               .max_iterations = 3};
    cr_assert_eq(lj_lbfgs_minimise(&problem, x), LJ_ERR_NUMERIC);
    cr_assert(strstr(lj_error_text(), "after 3 iterations"), "%s", lj_error_text());
    x[0] = -1.2, x[1] = 1;
    problem.may_end = true;
    cr_assert_eq(lj_lbfgs_minimise(&problem, x), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(problem.iterations, 3);
    cr_assert_lt(problem.loss, 24.2); /* where it began */
    problem = (struct lj_lbfgs){
        .count = 1, .value = endless, .work = work, .tolerance = 1e-9, .max_iterations = 100};
    cr_assert_eq(lj_lbfgs_minimise(&problem, x), LJ_ERR_NUMERIC);
    problem.value = broken;
    cr_assert_eq(lj_lbfgs_minimise(&problem, x), LJ_ERR_NUMERIC);
    cr_assert(strstr(lj_error_text(), "not finite"), "%s", lj_error_text());
}
