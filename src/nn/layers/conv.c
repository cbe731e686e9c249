/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution of a map (H, W, C), W (width, C, k, k) as PyTorch stores it:
 *   y[i, j] = b + sum over u, v < k of W[:, :, u, v] x[i s + u - padding, j s + v - padding],
 * s the stride and x = 0 outside, of shape (H', W', width), H' = (H + 2 padding - k) / s + 1. As
 * matmuls of unfolded windows; a 1 x 1 convolution of stride 1 is a linear layer.
 *   conv  from a map, channels last
 *   stem  from the images, planes (C, H, W); the gradient at them is never computed
 * ints: [0] width, [1] kernel, [2] stride, [3] padding. Scratch: some rows, their gradient, then
 * that of the matmuls. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"
#include "nn/layers/linear_map.h"
#include "nn/layers/unfold.h"

#include <math.h>
#include <string.h>

static struct lj_windows windows_of(const struct lj_node *node, const struct lj_shape *in)
{
    bool planes = node->kind == &lj_kind_stem;
    struct lj_windows w = {.planes = planes,
                           .channels = in->dim[planes ? 0 : 2],
                           .height = in->dim[planes ? 1 : 0],
                           .width = in->dim[planes ? 2 : 1],
                           .kernel = node->ints[1],
                           .stride = node->ints[2],
                           .padding = node->ints[3]};
    lj_windows_count(&w);
    return w;
}

/* Are the rows of the input those of the matmul? */
static bool pointwise(const struct lj_windows *w)
{
    return !w->planes && w->kernel == 1 && w->stride == 1 && w->padding == 0;
}

static int64_t rows_bytes(int64_t count)
{
    return lj_round_up(count * (int64_t)sizeof(float), 64);
}

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    bool planes = node->kind == &lj_kind_stem;
    LJ_TRY(lj_take_dims(node, &in[0], 3, 3, planes ? "an image (C, H, W)" : "a map (H, W, C)"));
    struct lj_windows w = windows_of(node, &in[0]);
    if (w.lines < 1 || w.columns < 1)
        return lj_refuse_shape(node, &in[0], "a map as large as the kernel, padding included");
    *out = (struct lj_shape){.dims = 3, .dim = {w.lines, w.columns, node->ints[0]}};
    int64_t rows = lj_min_i64(lj_windows_at_once(&w), images * w.lines) * w.columns;
    int64_t features = lj_windows_features(&w);
    need->scratch =
        pointwise(&w)
            ? lj_linear_scratch(need->bf16, images * w.lines * w.columns, features, node->ints[0])
            : 2 * rows_bytes(rows * features) +
                  lj_linear_scratch(need->bf16, rows, features, node->ints[0]);
    return LJ_OK;
}

/* The rows of x, where no windows need to be unfolded. */
static struct lj_rows all_rows(const struct lj_call *c, const struct lj_windows *w)
{
    return (struct lj_rows){c->x[0], c->x_type[0], c->images * w->lines * w->columns, w->channels};
}

/* What the matmuls of a few lines of windows work on: y, dy and dparam_add of the call. */
struct part {
    struct lj_call call;
    int64_t first, count; /* lines */
    struct lj_rows rows;  /* unfolded */
    float *row_gradient;
    void *scratch; /* of the matmuls */
};

/* Moves on to the next lines, and unfolds them; false after the last one. Begins with a zeroed
 * part. */
static bool next_part(const struct lj_call *c, const struct lj_windows *w, struct part *part)
{
    int64_t features = lj_windows_features(w), lines = c->images * w->lines;
    int64_t most = lj_min_i64(lj_windows_at_once(w), lines);
    part->first += part->count;
    part->count = lj_min_i64(most, lines - part->first);
    if (part->count <= 0)
        return false;
    int64_t done = part->first * w->columns * c->node->ints[0] * lj_type_bytes(c->y_type);
    part->call = *c;
    part->call.y = (char *)c->y + done;
    part->call.dy = (char *)c->dy + (c->dy ? done : 0);
    part->call.dparam_add = c->dparam_add || part->first > 0;
    char *scratch = c->scratch;
    part->rows = (struct lj_rows){scratch, c->x_type[0], part->count * w->columns, features};
    part->row_gradient = (float *)(scratch + rows_bytes(most * w->columns * features));
    part->scratch = scratch + 2 * rows_bytes(most * w->columns * features);
    lj_unfold(w, part->first, part->count, c->x[0], c->x_type[0], scratch);
    return true;
}

static void forward(const struct lj_call *c)
{
    struct lj_windows w = windows_of(c->node, &c->in_shape[0]);
    struct part part = {.count = 0};
    if (pointwise(&w)) {
        lj_linear_forward(c, all_rows(c, &w), c->node->ints[0], false, c->scratch);
        return;
    }
    while (next_part(c, &w, &part))
        lj_linear_forward(&part.call, part.rows, c->node->ints[0], false, part.scratch);
}

static void backward(const struct lj_call *c)
{
    struct lj_windows w = windows_of(c->node, &c->in_shape[0]);
    struct part part = {.count = 0};
    if (pointwise(&w)) {
        lj_linear_backward(c, all_rows(c, &w), c->node->ints[0], c->dx[0], c->dx_add[0],
                           c->scratch);
        return;
    }
    if (c->dx[0] && !c->dx_add[0])
        memset(c->dx[0], 0, (size_t)(c->images * lj_shape_count(&c->in_shape[0])) * sizeof(float));
    while (next_part(c, &w, &part)) {
        lj_linear_backward(&part.call, part.rows, c->node->ints[0],
                           c->dx[0] ? part.row_gradient : NULL, false, part.scratch);
        if (c->dx[0])
            lj_fold(&w, part.first, part.count, part.row_gradient, c->dx[0]);
    }
}

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    struct lj_windows w = windows_of(node, in);
    return 2 * w.lines * w.columns * lj_windows_features(&w) * node->ints[0];
}

const struct lj_layer_kind lj_kind_conv = {.name = "conv",
                                           .keeps_input = {true},
                                           .gives_bf16 = true,
                                           .shape = shape,
                                           .forward = forward,
                                           .backward = backward,
                                           .flops = flops};

const struct lj_layer_kind lj_kind_stem = {.name = "stem",
                                           .keeps_input = {true},
                                           .gives_bf16 = true,
                                           .shape = shape,
                                           .forward = forward,
                                           .backward = backward,
                                           .flops = flops};

/* init LJ_INIT_UNIFORM also draws the bias (PyTorch's default); others leave it 0. */
static lj_val add_conv(struct lj_net *net, const struct lj_layer_kind *kind, const char *name,
                       lj_val x, struct lj_conv_shape shape, enum lj_init init, double init_scale)
{
    struct lj_shape in = lj_net_shape(net, x);
    struct lj_node node = {.kind = kind,
                           .inputs = 1,
                           .in = {x.index},
                           .ints = {shape.width, shape.kernel, shape.stride, shape.padding}};
    lj_val y = lj_net_add(net, node, name);
    char path[LJ_NAME_MAX];
    struct lj_param weight = {
        .dims = 4,
        .dim = {shape.width, in.dim[kind == &lj_kind_stem ? 0 : 2], shape.kernel, shape.kernel},
        .matrix = true,
        .init = init,
        .init_scale = init_scale};
    struct lj_param bias = {.dims = 1,
                            .dim = {shape.width},
                            .init_scale = init_scale,
                            .init = init == LJ_INIT_UNIFORM ? LJ_INIT_UNIFORM : LJ_INIT_ZERO};
    lj_net_param(net, y, weight, lj_join(path, name, "weight"));
    if (shape.bias)
        lj_net_param(net, y, bias, lj_join(path, name, "bias"));
    return y;
}

lj_val lj_conv(struct lj_net *net, const char *name, lj_val x, struct lj_conv_shape shape,
               enum lj_init init, double init_scale)
{
    return add_conv(net, &lj_kind_conv, name, x, shape, init, init_scale);
}

lj_val lj_stem(struct lj_net *net, const char *name, lj_val x, struct lj_conv_shape shape,
               enum lj_init init, double init_scale)
{
    return add_conv(net, &lj_kind_stem, name, x, shape, init, init_scale);
}
