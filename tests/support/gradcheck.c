/* SPDX-License-Identifier: Apache-2.0 */
/* Central differences. */
#include "gradcheck.h"

#include <criterion/criterion.h>
#include <math.h>

struct lj_gradcheck lj_gradcheck(lj_scalar_function *f, void *context, double *x, int64_t n,
                                 const double *df, double step)
{
    struct lj_gradcheck check = {.worst = -1, .error = -1};
    for (int64_t i = 0; i < n; i++) {
        double before = x[i];
        x[i] = before + step;
        double above = f(x, n, context);
        x[i] = before - step;
        double below = f(x, n, context);
        x[i] = before;
        double numeric = (above - below) / (2 * step);
        double error = fabs(df[i] - numeric) / fmax(1, fmax(fabs(df[i]), fabs(numeric)));
        if (error <= check.error)
            continue;
        check = (struct lj_gradcheck){i, df[i], numeric, error};
        if (isnan(error))
            break;
    }
    if (check.worst < 0)
        check.error = 0;
    return check;
}

void lj_gradcheck_assert(const struct lj_gradcheck *check, double tolerance, const char *what)
{
    cr_assert(check->error <= tolerance,
              "%s: gradient of element %lld is %.12g, central difference %.12g: error %.3g, "
              "tolerance %.3g",
              what, (long long)check->worst, check->analytic, check->numeric, check->error,
              tolerance);
}
