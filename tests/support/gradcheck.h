/* SPDX-License-Identifier: Apache-2.0 */
/* Compares analytic gradients with central differences, in double. */
#ifndef LEJEPA_TEST_GRADCHECK_H
#define LEJEPA_TEST_GRADCHECK_H

#include <stdint.h>

/* f(x) with x (n). */
typedef double lj_scalar_function(const double *x, int64_t n, void *context);

struct lj_gradcheck {
    int64_t worst;   /* element with the largest error; -1 when n is 0 */
    double analytic; /* the gradient at that element, as given */
    double numeric;  /* the central difference there */
    double error;    /* |analytic - numeric| / max(1, |analytic|, |numeric|); NaN counts as worst */
};

/* Compares df (n), the gradient of f at x (n) to be checked, with (f(x + h e) - f(x - h e)) / 2h
 * for each unit vector e. x is changed and restored. Cost: 2 n calls of f.
 *   step  in  h; the error of the difference is about h^2 f''' / 6 + 1e-16 |f| / h */
struct lj_gradcheck lj_gradcheck(lj_scalar_function *f, void *context, double *x, int64_t n,
                                 const double *df, double step);

/* Fails the Criterion test when the worst error is above tolerance. */
void lj_gradcheck_assert(const struct lj_gradcheck *check, double tolerance, const char *what);

#endif
