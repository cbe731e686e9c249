/* SPDX-License-Identifier: Apache-2.0 */
/* Normality of features against numpy (golden/make_spectrum.py), and of a constant one. */
#include "eval/eval.h"

#include "golden.h"
#include "mpi_case.h"
#include "share.h"

#include <math.h>

static void expect_near(struct lj_comm *world, const char *name, const double *found)
{
    struct lj_golden golden = lj_golden_f64("spectrum.h5", name);
    for (int64_t j = 0; j < golden.count; j++)
        lj_all_assert(world, fabs(found[j] - golden.f64[j]) < 1e-9 * (1 + fabs(golden.f64[j])),
                      "%s of feature %lld: %.15g, by numpy %.15g", name, (long long)j, found[j],
                      golden.f64[j]);
    lj_golden_free(&golden);
}

Test(normality, as_numpy, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_golden values = lj_golden_f32("spectrum.h5", "values");
    int64_t views = values.shape[1], width = values.shape[2];
    struct lj_features mine = share_of(world, values.f32, values.shape[0], views * width);
    struct lj_projections p = {mine.values, mine.rows, views, width};
    struct lj_normality n;
    int status = lj_normality_create(&n, world, LJ_SIGREG_GRID_A, &p);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    expect_near(world, "mean", n.mean);
    expect_near(world, "variance", n.variance);
    expect_near(world, "skewness", n.skewness);
    expect_near(world, "kurtosis", n.kurtosis);
    expect_near(world, "statistic", n.statistic);
    lj_normality_destroy(&n);
    lj_golden_free(&values);
    lj_case_end(world);
}

Test(normality, constant_feature, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float x[6] = {2, 0, 2, 0, 2, 0};
    struct lj_features mine = share_of(world, x, 3, 2);
    struct lj_projections p = {mine.values, mine.rows, 1, 2};
    struct lj_normality n;
    int status = lj_normality_create(&n, world, LJ_SIGREG_GRID_A, &p);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world,
                  n.mean[0] == 2 && n.variance[0] == 0 && n.skewness[0] == 0 && n.kurtosis[0] == -3,
                  "%g, %g, %g, %g", n.mean[0], n.variance[0], n.skewness[0], n.kurtosis[0]);
    lj_all_assert(world, fabs(n.statistic[1] / 3 - 0.4020475797) < 1e-9, /* all at 0, per row */
                  "statistic %.12g", n.statistic[1]);
    lj_normality_destroy(&n);
    lj_case_end(world);
}
