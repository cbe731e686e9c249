/* SPDX-License-Identifier: Apache-2.0 */
/* Cosines of rows x (C) with prototypes, the rows w_k of W (K, C): a linear layer without bias on
 * rows of length 1, normalised by weights of length 1 (Salimans & Kingma 2016 with g = 1), as the
 * end of DINO's head is. With u = x / |x| and l_k = |w_k|:
 *   y_k = u . w_k / l_k
 *   dW_k = 1 / l_k sum (dy_k u - dy_k y_k w_k / l_k), summed over the rows
 *   du = sum_k dy_k w_k / l_k     dx = (du - u (u . du)) / |x|
 * Weight decay shortens w_k, and so makes its steps longer, but does not turn it. While
 * pass->holds_prototypes, dW is 0.
 * ints: [0] K. Scratch: u and du, then l and the sums of dy y, then what a linear layer takes. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"
#include "nn/layers/linear_map.h"

#include <math.h>
#include <string.h>

static const double shortest = 1e-12; /* length that a direction is taken of */

/* The pieces of scratch, each from a 64-byte boundary. */
struct pieces {
    float *unit, *dunit;      /* (rows, C) */
    float *inverse, *product; /* (K) 1 / l; sums over rows of dy y */
    void *linear;
};

static int64_t floats(int64_t count)
{
    return lj_round_up(count * (int64_t)sizeof(float), 64) / (int64_t)sizeof(float);
}

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    LJ_TRY(lj_take_rows(node, &in[0]));
    int64_t rows = images * lj_shape_rows(&in[0]), C = lj_shape_features(&in[0]);
    *out = in[0];
    out->dim[out->dims - 1] = node->ints[0];
    need->scratch = 2 * (floats(rows * C) + floats(node->ints[0])) * (int64_t)sizeof(float) +
                    lj_linear_scratch(need->bf16, rows, C, node->ints[0]);
    return LJ_OK;
}

static int64_t rows_of(const struct lj_call *c)
{
    return c->images * lj_shape_rows(&c->in_shape[0]);
}

/* Also fills in u, 1 / l. */
static struct pieces take_pieces(const struct lj_call *c)
{
    int64_t rows = rows_of(c), C = lj_shape_features(&c->in_shape[0]), K = c->node->ints[0];
    struct pieces p = {.unit = c->scratch};
    const float *x = c->x[0];
    p.dunit = p.unit + floats(rows * C);
    p.inverse = p.dunit + floats(rows * C);
    p.product = p.inverse + floats(K);
    p.linear = p.product + floats(K);
    for (int64_t r = 0; r < rows; r++) {
        double length = sqrt(lj_kernels()->square_sum(x + r * C, C));
        for (int64_t j = 0; j < C; j++)
            p.unit[r * C + j] = (float)((double)x[r * C + j] / fmax(length, shortest));
    }
    for (int64_t k = 0; k < K; k++)
        p.inverse[k] =
            (float)(1 / fmax(sqrt(lj_kernels()->square_sum(c->param[0] + k * C, C)), shortest));
    return p;
}

static struct lj_rows unit_rows(const struct lj_call *c, const struct pieces *p)
{
    return (struct lj_rows){p->unit, LJ_F32, rows_of(c), lj_shape_features(&c->in_shape[0])};
}

static void forward(const struct lj_call *c)
{
    struct pieces p = take_pieces(c);
    int64_t K = c->node->ints[0];
    float *y = c->y;
    lj_linear_forward(c, unit_rows(c, &p), K, false, p.linear);
    for (int64_t r = 0; r < rows_of(c); r++)
        lj_kernels()->multiply(y + r * K, y + r * K, p.inverse, LJ_F32, K, false);
}

/* dy becomes dy / l, what the linear layer sees; before that its products with y are summed. */
static void scale_gradient(const struct lj_call *c, const struct pieces *p)
{
    int64_t K = c->node->ints[0];
    const float *y = c->y;
    float *dy = c->dy;
    memset(p->product, 0, (size_t)K * sizeof *p->product);
    for (int64_t r = 0; r < rows_of(c); r++) {
        lj_kernels()->multiply(p->product, dy + r * K, y + r * K, LJ_F32, K, true);
        lj_kernels()->multiply(dy + r * K, dy + r * K, p->inverse, LJ_F32, K, false);
    }
}

/* What lengthens a prototype does not change a cosine. */
static void project_weights(const struct lj_call *c, const struct pieces *p)
{
    int64_t K = c->node->ints[0], C = lj_shape_features(&c->in_shape[0]);
    for (int64_t k = 0; k < K; k++)
        lj_kernels()->axpy(c->dparam[0] + k * C, -p->product[k] * p->inverse[k] * p->inverse[k],
                           c->param[0] + k * C, C);
    if (c->pass->holds_prototypes)
        memset(c->dparam[0], 0, (size_t)(K * C) * sizeof(float));
}

static void input_gradient(const struct lj_call *c, const struct pieces *p)
{
    int64_t C = lj_shape_features(&c->in_shape[0]);
    const float *x = c->x[0];
    for (int64_t r = 0; r < rows_of(c); r++) {
        const float *u = p->unit + r * C, *du = p->dunit + r * C;
        float *dx = (float *)c->dx[0] + r * C;
        double along = 0, length = sqrt(lj_kernels()->square_sum(x + r * C, C));
        for (int64_t j = 0; j < C; j++)
            along += (double)u[j] * (double)du[j];
        for (int64_t j = 0; j < C; j++) {
            double d = ((double)du[j] - along * (double)u[j]) / fmax(length, shortest);
            dx[j] = (float)(c->dx_add[0] ? (double)dx[j] + d : d);
        }
    }
}

static void backward(const struct lj_call *c)
{
    struct pieces p = take_pieces(c);
    scale_gradient(c, &p);
    lj_linear_backward(c, unit_rows(c, &p), c->node->ints[0], c->dx[0] ? p.dunit : NULL, false,
                       p.linear);
    project_weights(c, &p);
    if (c->dx[0])
        input_gradient(c, &p);
}

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    return 2 * lj_shape_count(&in[0]) * node->ints[0];
}

const struct lj_layer_kind lj_kind_cosine = {.name = "cosine",
                                             .keeps_input = {true},
                                             .keeps_output = true,
                                             .shape = shape,
                                             .forward = forward,
                                             .backward = backward,
                                             .flops = flops};

lj_val lj_cosine(struct lj_net *net, const char *name, lj_val x, int64_t count)
{
    struct lj_shape in = lj_net_shape(net, x);
    struct lj_node node = {.kind = &lj_kind_cosine, .inputs = 1, .in = {x.index}, .ints = {count}};
    lj_val y = lj_net_add(net, node, name);
    int64_t width = lj_shape_features(&in);
    struct lj_param weight = {.dims = 2,
                              .dim = {count, width},
                              .matrix = true,
                              .init = LJ_INIT_NORMAL,
                              .init_scale = 1 / sqrt((double)lj_max_i64(width, 1))};
    char path[LJ_NAME_MAX];
    lj_net_param(net, y, weight, lj_join(path, name, "weight"));
    return y;
}
