/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn: the memory plan. */
#ifndef LEJEPA_PLAN_H
#define LEJEPA_PLAN_H

#include "nn/nn.h"

/* A region of a lane's arena, in use from event `birth` to event `death` (inclusive). */
struct lj_region {
    int64_t size, offset; /* floats; size 0: unused */
    int64_t stride;       /* bytes from one image to the next */
    bool of_tile;         /* holds one tile of images, each tile in turn */
    int birth, death;
};

/* Per node. Forward and backward may see a value at different places: in LJ_PLAN_RECOMPUTE a block's
 * inner values exist twice, first while the block runs forward, then while it runs backward. */
struct lj_placing {
    struct lj_shape shape;
    enum lj_type type;
    struct lj_need need;
    struct lj_region value[2], saved[2]; /* [0] forward, [1] again; [1].size 0: the same as [0] */
    struct lj_region gradient;
    int gradient_alias;         /* node whose gradient region is shared; -1: its own */
    int block_first, block_end; /* nodes [first, end) run tile by tile; outside blocks: itself */
    bool again;                 /* the value is made again in backward */
};

struct lj_plan {
    const struct lj_net *net;
    int64_t images, tile; /* images of a run and of a tile */
    struct lj_plan_options options;
    struct lj_placing *at;  /* (net->count) owned */
    int64_t arena, scratch; /* floats, bytes */
};

/* Input shapes of node i under the plan. */
void lj_plan_inputs(const struct lj_plan *plan, int i, struct lj_shape in[LJ_INPUTS_MAX]);

/* place.c: gives every region its offset, and plan->arena its size. Errors: LJ_ERR_RESOURCE. */
int lj_plan_place(struct lj_plan *plan);

#endif
