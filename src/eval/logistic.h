/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. The loss of multinomial logistic regression and its gradient. */
#ifndef LEJEPA_EVAL_LOGISTIC_H
#define LEJEPA_EVAL_LOGISTIC_H

#include "eval/moments.h"

/* What a thread needs for a block of rows, and its sums over blocks. */
struct lj_logistic_worker {
    double *z, *p; /* (block, width + 1), (block, classes) owned */
    double *part;  /* (some features, classes) owned */
    int64_t *sum; /* owned: gradient (width + 1, classes), loss in two numbers, rows or blocks whose
                      loss is not finite */
};

/* Features are standardised: z = (x - mean) / deviation, 0 for a constant feature, and z[width] = 1
 * for the bias. Parameters are (width + 1, classes): weights, then biases. */
struct lj_logistic {
    struct lj_comm *comm;
    const struct lj_features *x; /* borrowed; shared by lj_features_share */
    const int32_t *member;       /* (rows of this rank) class of each row, borrowed */
    const uint8_t *known;        /* (rows of this rank) 0: not fitted, borrowed; NULL: all are */
    int64_t known_rows;          /* of all ranks */
    double bound;                /* of an element of the gradient, weights of l2 left out */
    int64_t classes;
    double l2;
    struct lj_moments moments; /* of the rows of all ranks, known or not */
    double *inverse;           /* (width) owned: 1 / deviation; 0 for a constant feature */
    int threads;
    struct lj_logistic_worker *worker; /* (threads) owned */
};

/* Takes means and deviations. Collective. Errors, on every rank alike: LJ_ERR_RESOURCE, and those
 * of lj_moments_create; then there is nothing to destroy. */
int lj_logistic_create(struct lj_logistic *problem, struct lj_comm *comm,
                       const struct lj_features *x, const int32_t *member, int64_t classes,
                       double l2) LJ_MUST_USE;
void lj_logistic_destroy(struct lj_logistic *problem);

/* From now on only the known rows are fitted, at least one of all ranks' (NULL: all); all are known
 * after lj_logistic_create. Means and deviations, which need no labels, stay those of all rows.
 * Collective.
 *   known  (rows of this rank) in  borrowed until the next call */
void lj_logistic_know(struct lj_logistic *problem, const uint8_t *known);

/* mean cross-entropy + l2/2 |weights|^2 over the known rows of all ranks; gradient overwritten.
 * NaN, if the loss of a row is not finite. Collective; the same bits on every rank and on any
 * number of ranks. The sum of a block of rows is rounded to 2^-72 in the loss and in the gradient
 * to 2^-60 times sqrt(rows / known rows). data is a struct lj_logistic. */
double lj_logistic_value(void *data, const double *parameters, double *gradient);

/* Class of the largest logit for other rows of the same width; the lower of equals. Local.
 *   x          (rows, width) in
 *   predicted  (rows) out */
void lj_logistic_predict(struct lj_logistic *problem, const double *parameters, const float *x,
                         int64_t rows, int32_t *predicted);

#endif
