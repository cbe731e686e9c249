/* SPDX-License-Identifier: Apache-2.0 */
/* From tokens (T, C) to one vector (C): the first token. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <string.h>

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images, (void)need;
    LJ_TRY(lj_take_dims(node, &in[0], 2, 2, "tokens (T, C)"));
    *out = (struct lj_shape){.dims = 1, .dim = {in[0].dim[1]}};
    return LJ_OK;
}

static void forward(const struct lj_call *c)
{
    int64_t width = c->in_shape[0].dim[1], stride = lj_shape_count(&c->in_shape[0]);
    const float *x = c->x[0];
    float *y = c->y;
    for (int64_t i = 0; i < c->images; i++)
        memcpy(y + i * width, x + i * stride, (size_t)width * sizeof *y);
}

static void backward(const struct lj_call *c)
{
    int64_t width = c->in_shape[0].dim[1], stride = lj_shape_count(&c->in_shape[0]);
    const float *dy = c->dy;
    float *dx = c->dx[0];
    if (!c->dx_add[0])
        memset(dx, 0, (size_t)(c->images * stride) * sizeof *dx);
    for (int64_t i = 0; i < c->images; i++)
        lj_kernels()->add(dx + i * stride, dy + i * width, width);
}

const struct lj_layer_kind lj_kind_pool_token = {
    .name = "pool_token", .shape = shape, .forward = forward, .backward = backward};

lj_val lj_pool_token(struct lj_net *net, const char *name, lj_val x)
{
    return lj_net_add(
        net, (struct lj_node){.kind = &lj_kind_pool_token, .inputs = 1, .in = {x.index}}, name);
}
