/* SPDX-License-Identifier: Apache-2.0 */
/* Multi-head self-attention between the qkv and output projections (Vaswani et al. 2017; timm's
 * layout: columns q | k | v, each cut into heads of d = C / heads):
 *   S = Q K^T / sqrt(d)    P = softmax(S)    O = P V
 *   dV = P^T dO    dP = dO V^T    dS = P (dP - rowsum(P dP))    dQ = dS K / sqrt(d)    dK = dS^T Q / sqrt(d)
 * No T x T array outlives a head: backward makes P again from the saved log of each row's sum.
 * ints: [0] heads. Saved: (images, heads, T). Scratch: two T x T. */
#include "nn_build.h"

#include "lejepa/kernels.h"

#include <math.h>

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    int64_t tokens = in[0].dim[0], width = in[0].dim[1] / 3, heads = node->ints[0];
    if (heads < 1 || width % heads != 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "model.width: %lld is not a multiple of model.heads %lld; change one",
                       (long long)width, (long long)heads);
    *out = (struct lj_shape){.dims = 2, .dim = {tokens, width}};
    need->saved = images * heads * tokens;
    need->scratch = 2 * tokens * tokens;
    return LJ_OK;
}

/* Sizes and places of one head of one image. */
struct head {
    int64_t tokens, width, size, stride; /* stride of qkv rows */
    const float *q, *k, *v;
    float *logsum;
    int64_t column; /* of the head in rows of width */
    float scale;
};

static struct head find_head(const struct lj_call *c, int64_t image, int64_t h)
{
    int64_t tokens = c->in_shape[0].dim[0], stride = c->in_shape[0].dim[1];
    int64_t heads = c->node->ints[0], width = stride / 3, size = width / heads;
    const float *q = c->x[0] + image * tokens * stride + h * size;
    return (struct head){.tokens = tokens,
                         .width = width,
                         .size = size,
                         .stride = stride,
                         .q = q,
                         .k = q + width,
                         .v = q + 2 * width,
                         .logsum = c->saved + (image * heads + h) * tokens,
                         .column = image * tokens * width + h * size,
                         .scale = 1.0f / sqrtf((float)size)};
}

static void forward_head(const struct lj_call *c, struct head a)
{
    float *p = c->scratch;
    int64_t t = a.tokens;
    lj_gemm(false, true, t, t, a.size, 1, a.q, a.stride, a.k, a.stride, 0, p, t);
    for (int64_t r = 0; r < t; r++)
        a.logsum[r] = lj_kernels()->softmax(p + r * t, t, a.scale);
    lj_gemm(false, false, t, a.size, t, 1, p, t, a.v, a.stride, 0, c->y + a.column, a.width);
}

static void forward(const struct lj_call *c)
{
    for (int64_t i = 0; i < c->images; i++)
        for (int64_t h = 0; h < c->node->ints[0]; h++)
            forward_head(c, find_head(c, i, h));
}

static void backward_head(const struct lj_call *c, struct head a)
{
    const struct lj_kernels *kernels = lj_kernels();
    int64_t t = a.tokens;
    float *p = c->scratch, *dp = c->scratch + t * t, beta = c->dx_add[0] ? 1.0f : 0.0f;
    float *dq = c->dx[0] + (a.q - c->x[0]), *dk = dq + a.width, *dv = dk + a.width;
    const float *dout = c->dy + a.column;
    lj_gemm(false, true, t, t, a.size, 1, a.q, a.stride, a.k, a.stride, 0, p, t);
    lj_gemm(false, true, t, t, a.size, 1, dout, a.width, a.v, a.stride, 0, dp, t);
    for (int64_t r = 0; r < t; r++)
        kernels->softmax_again(p + r * t, t, a.scale, a.logsum[r]);
    lj_gemm(true, false, t, a.size, t, 1, p, t, dout, a.width, beta, dv, a.stride);
    for (int64_t r = 0; r < t; r++)
        kernels->softmax_backward(dp + r * t, p + r * t, t, a.scale);
    lj_gemm(false, false, t, a.size, t, 1, dp, t, a.k, a.stride, beta, dq, a.stride);
    lj_gemm(true, false, t, a.size, t, 1, dp, t, a.q, a.stride, beta, dk, a.stride);
}

static void backward(const struct lj_call *c)
{
    for (int64_t i = 0; i < c->images; i++)
        for (int64_t h = 0; h < c->node->ints[0]; h++)
            backward_head(c, find_head(c, i, h));
}

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    (void)node;
    return 2 * 2 * in[0].dim[0] * in[0].dim[0] * in[0].dim[1] / 3;
}

const struct lj_layer_kind lj_kind_attention = {.name = "attention",
                                                .keeps_input = {true},
                                                .shape = shape,
                                                .forward = forward,
                                                .backward = backward,
                                                .flops = flops};

lj_val lj_attention(struct lj_net *net, const char *name, lj_val qkv, int64_t heads)
{
    struct lj_node node = {
        .kind = &lj_kind_attention, .inputs = 1, .in = {qkv.index}, .ints = {heads}};
    return lj_net_add(net, node, name);
}
