/* SPDX-License-Identifier: Apache-2.0 */
/* Elementwise activations: exact GELU y = x Phi(x) (Hendrycks & Gimpel 2016), ReLU y = max(x, 0). */
#include "nn/nn_build.h"

#include "kernels/kernels.h"

static int same_shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                      struct lj_shape *out, struct lj_need *need)
{
    (void)node, (void)images, (void)need;
    *out = in[0];
    return LJ_OK;
}

static int64_t elements(const struct lj_call *c)
{
    return c->images * lj_shape_count(&c->in_shape[0]);
}

/* Forward also makes the derivative, which shares its exponential; backward only multiplies. */
static int gelu_shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                      struct lj_shape *out, struct lj_need *need)
{
    need->saved = (lj_shape_count(&in[0]) * lj_type_bytes(need->type) + 3) / 4;
    return same_shape(node, in, images, out, need);
}

static void gelu_forward(const struct lj_call *c)
{
    lj_kernels()->gelu(c->y, c->saved, c->x[0], c->y_type, elements(c));
}

static void gelu_backward(const struct lj_call *c)
{
    lj_kernels()->multiply(c->dx[0], c->dy, c->saved, c->y_type, elements(c), c->dx_add[0]);
}

const struct lj_layer_kind lj_kind_gelu = {.name = "gelu",
                                           .takes_narrow = {true},
                                           .gives_narrow = true,
                                           .one_type = true,
                                           .shape = gelu_shape,
                                           .forward = gelu_forward,
                                           .backward = gelu_backward};

lj_val lj_gelu(struct lj_net *net, const char *name, lj_val x)
{
    return lj_net_add(net, (struct lj_node){.kind = &lj_kind_gelu, .inputs = 1, .in = {x.index}},
                      name);
}

/* NaN stays NaN, so that a broken step is seen. */
static void relu_forward(const struct lj_call *c)
{
    const float *x = c->x[0];
    float *y = c->y;
    for (int64_t i = 0, count = elements(c); i < count; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
}

static void relu_backward(const struct lj_call *c)
{
    const float *y = c->y, *dy = c->dy;
    float *dx = c->dx[0];
    for (int64_t i = 0, count = elements(c); i < count; i++) {
        float d = y[i] > 0 ? dy[i] : 0;
        dx[i] = c->dx_add[0] ? dx[i] + d : d;
    }
}

const struct lj_layer_kind lj_kind_relu = {.name = "relu",
                                           .keeps_output = true,
                                           .shape = same_shape,
                                           .forward = relu_forward,
                                           .backward = relu_backward};

lj_val lj_relu(struct lj_net *net, const char *name, lj_val x)
{
    return lj_net_add(net, (struct lj_node){.kind = &lj_kind_relu, .inputs = 1, .in = {x.index}},
                      name);
}
