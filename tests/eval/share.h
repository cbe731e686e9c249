/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that every rank of a test has, shared as those that each rank has a part of. */
#ifndef LEJEPA_TEST_SHARE_H
#define LEJEPA_TEST_SHARE_H

#include "eval/eval.h"

static inline struct lj_features share_of(const struct lj_comm *comm, const float *x, int64_t rows,
                                          int64_t width)
{
    int64_t first, end;
    lj_features_share(rows, comm->size, comm->rank, &first, &end);
    return (struct lj_features){x + first * width, end - first, width, LJ_FEATURES_BLOCK};
}

#endif
