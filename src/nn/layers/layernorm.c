/* SPDX-License-Identifier: Apache-2.0 */
/* Layer normalisation over the last axis (Ba et al. 2016): y = (x - mean) rstd w + b, with
 * rstd = 1 / sqrt(var + eps), biased variance. Saved: mean and rstd of each row.
 * real: eps. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <string.h>

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)(void)images;
    LJ_TRY(lj_take_rows(node, &in[0]));
    *out = in[0];
    need->saved = 2 * lj_shape_rows(&in[0]);
    return LJ_OK;
}

static void forward(const struct lj_call *c)
{
    int64_t rows = c->images * lj_shape_rows(&c->in_shape[0]);
    int64_t width = lj_shape_features(&c->in_shape[0]);
    lj_kernels()->layernorm(c->y, c->y_type, c->saved, c->saved + rows, c->x[0], c->param[0],
                            c->param[1], rows, width, (float)c->node->real);
}

static void backward(const struct lj_call *c)
{
    int64_t rows = c->images * lj_shape_rows(&c->in_shape[0]);
    int64_t width = lj_shape_features(&c->in_shape[0]);
    for (int p = 0; p < 2 && !c->dparam_add; p++)
        memset(c->dparam[p], 0, (size_t)width * sizeof(float));
    lj_kernels()->layernorm_backward(c->dx[0], c->dparam[0], c->dparam[1], c->dy, c->y_type,
                                     c->x[0], c->param[0], c->saved, c->saved + rows, rows, width,
                                     c->dx_add[0]);
}

const struct lj_layer_kind lj_kind_layernorm = {.name = "layernorm",
                                                .keeps_input = {true},
                                                .gives_bf16 = true,
                                                .shape = shape,
                                                .forward = forward,
                                                .backward = backward};

lj_val lj_layernorm(struct lj_net *net, const char *name, lj_val x, double eps)
{
    struct lj_shape in = lj_net_shape(net, x);
    int64_t width = lj_shape_features(&in);
    struct lj_node node = {.kind = &lj_kind_layernorm, .inputs = 1, .in = {x.index}, .real = eps};
    lj_val y = lj_net_add(net, node, name);
    char path[LJ_NAME_MAX];
    struct lj_param weight = {.dims = 1, .dim = {width}, .init = LJ_INIT_ONE};
    struct lj_param bias = {.dims = 1, .dim = {width}, .init = LJ_INIT_ZERO};
    lj_net_param(net, y, weight, lj_join(path, name, "weight"));
    lj_net_param(net, y, bias, lj_join(path, name, "bias"));
    return y;
}
