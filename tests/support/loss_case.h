/* SPDX-License-Identifier: Apache-2.0 */
/* A global batch through the loss: rows cut into lanes, lanes spread over the ranks. */
#ifndef LEJEPA_TEST_LOSS_CASE_H
#define LEJEPA_TEST_LOSS_CASE_H

#include "loss/loss.h"

struct loss_batch {
    struct lj_lejepa_config config; /* lane_rows: rows of every lane; the last may have fewer */
    int64_t samples;                /* of the global batch */
    const float *z;                 /* (V, samples, D) projections, the same on every rank */
    const float *slices;            /* (D, M); NULL: those of step 0 */
    bool backwards;                 /* hand in lanes in descending order */
    int local;                      /* status that this rank passes to the reduction */
};

/* Terms of LeJEPA, and what came with them. */
struct loss_terms {
    double total, prediction, sigreg;
    int64_t samples, nonfinite;
};

/* Runs a batch. Collective.
 *   terms         out
 *   dz            out  (V, samples, D) rows of other ranks' lanes stay as they are; NULL: not
 *                      wanted
 *   slice_values  out  (M), or NULL
 * Returns the status of lj_objective_reduce. */
int loss_case_run(struct lj_comm *comm, const struct loss_batch *batch, struct lj_ledger *ledger,
                  struct loss_terms *terms, float *dz, double *slice_values);

/* Rows [first, end) of the batch that belong to this rank. */
void loss_case_rows(const struct lj_comm *comm, const struct loss_batch *batch, int64_t *first,
                    int64_t *end);

#endif
