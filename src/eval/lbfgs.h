/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. Minimisation of a smooth function by L-BFGS. */
#ifndef LEJEPA_EVAL_LBFGS_H
#define LEJEPA_EVAL_LBFGS_H

#include "base/base.h"

struct lj_lbfgs {
    int64_t count; /* unknowns */
    /* Value at x, gradient (count) written. */
    double (*value)(void *data, const double *x, double *gradient);
    void *data;
    double tolerance; /* of the gradient's largest element */
    int max_iterations;
    /* out */
    int iterations;
    double loss, gradient_norm; /* at the returned x; largest element */
};

/* Minimises from x, in place. Local; sums run in one fixed order. Errors: LJ_ERR_RESOURCE;
 * LJ_ERR_NUMERIC: not finite, or no convergence, the text gives the norm. */
int lj_lbfgs_minimise(struct lj_lbfgs *problem, double *x) LJ_MUST_USE;

#endif
