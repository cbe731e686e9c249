/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layer on the last axis: y = x W^T + b, W (out, in) as PyTorch stores it.
 *   dx = dy W     dW = dy^T x     db = column sums of dy
 * ints: [0] output width. */
#include "nn_build.h"

#include "lejepa/kernels.h"

#include <string.h>

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images, (void)need;
    *out = in[0];
    out->dim[out->dims - 1] = node->ints[0];
    return LJ_OK;
}

static void forward(const struct lj_call *c)
{
    int64_t rows = c->images * lj_shape_rows(&c->in_shape[0]);
    int64_t in = lj_shape_features(&c->in_shape[0]), out = c->node->ints[0];
    lj_gemm(false, true, rows, out, in, 1, c->x[0], in, c->param[0], in, 0, c->y, out);
    lj_kernels()->add_bias(c->y, c->param[1], rows, out);
}

static void backward(const struct lj_call *c)
{
    int64_t rows = c->images * lj_shape_rows(&c->in_shape[0]);
    int64_t in = lj_shape_features(&c->in_shape[0]), out = c->node->ints[0];
    if (c->dx[0])
        lj_gemm(false, false, rows, in, out, 1, c->dy, out, c->param[0], in,
                c->dx_add[0] ? 1.0f : 0.0f, c->dx[0], in);
    lj_gemm(true, false, out, in, rows, 1, c->dy, out, c->x[0], in, c->dparam_add ? 1.0f : 0.0f,
            c->dparam[0], in);
    if (!c->dparam_add)
        memset(c->dparam[1], 0, (size_t)out * sizeof(float));
    lj_kernels()->column_sums(c->dparam[1], c->dy, rows, out);
}

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    return 2 * lj_shape_count(&in[0]) * node->ints[0];
}

const struct lj_layer_kind lj_kind_linear = {.name = "linear",
                                             .keeps_input = {true},
                                             .shape = shape,
                                             .forward = forward,
                                             .backward = backward,
                                             .flops = flops};

/* init LJ_INIT_UNIFORM also draws the bias (PyTorch's default); LJ_INIT_NORMAL leaves it 0 (timm). */
lj_val lj_linear(struct lj_net *net, const char *name, lj_val x, int64_t width, enum lj_init init,
                 double init_scale)
{
    struct lj_shape in = lj_net_shape(net, x);
    int64_t fan_in = lj_shape_features(&in);
    struct lj_node node = {.kind = &lj_kind_linear, .inputs = 1, .in = {x.index}, .ints = {width}};
    lj_val y = lj_net_add(net, node, name);
    char path[LJ_NAME_MAX];
    struct lj_param weight = {
        .dims = 2, .dim = {width, fan_in}, .matrix = true, .init = init, .init_scale = init_scale};
    struct lj_param bias = {.dims = 1,
                            .dim = {width},
                            .init_scale = init_scale,
                            .init = init == LJ_INIT_UNIFORM ? LJ_INIT_UNIFORM : LJ_INIT_ZERO};
    lj_net_param(net, y, weight, lj_join(path, name, "weight"));
    lj_net_param(net, y, bias, lj_join(path, name, "bias"));
    return y;
}
