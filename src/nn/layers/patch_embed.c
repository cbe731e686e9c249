/* SPDX-License-Identifier: Apache-2.0 */
/* Patch embedding: a convolution of stride = kernel = patch, as a matmul. The image (C, H, W)
 * becomes rows of patches (T, C p p), T = (H/p)(W/p) in row order; y = rows W^T + b, W (width, C,
 * p, p). ints: [0] patch, [1] width. Scratch: the rows, then that of the matmuls. The gradient at
 * the images is never computed. */
#include "nn/layers/build.h"

#include "nn/layers/linear_map.h"

#include <math.h>
#include <string.h>

static int64_t rows_bytes(int64_t count)
{
    return lj_round_up(count * (int64_t)sizeof(float), 64);
}

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    int64_t patch = node->ints[0], height = in[0].dim[1], width = in[0].dim[2];
    LJ_TRY(lj_take_dims(node, &in[0], 3, 3, "an image (C, H, W)"));
    if (height % patch != 0 || width % patch != 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "model.patch: %lld does not divide the view of %lld x %lld pixels; set "
                       "views.global_size and views.local_size to multiples of the patch, or "
                       "another model.patch",
                       (long long)patch, (long long)height, (long long)width);
    int64_t tokens = (height / patch) * (width / patch);
    *out = (struct lj_shape){.dims = 2, .dim = {tokens, node->ints[1]}};
    int64_t features = in[0].dim[0] * patch * patch;
    need->scratch = rows_bytes(images * tokens * features) +
                    lj_linear_scratch(need->bf16, images * tokens, features, node->ints[1]);
    return LJ_OK;
}

/* rows (T, C, p, p) of one image. */
static void cut_patches(float *rows, const float *image, const struct lj_shape *in, int64_t patch)
{
    int64_t channels = in->dim[0], height = in->dim[1], width = in->dim[2];
    for (int64_t top = 0; top < height; top += patch)
        for (int64_t left = 0; left < width; left += patch)
            for (int64_t c = 0; c < channels; c++)
                for (int64_t y = 0; y < patch; y++, rows += patch)
                    memcpy(rows, image + (c * height + top + y) * width + left,
                           (size_t)patch * sizeof *rows);
}

static struct lj_rows cut_all(const struct lj_call *c)
{
    int64_t count = lj_shape_count(&c->in_shape[0]), tokens = c->out_shape.dim[0];
    const float *images = c->x[0];
    float *rows = c->scratch;
    for (int64_t i = 0; i < c->images; i++)
        cut_patches(rows + i * count, images + i * count, &c->in_shape[0], c->node->ints[0]);
    return (struct lj_rows){rows, LJ_F32, c->images * tokens, count / tokens};
}

static void *after_rows(const struct lj_call *c, struct lj_rows rows)
{
    return (char *)c->scratch + rows_bytes(rows.rows * rows.width);
}

static void forward(const struct lj_call *c)
{
    struct lj_rows rows = cut_all(c);
    lj_linear_forward(c, rows, c->node->ints[1], false, after_rows(c, rows));
}

static void backward(const struct lj_call *c)
{
    struct lj_rows rows = cut_all(c);
    lj_linear_backward(c, rows, c->node->ints[1], NULL, false, after_rows(c, rows));
}

static int64_t flops(const struct lj_node *node, const struct lj_shape *in)
{
    return 2 * lj_shape_count(&in[0]) * node->ints[1];
}

const struct lj_layer_kind lj_kind_patch_embed = {.name = "patch_embed",
                                                  .keeps_input = {true},
                                                  .shape = shape,
                                                  .forward = forward,
                                                  .backward = backward,
                                                  .flops = flops};

/* Initialised as PyTorch's Conv2d: U(-1/sqrt(fan in), 1/sqrt(fan in)). */
lj_val lj_patch_embed(struct lj_net *net, const char *name, lj_val x, int64_t patch, int64_t width)
{
    int64_t channels = lj_net_shape(net, x).dim[0];
    struct lj_node node = {
        .kind = &lj_kind_patch_embed, .inputs = 1, .in = {x.index}, .ints = {patch, width}};
    lj_val y = lj_net_add(net, node, name);
    char path[LJ_NAME_MAX];
    double bound = 1 / sqrt((double)(channels * patch * patch));
    struct lj_param weight = {.dims = 4,
                              .dim = {width, channels, patch, patch},
                              .matrix = true,
                              .init = LJ_INIT_UNIFORM,
                              .init_scale = bound};
    struct lj_param bias = {
        .dims = 1, .dim = {width}, .init = LJ_INIT_UNIFORM, .init_scale = bound};
    lj_net_param(net, y, weight, lj_join(path, name, "proj.weight"));
    lj_net_param(net, y, bias, lj_join(path, name, "proj.bias"));
    return y;
}
