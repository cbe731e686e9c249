/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution of a map (H, W, C), W (width, C, k, k) as PyTorch stores it:
 *   y[i, j] = b + sum over u, v < k of W[:, :, u, v] x[i s + u - padding, j s + v - padding],
 * s the stride and x = 0 outside, of shape (H', W', width), H' = (H + 2 padding - k) / s + 1.
 *   conv            from a map; with a 1 x 1 kernel at stride 1 it is a linear layer
 *   conv_depthwise  each channel by itself, W (C, 1, k, k)
 *   stem            from the images, planes (C, H, W), which are first made maps; the gradient at
 *                   them is never computed
 * dx and dW are convolutions of dy with W, and of x with dy; db = sums of dy.
 * ints: [0] width, [1] kernel, [2] stride, [3] padding. Scratch: x as a map, x and dy rounded, and
 * the dx of some images where it is to be added. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"
#include "nn/layers/linear_map.h"
#include "nn/packing.h"

/* Elements of dx that are computed before they are added: they stay in the second-level cache. */
enum { ADDED_AT_ONCE = 1 << 17 };

static bool from_planes(const struct lj_node *node)
{
    return node->kind == &lj_kind_stem;
}

/* One image's input as a map (H, W, C). */
static struct lj_shape map_of(const struct lj_node *node, const struct lj_shape *in)
{
    if (!from_planes(node))
        return *in;
    return (struct lj_shape){.dims = 3, .dim = {in->dim[1], in->dim[2], in->dim[0]}};
}

static struct lj_convolution convolution_of(const struct lj_node *node, const struct lj_shape *in)
{
    struct lj_shape map = map_of(node, in);
    return (struct lj_convolution){.images = 1,
                                   .height = map.dim[0],
                                   .width = map.dim[1],
                                   .channels = map.dim[2],
                                   .out = node->ints[0],
                                   .kernel = node->ints[1],
                                   .stride = node->ints[2],
                                   .padding = node->ints[3],
                                   .depthwise = node->kind == &lj_kind_conv_depthwise};
}

/* Is it a linear layer? */
static bool pointwise(const struct lj_node *node)
{
    return node->kind == &lj_kind_conv && node->ints[1] == 1 && node->ints[2] == 1 &&
           node->ints[3] == 0;
}

/* ---- memory ------------------------------------------------------------------------------ */

static int64_t images_added_at_once(const struct lj_shape *map)
{
    return lj_max_i64(ADDED_AT_ONCE / lj_shape_count(map), 1);
}

static int64_t float_bytes(int64_t count)
{
    return lj_round_up(count * (int64_t)sizeof(float), 64);
}

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    LJ_TRY(lj_take_dims(node, &in[0], 3, 3,
                        from_planes(node) ? "an image (C, H, W)" : "a map (H, W, C)"));
    struct lj_shape map = map_of(node, &in[0]);
    struct lj_convolution p = convolution_of(node, &in[0]);
    int64_t height = lj_convolution_height(&p), width = lj_convolution_width(&p);
    if (height < 1 || width < 1)
        return lj_refuse_shape(node, &in[0], "a map as large as the kernel, padding included");
    *out = (struct lj_shape){.dims = 3, .dim = {height, width, p.out}};
    if (pointwise(node)) {
        need->scratch =
            lj_linear_scratch(need->bf16, images * lj_shape_rows(&map), p.channels, p.out);
        return LJ_OK;
    }
    int64_t x = images * lj_shape_count(&map), y = images * lj_shape_count(out);
    need->scratch =
        float_bytes(lj_min_i64(images, images_added_at_once(&map)) * lj_shape_count(&map));
    if (from_planes(node))
        need->scratch = float_bytes(x);
    if (need->bf16)
        need->scratch += lj_rounded_bytes(x) + lj_rounded_bytes(y);
    return LJ_OK;
}

/* ---- the passes -------------------------------------------------------------------------- */

/* What a call works on. */
struct operands {
    struct lj_convolution convolution;
    struct lj_rows x, y; /* y without its data */
    float *spare;        /* the first part of scratch */
    void *scratch;       /* what is left */
};

/* (images, H, W, C) from planes (images, C, H, W). */
static void make_maps(float *maps, const float *images, int64_t count, const struct lj_shape *map)
{
    int64_t pixels = lj_shape_rows(map), channels = lj_shape_features(map);
    for (int64_t i = 0; i < count * channels; i++, images += pixels) {
        float *to = maps + i / channels * channels * pixels + i % channels;
        for (int64_t p = 0; p < pixels; p++)
            to[p * channels] = images[p];
    }
}

static struct operands operands_of(const struct lj_call *c)
{
    struct lj_shape map = map_of(c->node, &c->in_shape[0]);
    struct operands o = {
        .convolution = convolution_of(c->node, &c->in_shape[0]),
        .x = {c->x[0], c->x_type[0], c->images * lj_shape_rows(&map), lj_shape_features(&map)},
        .y = {NULL, c->y_type, c->images * lj_shape_rows(&c->out_shape), c->node->ints[0]},
        .spare = c->scratch};
    int64_t spare = lj_min_i64(c->images, images_added_at_once(&map));
    o.convolution.images = c->images;
    o.convolution.input = c->bf16 ? LJ_BF16 : LJ_F32;
    if (from_planes(c->node)) {
        spare = c->images;
        make_maps(o.spare, c->x[0], c->images, &map);
        o.x.data = o.spare;
    }
    o.scratch = (char *)c->scratch + float_bytes(spare * lj_shape_count(&map));
    return o;
}

/* Runs a pass that reads W, in the packed form if there is one. */
static void convolve(const struct lj_call *c, struct lj_convolution p, const void *from,
                     const float *bias, void *to)
{
    p.packed = c->packed[p.pass] != NULL;
    lj_convolve(&p, from, p.packed ? c->packed[p.pass] : c->param[0], bias, to);
}

static void forward(const struct lj_call *c)
{
    struct operands o = operands_of(c);
    o.convolution.pass = LJ_CONVOLUTION_FORWARD;
    o.convolution.output = c->y_type;
    convolve(c, o.convolution, lj_matmul_input(o.x, c->bf16, &o.scratch), c->param[1], c->y);
}

/* dx += in parts of a few images; such a dx has two readers, and so is float32. */
static void add_input_gradient(const struct lj_call *c, const struct operands *o, const void *dy)
{
    struct lj_convolution p = o->convolution;
    int64_t image_x = lj_shape_count(&c->in_shape[0]), image_y = lj_shape_count(&c->out_shape);
    int64_t most = images_added_at_once(&c->in_shape[0]);
    LJ_CHECK(c->x_type[0] == LJ_F32, "%s: a sum of gradients in bf16", c->node->name);
    for (int64_t first = 0; first < c->images; first += most) {
        p.images = lj_min_i64(most, c->images - first);
        convolve(c, p, (const char *)dy + first * image_y * lj_type_bytes(p.input), NULL, o->spare);
        lj_kernels()->add((float *)c->dx[0] + first * image_x, o->spare, p.images * image_x);
    }
}

static void backward(const struct lj_call *c)
{
    struct operands o = operands_of(c);
    struct lj_rows gradient = o.y;
    gradient.data = c->dy;
    const void *dy = lj_matmul_input(gradient, c->bf16, &o.scratch);
    o.convolution.pass = LJ_CONVOLUTION_INPUT_GRADIENT;
    o.convolution.output = c->x_type[0];
    if (c->dx[0] && c->dx_add[0])
        add_input_gradient(c, &o, dy);
    else if (c->dx[0])
        convolve(c, o.convolution, dy, NULL, c->dx[0]);
    o.convolution.pass = LJ_CONVOLUTION_WEIGHT_GRADIENT;
    o.convolution.add = c->dparam_add;
    lj_convolve(&o.convolution, lj_matmul_input(o.x, c->bf16, &o.scratch), dy, NULL, c->dparam[0]);
    lj_bias_gradient(c, o.y.rows, o.y.width);
}

/* ---- 1 x 1 kernels ----------------------------------------------------------------------- */

static struct lj_rows rows_of(const struct lj_call *c)
{
    const struct lj_shape *in = &c->in_shape[0];
    return (struct lj_rows){c->x[0], c->x_type[0], c->images * lj_shape_rows(in),
                            lj_shape_features(in)};
}

static void conv_forward(const struct lj_call *c)
{
    if (pointwise(c->node))
        lj_linear_forward(c, rows_of(c), c->node->ints[0], false, c->scratch);
    else
        forward(c);
}

static void conv_backward(const struct lj_call *c)
{
    if (pointwise(c->node))
        lj_linear_backward(c, rows_of(c), c->node->ints[0], c->dx[0], c->dx_add[0], c->scratch);
    else
        backward(c);
}

/* ---- kinds ------------------------------------------------------------------------------- */

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    struct lj_convolution p = convolution_of(node, in);
    int64_t window = (p.depthwise ? 1 : p.channels) * p.kernel * p.kernel;
    return 2 * lj_convolution_height(&p) * lj_convolution_width(&p) * p.out * window;
}

const struct lj_layer_kind lj_kind_conv = {.name = "conv",
                                           .keeps_input = {true},
                                           .takes_bf16 = {true},
                                           .gives_bf16 = true,
                                           .shape = shape,
                                           .forward = conv_forward,
                                           .backward = conv_backward,
                                           .flops = flops};

const struct lj_layer_kind lj_kind_conv_depthwise = {.name = "conv_depthwise",
                                                     .keeps_input = {true},
                                                     .takes_bf16 = {true},
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

/* ---- builders ---------------------------------------------------------------------------- */

/* Adds the node and its parameters. init LJ_INIT_UNIFORM also draws the bias (PyTorch's default);
 * others leave it 0. */
static lj_val add_conv(struct lj_net *net, const struct lj_layer_kind *kind, const char *name,
                       lj_val x, struct lj_conv_shape shape, enum lj_init init, double init_scale)
{
    struct lj_node node = {.kind = kind,
                           .inputs = 1,
                           .in = {x.index},
                           .ints = {shape.width, shape.kernel, shape.stride, shape.padding}};
    bool depthwise = kind == &lj_kind_conv_depthwise;
    struct lj_shape in = lj_net_shape(net, x), map = map_of(&node, &in);
    lj_val y = lj_net_add(net, node, name);
    char path[LJ_NAME_MAX];
    struct lj_param weight = {
        .dims = 4,
        .dim = {shape.width, depthwise ? 1 : map.dim[2], shape.kernel, shape.kernel},
        .matrix = true,
        .reader = depthwise          ? LJ_READER_DEPTHWISE
                  : pointwise(&node) ? LJ_READER_MATMUL
                                     : LJ_READER_CONVOLUTION,
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

lj_val lj_conv_depthwise(struct lj_net *net, const char *name, lj_val x, int64_t kernel, bool bias,
                         enum lj_init init, double init_scale)
{
    struct lj_shape in = lj_net_shape(net, x);
    struct lj_conv_shape shape = {in.dim[2], kernel, 1, kernel / 2, bias};
    return add_conv(net, &lj_kind_conv_depthwise, name, x, shape, init, init_scale);
}

lj_val lj_stem(struct lj_net *net, const char *name, lj_val x, struct lj_conv_shape shape,
               enum lj_init init, double init_scale)
{
    return add_conv(net, &lj_kind_stem, name, x, shape, init, init_scale);
}
