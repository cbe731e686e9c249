/* SPDX-License-Identifier: Apache-2.0 */
/* Residual sum with stochastic depth (Huang et al. 2016; timm's DropPath): y = trunk + s branch,
 * where in training s is 0 with probability `rate` and 1 / (1 - rate) otherwise, drawn per sample
 * and view. real: rate; ints: [0] number of the layer. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images, (void)need;
    LJ_TRY(lj_take_rows(node, &in[0]));
    if (!lj_shape_equal(&in[0], &in[1]))
        return lj_refuse_shape(node, &in[1], "a branch of the trunk's shape");
    *out = in[0];
    return LJ_OK;
}

/* The factor of the branch for one image. Its draw is named by step, place in the global batch,
 * view and layer, never by rank. */
static float keep_scale(const struct lj_call *c, int64_t image)
{
    const struct lj_pass *pass = c->pass;
    double rate = c->node->real;
    if (!pass->train || pass->drops_nothing || rate <= 0)
        return 1;
    image += c->first_image;
    int64_t place = pass->first_sample + image % pass->n, view = pass->first_view + image / pass->n;
    struct lj_rng rng;
    lj_rng_begin(&rng, pass->seed, LJ_DRAW_DROP_PATH, (uint64_t)pass->step, (uint64_t)place,
                 (uint64_t)(view << 32 | c->node->ints[0]));
    return lj_rng_chance(&rng, rate) ? 0 : (float)(1 / (1 - rate));
}

static void forward(const struct lj_call *c)
{
    int64_t count = lj_shape_count(&c->in_shape[0]);
    const float *trunk = c->x[0];
    const char *branch = c->x[1];
    float *y = c->y;
    for (int64_t i = 0; i < c->images; i++)
        lj_kernels()->add_scaled(y + i * count, trunk + i * count, keep_scale(c, i),
                                 branch + i * count * lj_type_bytes(c->x_type[1]), c->x_type[1],
                                 count);
}

void lj_pass_gradient(const struct lj_call *call)
{
    if (call->dx[0] && call->dx[0] != call->dy)
        lj_kernels()->scale(call->dx[0], LJ_F32, 1, call->dy,
                            call->images * lj_shape_count(&call->out_shape), call->dx_add[0]);
}

static void backward(const struct lj_call *c)
{
    int64_t count = lj_shape_count(&c->in_shape[0]);
    const float *dy = c->dy;
    char *branch = c->dx[1];
    lj_pass_gradient(c);
    for (int64_t i = 0; i < c->images; i++)
        lj_kernels()->scale(branch + i * count * lj_type_bytes(c->x_type[1]), c->x_type[1],
                            keep_scale(c, i), dy + i * count, count, c->dx_add[1]);
}

const struct lj_layer_kind lj_kind_residual = {.name = "residual",
                                               .passes_gradient = true,
                                               .takes_bf16 = {false, true},
                                               .shape = shape,
                                               .forward = forward,
                                               .backward = backward};

lj_val lj_residual(struct lj_net *net, const char *name, lj_val trunk, lj_val branch,
                   double drop_rate, int64_t layer)
{
    struct lj_node node = {.kind = &lj_kind_residual,
                           .inputs = 2,
                           .in = {trunk.index, branch.index},
                           .real = drop_rate,
                           .ints = {layer}};
    return lj_net_add(net, node, name);
}
