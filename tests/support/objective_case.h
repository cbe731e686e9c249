/* SPDX-License-Identifier: Apache-2.0 */
/* One step of any objective on a whole batch, cut into lanes that ranks share as in training. */
#ifndef LEJEPA_TEST_OBJECTIVE_CASE_H
#define LEJEPA_TEST_OBJECTIVE_CASE_H

#include "loss/loss.h"

/* A global batch, cut into lanes. */
struct lj_objective_case {
    const struct lj_objective_kind *kind;
    const struct lj_config *config;
    int64_t views, samples, width, lane_rows; /* the last lane may be shorter */
    int workers;
    const float *z; /* (V, N, D), the same on every rank */
    /* What some objectives need besides, the same on every rank: */
    const int32_t *labels;     /* (N) NULL: it needs none */
    const int64_t *class_rows; /* (D) of training, with labels */
    int64_t targets;           /* global views; 0: 1 */
    const float *averaged;     /* (targets, N, D) NULL: it needs none */
    double epoch;              /* steps of one */
    bool advances;             /* weights are updated between the two steps */
};

struct lj_objective_result {
    int status;
    struct lj_step_message message;
    double term[LJ_TERMS_MAX];
    struct lj_ledger ledger; /* of two steps */
};

/* lj_objective_create for the case. */
int lj_objective_case_create(struct lj_objective **objective, struct lj_comm *comm,
                             const struct lj_objective_case *c,
                             struct lj_ledger *ledger) LJ_MUST_USE;

/* Runs the step twice, the second time with what the first has left behind. Collective.
 *   dz  (V, N, D) out: the gradient at this rank's samples; other rows stay as they are */
struct lj_objective_result lj_objective_case_run(struct lj_comm *comm,
                                                 const struct lj_objective_case *c, float *dz);

/* Is this sample in a lane of this rank? Local. */
bool lj_objective_case_is_mine(const struct lj_comm *comm, const struct lj_objective_case *c,
                               int64_t sample);

/* Largest |dz - expected| of this rank's rows, divided by the largest |expected| of all. Elements
 * that are NaN in expected are left out. Local.
 *   dz, expected  (V, N, D) in */
double lj_objective_case_error(const struct lj_comm *comm, const struct lj_objective_case *c,
                               const float *dz, const double *expected);

/* Asserts terms and gradient of a row with a target by its golden file, whose group `shape` has the
 * datasets `trained` (V, N, D), `averaged` (targets, N, D), terms and gradient, in lanes that cut
 * blocks and in one lane. Collective.
 *   c          in  without numbers and their sizes
 *   tolerance  in  of the terms, and of the gradient relative to its largest element */
void lj_objective_case_golden(struct lj_comm *comm, struct lj_objective_case c, const char *file,
                              const char *shape, const char *trained, const char *averaged,
                              const double tolerance[2]);

/* Numbers (V, N, D) of this mean whose deviation grows with the column, from `low` to `high`; the
 * caller frees them. */
float *lj_objective_case_numbers(const struct lj_objective_case *c, float mean, float low,
                                 float high);

/* Asserts that terms and gradient have the same bits all on one rank and spread over all, in one
 * worker and in three. Collective. */
void lj_objective_case_assert_bits(struct lj_comm *comm, struct lj_objective_case c);

#endif
