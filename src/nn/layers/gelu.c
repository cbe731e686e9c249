/* SPDX-License-Identifier: Apache-2.0 */
/* GELU, exact: y = x Phi(x) (Hendrycks & Gimpel 2016). */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

static int64_t elements(const struct lj_call *c)
{
    return c->images * lj_shape_count(&c->in_shape[0]);
}

/* Forward also makes the derivative, which shares its exponential; backward only multiplies. */
static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)(void)images;
    LJ_TRY(lj_take_rows(node, &in[0]));
    need->saved = (lj_shape_count(&in[0]) * lj_type_bytes(need->type) + 3) / 4;
    *out = in[0];
    return LJ_OK;
}

static void forward(const struct lj_call *c)
{
    lj_kernels()->gelu(c->y, c->saved, c->x[0], c->y_type, elements(c));
}

static void backward(const struct lj_call *c)
{
    lj_kernels()->multiply(c->dx[0], c->dy, c->saved, c->y_type, elements(c), c->dx_add[0]);
}

const struct lj_layer_kind lj_kind_gelu = {.name = "gelu",
                                           .takes_bf16 = {true},
                                           .gives_bf16 = true,
                                           .one_type = true,
                                           .shape = shape,
                                           .forward = forward,
                                           .backward = backward};

lj_val lj_gelu(struct lj_net *net, const char *name, lj_val x)
{
    return lj_net_add(net, (struct lj_node){.kind = &lj_kind_gelu, .inputs = 1, .in = {x.index}},
                      name);
}
