/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: adding subtrees in ascending order along the fixed tree, like carries of a binary
 * counter. Each entry is a subtree and where its sum lies. */
#ifndef LEJEPA_CHAIN_H
#define LEJEPA_CHAIN_H

#include "comm/comm.h"

struct lj_chain {
    int64_t lanes;
    int depth;
    struct lj_subtree subtree[LJ_SUBTREES_MAX];
    float *data[LJ_SUBTREES_MAX];
};

/* Adds a subtree's data (count floats) and every carry that follows from it. data becomes the chain's;
 * buffers that are no longer needed are handed to release(context, buffer), NULL: dropped. */
void lj_chain_add(struct lj_chain *chain, struct lj_subtree subtree, float *data, int64_t count,
                  void (*release)(void *context, float *buffer), void *context);

/* y += x, elements split over OpenMP threads. */
void lj_add_in_parallel(float *y, const float *x, int64_t count);

#endif
