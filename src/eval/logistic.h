/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. The loss of multinomial logistic regression and its gradient. */
#ifndef LEJEPA_EVAL_LOGISTIC_H
#define LEJEPA_EVAL_LOGISTIC_H

#include "base/base.h"

/* x is standardised on the way in: z = (x - mean) scale, z[width] = 1 for the bias. Parameters are
 * (width + 1, classes): weights, then biases. */
struct lj_logistic {
    const float *x;        /* (rows, width) borrowed */
    const int32_t *member; /* (rows) class of each row, borrowed */
    int64_t rows, width, classes;
    double l2;
    double *mean, *scale; /* (width) owned; scale 0 for a constant feature */
    double *z, *p, *loss; /* owned: blocks of rows */
};

/* Takes means and deviations from x. Errors: LJ_ERR_RESOURCE. */
int lj_logistic_create(struct lj_logistic *problem, const float *x, const int32_t *member,
                       int64_t rows, int64_t width, int64_t classes, double l2) LJ_MUST_USE;
void lj_logistic_destroy(struct lj_logistic *problem);

/* mean cross-entropy + l2/2 |weights|^2; gradient overwritten. data is a struct lj_logistic. */
double lj_logistic_value(void *data, const double *parameters, double *gradient);

/* Class of the largest logit for other rows of the same width; the lower of equals. */
void lj_logistic_predict(struct lj_logistic *problem, const double *parameters, const float *x,
                         int64_t rows, int32_t *predicted);

#endif
