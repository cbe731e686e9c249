/* SPDX-License-Identifier: Apache-2.0 */
/* Two values side by side: each row of y is the row of a, then the row of b. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <string.h>

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images, (void)need;
    LJ_TRY(lj_take_rows(node, &in[0]));
    LJ_TRY(lj_take_rows(node, &in[1]));
    *out = in[0];
    out->dim[out->dims - 1] = lj_shape_features(&in[1]);
    if (!lj_shape_equal(out, &in[1]))
        return lj_refuse_shape(node, &in[1], "as many rows as the first value has");
    out->dim[out->dims - 1] += lj_shape_features(&in[0]);
    return LJ_OK;
}

static void forward(const struct lj_call *c)
{
    int64_t rows = c->images * lj_shape_rows(&c->out_shape);
    int64_t a = lj_shape_features(&c->in_shape[0]), b = lj_shape_features(&c->in_shape[1]);
    const float *first = c->x[0], *second = c->x[1];
    float *y = c->y;
    for (int64_t r = 0; r < rows; r++, y += a + b) {
        memcpy(y, first + r * a, (size_t)a * sizeof *y);
        memcpy(y + a, second + r * b, (size_t)b * sizeof *y);
    }
}

static void backward(const struct lj_call *c)
{
    int64_t rows = c->images * lj_shape_rows(&c->out_shape);
    int64_t width = lj_shape_features(&c->out_shape);
    const float *dy = c->dy;
    for (int k = 0; k < 2; dy += lj_shape_features(&c->in_shape[k]), k++) {
        int64_t part = lj_shape_features(&c->in_shape[k]);
        float *dx = c->dx[k];
        for (int64_t r = 0; dx && r < rows; r++)
            lj_kernels()->scale(dx + r * part, LJ_F32, 1, dy + r * width, part, c->dx_add[k]);
    }
}

const struct lj_layer_kind lj_kind_concat = {
    .name = "concat", .shape = shape, .forward = forward, .backward = backward};

lj_val lj_concat(struct lj_net *net, const char *name, lj_val a, lj_val b)
{
    struct lj_node node = {.kind = &lj_kind_concat, .inputs = 2, .in = {a.index, b.index}};
    return lj_net_add(net, node, name);
}
