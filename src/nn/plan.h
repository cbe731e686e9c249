/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn: the memory plan. */
#ifndef LEJEPA_PLAN_H
#define LEJEPA_PLAN_H

#include "nn/nn.h"

/* A region of a lane's arena, in use from event `birth` to event `death` (inclusive). */
struct lj_region {
    int64_t size;   /* floats; 0: unused */
    int64_t offset; /* in the arena, floats */
    int64_t stride; /* bytes from one image to the next */
    bool of_tile;   /* has room for one tile, and holds each tile in turn; else for all images */
    int birth;      /* event of its first use */
    int death;      /* event of its last use */
};

/* What the plan knows of a node and its value. A value may lie at two places: in LJ_PLAN_RECOMPUTE
 * the values inside a block exist a first time while the block runs forward, and a second time
 * while it runs backward. */
struct lj_placing {
    struct lj_shape shape;
    enum lj_type type;
    struct lj_need need;
    struct lj_region value[2]; /* the first time, the second time; [1].size 0: [0] serves both */
    struct lj_region saved[2]; /* likewise */
    struct lj_region gradient; /* of the value; size 0: shared */
    int gradient_alias;        /* node whose gradient region it shares; -1: none */
    int64_t tile;              /* images of a call */
    int block_first;           /* first node of its block; outside blocks: itself */
    int block_end;             /* node after the last one of its block */
    bool again;                /* backward computes the value a second time */
};

struct lj_plan {
    const struct lj_net *net; /* borrowed */
    int64_t images;           /* of a pass */
    struct lj_plan_options options;
    struct lj_placing *at; /* (net->count) owned */
    int64_t arena;         /* floats */
    int64_t scratch;       /* bytes */
};

/* Input shapes of node i under the plan. */
void lj_plan_inputs(const struct lj_plan *plan, int i, struct lj_shape in[LJ_INPUTS_MAX]);

/* place.c: gives every region its offset, and plan->arena its size. Errors: LJ_ERR_RESOURCE. */
int lj_plan_place(struct lj_plan *plan);

#endif
