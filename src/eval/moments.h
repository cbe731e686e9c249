/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. Mean and variance of features over the rows of all ranks. */
#ifndef LEJEPA_EVAL_MOMENTS_H
#define LEJEPA_EVAL_MOMENTS_H

#include "eval/eval.h"

struct lj_moments {
    int64_t rows; /* of all ranks */
    double *mean; /* (width) owned */
    double
        *square; /* (width) owned: sum over rows of (x - mean)^2; 0 for a constant feature only */
};

/* Takes them, with the same bits however the rows are shared. Collective.
 * Errors, on every rank alike: LJ_ERR_DATA (no rows or no columns), LJ_ERR_NUMERIC (a value is not
 * finite), LJ_ERR_RESOURCE; then there is nothing to destroy.
 * Of N rows in blocks, each of range R in a feature, mean is off by at most R 2^-60 a block, and
 * square by at most N R^2 2^-60 a block, besides the rounding of sums inside a block. */
int lj_moments_create(struct lj_moments *moments, struct lj_comm *comm,
                      const struct lj_features *x) LJ_MUST_USE;
/* Mean over all rows of z^power, z = (x - mean) / deviation, power 3 or 4; 0 for a constant
 * feature. Collective; the same bits however rows are shared.
 *   mean  (width) out
 * Errors, on every rank alike: LJ_ERR_RESOURCE. Of N rows it is off by at most N 2^-60 a block. */
int lj_moments_standardised(const struct lj_moments *moments, struct lj_comm *comm,
                            const struct lj_features *x, int power, double *mean) LJ_MUST_USE;
void lj_moments_destroy(struct lj_moments *moments);

/* The power of 2 by which to multiply numbers before llrint(... 2^32), when their magnitudes add up
 * to `bound`: sums of such integers cannot overflow. Each is off by at most bound 2^-60. Local. */
double lj_fixed_scale(double bound);

#endif
