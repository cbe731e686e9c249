/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layer on the last axis: y = x W^T + b, W (out, in) as PyTorch stores it.
 *   dx = dy W     dW = dy^T x     db = column sums of dy
 * ints: [0] output width. */
#include "nn_build.h"

#include "product.h"

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    *out = in[0];
    out->dim[out->dims - 1] = node->ints[0];
    need->scratch = lj_linear_scratch(need->narrow, images * lj_shape_rows(&in[0]),
                                      lj_shape_features(&in[0]), node->ints[0]);
    return LJ_OK;
}

static struct lj_rows input_rows(const struct lj_call *c)
{
    return (struct lj_rows){c->x[0], c->x_type[0], c->images * lj_shape_rows(&c->in_shape[0]),
                            lj_shape_features(&c->in_shape[0])};
}

static void forward(const struct lj_call *c)
{
    lj_linear_forward(c, input_rows(c), c->node->ints[0], c->scratch);
}

static void backward(const struct lj_call *c)
{
    lj_linear_backward(c, input_rows(c), c->node->ints[0], c->dx[0], c->scratch);
}

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    return 2 * lj_shape_count(&in[0]) * node->ints[0];
}

const struct lj_layer_kind lj_kind_linear = {.name = "linear",
                                             .keeps_input = {true},
                                             .takes_narrow = {true},
                                             .gives_narrow = true,
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
