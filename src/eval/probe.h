/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. A linear probe that is fitted several times to the same features. */
#ifndef LEJEPA_EVAL_PROBE_H
#define LEJEPA_EVAL_PROBE_H

#include "eval/classes.h"
#include "eval/logistic.h"

struct lj_probe {
    struct lj_comm *comm;
    int64_t rows, first; /* training rows of all ranks; the first of mine */
    struct lj_classes classes;
    struct lj_logistic problem;
    int64_t unknowns;
    double *parameters; /* (unknowns) owned: (width + 1, classes), where the last fit ended */
    double *work;       /* owned: of L-BFGS */
    int64_t *bytes;     /* (ranks) owned */
};

/* All parameters are 0. Arguments, cost and errors as lj_linear_probe. Collective.
 *   train         borrowed until lj_probe_destroy
 *   train_labels  (training rows of all ranks) in
 * On failure there is nothing to destroy. */
int lj_probe_create(struct lj_probe *probe, struct lj_comm *comm, const struct lj_features *train,
                    const int32_t *train_labels) LJ_MUST_USE;
void lj_probe_destroy(struct lj_probe *probe);

/* Parameters are 0 again. Local. */
void lj_probe_forget(struct lj_probe *probe);
/* Fits from where the parameters are. Collective.
 *   known       (training rows of all ranks) in  0: not fitted; one is at least; NULL: all are
 *   iterations  in   as lj_linear_probe
 *   result      out  the same on every rank
 * Errors, on every rank alike: LJ_ERR_NUMERIC. */
int lj_probe_fit(struct lj_probe *probe, const uint8_t *known, double l2, int iterations,
                 struct lj_probe_result *result) LJ_MUST_USE;
/* Classes, 0 .. classes.count - 1, of rows that ranks share. Collective.
 *   predicted  (rows of x of all ranks) out  on every rank */
void lj_probe_predict(struct lj_probe *probe, const struct lj_features *x, int32_t *predicted);

/* The strengths that lj_linear_probe_l2 tries, descending. */
enum { LJ_L2_GRID = 11 };
extern const double lj_l2_grid[LJ_L2_GRID];
/* Fits the known rows with each strength, and predicts the others. Collective.
 *   known  (training rows of all ranks) in  not all are, and one is at least
 *   right  (LJ_L2_GRID) out  how many of the others are predicted right, the same on every rank
 * Errors, on every rank alike: LJ_ERR_RESOURCE, LJ_ERR_NUMERIC. */
int lj_probe_try_l2(struct lj_probe *probe, const uint8_t *known,
                    int64_t right[LJ_L2_GRID]) LJ_MUST_USE;

/* Draws rows of each class. Local.
 *   count  (classes) in  rows of each, at most as many as it has
 *   seed, draw       in  name what is drawn: the rows drawn for a smaller count are among them
 *   drawn  (rows)    out 1: drawn
 * Errors: LJ_ERR_RESOURCE. */
int lj_classes_draw(const struct lj_classes *classes, int64_t rows, const int64_t *count,
                    int64_t seed, int draw, uint8_t *drawn) LJ_MUST_USE;
/* Rows of each class. Local.
 *   count  (classes) out */
void lj_classes_count(const struct lj_classes *classes, int64_t rows, int64_t *count);

#endif
