/* SPDX-License-Identifier: Apache-2.0 */
/* ReLU: y = max(x, 0). */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images, (void)need;
    LJ_TRY(lj_take_rows(node, &in[0]));
    *out = in[0];
    return LJ_OK;
}

static int64_t elements(const struct lj_call *c)
{
    return c->images * lj_shape_count(&c->in_shape[0]);
}

/* NaN stays NaN, so that a broken step is seen. */
static void forward(const struct lj_call *c)
{
    lj_kernels()->relu(c->y, c->x[0], elements(c));
}

static void backward(const struct lj_call *c)
{
    lj_kernels()->relu_backward(c->dx[0], c->dy, c->y, elements(c), c->dx_add[0]);
}

const struct lj_layer_kind lj_kind_relu = {
    .name = "relu", .keeps_output = true, .shape = shape, .forward = forward, .backward = backward};

lj_val lj_relu(struct lj_net *net, const char *name, lj_val x)
{
    return lj_net_add(net, (struct lj_node){.kind = &lj_kind_relu, .inputs = 1, .in = {x.index}},
                      name);
}
