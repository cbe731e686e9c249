/* SPDX-License-Identifier: Apache-2.0 */
/* From tokens (T, C) or positions (H, W, C) to one vector (C): the mean of the rows after the first
 * ints[0]. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <string.h>

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images, (void)need;
    LJ_TRY(lj_take_dims(node, &in[0], 2, 3, "tokens (T, C) or positions (H, W, C)"));
    if (node->ints[0] >= lj_shape_rows(&in[0]))
        return lj_refuse_shape(node, &in[0], "more rows than the mean leaves out");
    *out = (struct lj_shape){.dims = 1, .dim = {lj_shape_features(&in[0])}};
    return LJ_OK;
}

static void forward(const struct lj_call *c)
{
    int64_t skip = c->node->ints[0], rows = lj_shape_rows(&c->in_shape[0]) - skip;
    int64_t width = lj_shape_features(&c->in_shape[0]), stride = lj_shape_count(&c->in_shape[0]);
    const float *x = c->x[0];
    float *y = c->y;
    for (int64_t i = 0; i < c->images; i++, y += width) {
        memset(y, 0, (size_t)width * sizeof *y);
        lj_kernels()->column_sums(y, x + i * stride + skip * width, LJ_F32, rows, width);
        for (int64_t j = 0; j < width; j++)
            y[j] /= (float)rows;
    }
}

static void backward(const struct lj_call *c)
{
    int64_t skip = c->node->ints[0], rows = lj_shape_rows(&c->in_shape[0]) - skip;
    int64_t width = lj_shape_features(&c->in_shape[0]), stride = lj_shape_count(&c->in_shape[0]);
    const float *dy = c->dy;
    float *dx = c->dx[0];
    if (!c->dx_add[0])
        memset(dx, 0, (size_t)(c->images * stride) * sizeof *dx);
    for (int64_t i = 0; i < c->images; i++)
        for (int64_t r = 0; r < rows; r++)
            lj_kernels()->axpy(dx + i * stride + (skip + r) * width, 1.0f / (float)rows,
                               dy + i * width, width);
}

const struct lj_layer_kind lj_kind_pool_mean = {
    .name = "pool_mean", .shape = shape, .forward = forward, .backward = backward};

lj_val lj_pool_mean(struct lj_net *net, const char *name, lj_val x, int64_t skip)
{
    struct lj_node node = {
        .kind = &lj_kind_pool_mean, .inputs = 1, .in = {x.index}, .ints = {skip}};
    return lj_net_add(net, node, name);
}
