/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layer on the last axis, W (out, in) as PyTorch stores it:
 *   linear           y = x W^T + b
 *   linear_residual  y = t + x W^T + b, at the end of a branch that is never dropped: the trunk t
 *                    is copied to y, the matmul adds to it, and the branch is never written by
 *                    itself
 *   dt = dy     dx = dy W     dW = dy^T x     db = column sums of dy
 * ints: [0] output width. Inputs: x, or t and x. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"
#include "nn/layers/linear_map.h"

#include <string.h>

/* Index of x among the inputs. */
static int place_of_x(const struct lj_node *node)
{
    return node->inputs - 1;
}

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    const struct lj_shape *x = &in[place_of_x(node)];
    LJ_TRY(lj_take_rows(node, x));
    *out = *x;
    out->dim[out->dims - 1] = node->ints[0];
    if (node->inputs > 1 && !lj_shape_equal(&in[0], out))
        return lj_refuse_shape(node, x, "as many rows as the trunk has");
    need->scratch = lj_linear_scratch(need->bf16, images * lj_shape_rows(x), lj_shape_features(x),
                                      node->ints[0]);
    return LJ_OK;
}

static struct lj_rows input_rows(const struct lj_call *c)
{
    int i = place_of_x(c->node);
    return (struct lj_rows){c->x[i], c->x_type[i], c->images * lj_shape_rows(&c->in_shape[i]),
                            lj_shape_features(&c->in_shape[i])};
}

static void forward(const struct lj_call *c)
{
    lj_linear_forward(c, input_rows(c), c->node->ints[0], false, c->scratch);
}

static void backward(const struct lj_call *c)
{
    int i = place_of_x(c->node);
    lj_linear_backward(c, input_rows(c), c->node->ints[0], c->dx[i], c->dx_add[i], c->scratch);
}

static int64_t elements_out(const struct lj_call *c)
{
    return c->images * lj_shape_count(&c->out_shape);
}

static void residual_forward(const struct lj_call *c)
{
    memcpy(c->y, c->x[0], (size_t)elements_out(c) * sizeof(float));
    lj_linear_forward(c, input_rows(c), c->node->ints[0], true, c->scratch);
}

static void residual_backward(const struct lj_call *c)
{
    lj_pass_gradient(c);
    backward(c);
}

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    return 2 * lj_shape_count(&in[place_of_x(node)]) * node->ints[0];
}

const struct lj_layer_kind lj_kind_linear = {.name = "linear",
                                             .keeps_input = {true},
                                             .takes_bf16 = {true},
                                             .gives_bf16 = true,
                                             .shape = shape,
                                             .forward = forward,
                                             .backward = backward,
                                             .flops = flops};

const struct lj_layer_kind lj_kind_linear_residual = {.name = "linear_residual",
                                                      .keeps_input = {false, true},
                                                      .passes_gradient = true,
                                                      .takes_bf16 = {false, true},
                                                      .shape = shape,
                                                      .forward = residual_forward,
                                                      .backward = residual_backward,
                                                      .flops = flops};

/* Adds the node and its parameters. init LJ_INIT_UNIFORM also draws the bias (PyTorch's default);
 * LJ_INIT_NORMAL leaves it 0 (timm). */
static lj_val add_linear(struct lj_net *net, const char *name, struct lj_node node, lj_val x,
                         int64_t width, enum lj_init init, double init_scale)
{
    struct lj_shape in = lj_net_shape(net, x);
    int64_t fan_in = lj_shape_features(&in);
    node.ints[0] = width;
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

lj_val lj_linear(struct lj_net *net, const char *name, lj_val x, int64_t width, enum lj_init init,
                 double init_scale)
{
    struct lj_node node = {.kind = &lj_kind_linear, .inputs = 1, .in = {x.index}};
    return add_linear(net, name, node, x, width, init, init_scale);
}

lj_val lj_linear_residual(struct lj_net *net, const char *name, lj_val trunk, lj_val x,
                          enum lj_init init, double init_scale)
{
    struct lj_shape shape = lj_net_shape(net, trunk);
    struct lj_node node = {
        .kind = &lj_kind_linear_residual, .inputs = 2, .in = {trunk.index, x.index}};
    return add_linear(net, name, node, x, lj_shape_features(&shape), init, init_scale);
}
