/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn: the memory plan. */
#ifndef LEJEPA_PLAN_H
#define LEJEPA_PLAN_H

#include "lejepa/nn.h"

/* A stretch of a lane's arena, in use from event `birth` to event `death` (inclusive). */
struct lj_stretch {
    int64_t size, offset; /* floats; size 0: unused */
    int birth, death;
};

/* Per node. Forward and backward may see a value at different places: in LJ_PLAN_RECOMPUTE a block's
 * inner values exist twice, first while the block runs forward, then while it runs backward. */
struct lj_placing {
    struct lj_shape shape;
    struct lj_need need;
    struct lj_stretch value[2], saved[2]; /* [0] forward, [1] again; [1].size 0: the same as [0] */
    struct lj_stretch gradient;
    int gradient_alias; /* node whose gradient stretch is shared; -1: its own */
    bool last_of_block; /* backward of this node first runs the block forward again */
    int block_first;    /* first node of that block */
    bool again;         /* the value is made again in backward */
};

struct lj_plan {
    const struct lj_net *net;
    int64_t images;
    enum lj_plan_mode mode;
    struct lj_placing *at; /* (net->count) owned */
    int64_t arena, scratch;
};

/* Input shapes of node i under the plan. */
void lj_plan_inputs(const struct lj_plan *plan, int i, struct lj_shape in[LJ_INPUTS_MAX]);

#endif
