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
    double *work;     /* (lj_lbfgs_work(count)) the caller provides it */
    double tolerance; /* of the gradient's largest element */
    int max_iterations;
    bool may_end; /* where it is after max_iterations, or where rounding allows no further step */
    /* out */
    int iterations;
    double loss, gradient_norm; /* at the returned x; largest element */
};

/* How many doubles `work` has. */
int64_t lj_lbfgs_work(int64_t count);

/* Minimises from x, in place; sums run in one fixed order. Local; if `value` is collective, ranks
 * that start from the same x call it equally often, because equal values lead to equal steps.
 * Errors: LJ_ERR_NUMERIC: not finite, or no convergence, the text gives the norm. */
int lj_lbfgs_minimise(struct lj_lbfgs *problem, double *x) LJ_MUST_USE;

#endif
