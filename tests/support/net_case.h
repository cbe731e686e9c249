/* SPDX-License-Identifier: Apache-2.0 */
/* A small network with everything a pass needs. All memory starts as NaN, so that reading a value
 * before it is written shows in the results.
 *
 *     struct net_case c;
 *     net_case_begin(&c);
 *     lj_val x = lj_input(c.net, ...); ...              builders
 *     net_case_layout(&c);                              parameters get places; weights are random
 *     net_case_plan(&c, images, &shape, LJ_PLAN_TRAIN); weights must have their values by now
 *     net_case_forward(&c, x, y);  net_case_backward(&c, dy, dx);
 *     net_case_end(&c); */
#ifndef LEJEPA_TEST_NET_CASE_H
#define LEJEPA_TEST_NET_CASE_H

#include "nn/nn.h"

enum { NET_CASE_SEGMENTS = 64, NET_CASE_SUMS = 256 };

struct net_case {
    struct lj_params params;
    struct lj_net *net;
    struct lj_segment segment[NET_CASE_SEGMENTS]; /* nodes of each bucket */
    struct lj_plan *plan;
    int64_t tile_rows;           /* of plans made from now on; 0: one tile */
    float *weights;              /* (params.elements) */
    float *gradient;             /* (params.elements) */
    bool bf16;                   /* plans are bf16, with packed weights */
    void *packed;                /* the weights' packed forms, of the plan's making; NULL: none */
    struct lj_pass pass;         /* train; step 3; first_sample 0; n = images */
    int64_t sums[NET_CASE_SUMS]; /* totals of the batch statistics of the node at work */
};

void net_case_begin(struct net_case *c);
void net_case_layout(struct net_case *c);
void net_case_plan(struct net_case *c, int64_t images, const struct lj_shape *input,
                   enum lj_plan_mode mode);
/* Makes plans from now on bf16. */
void net_case_bf16(struct net_case *c);
void net_case_end(struct net_case *c);

/* Runs all nodes forward: x (images, input shape) to y (images, output shape). */
void net_case_forward(struct net_case *c, const float *x, float *y);
/* Runs them backward: dy like y to dx like x, which may be NULL, and to c->gradient. */
void net_case_backward(struct net_case *c, const float *dy, float *dx);

/* Elements of x and of y. */
int64_t net_case_inputs(const struct net_case *c, const struct lj_shape *input);
int64_t net_case_outputs(const struct net_case *c);

#endif
