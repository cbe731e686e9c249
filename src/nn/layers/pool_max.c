/* SPDX-License-Identifier: Apache-2.0 */
/* Max pooling of positions (H, W, C): each output position takes, feature by feature, the largest
 * value of a square window of positions. Windows reach `padding` positions beyond the edges, where
 * nothing is.
 *   dx += dy where the window's largest value is, at the first of equal ones
 * NaN counts as largest, so that a broken step is seen. ints: [0] kernel, [1] stride, [2] padding.
 * Scratch in backward: a row of largest values and one of their places. The windows are searched
 * again rather than their places kept: what is pooled is kept in any case, by the layer before. */
#include "nn/layers/build.h"

#include <math.h>
#include <string.h>

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images;
    int64_t kernel = node->ints[0], stride = node->ints[1], padding = node->ints[2];
    LJ_TRY(lj_take_dims(node, &in[0], 3, 3, "positions (H, W, C)"));
    LJ_CHECK(2 * padding <= kernel, "%s: windows that hold nothing but padding", node->name);
    *out = in[0];
    for (int axis = 0; axis < 2; axis++) {
        if (in[0].dim[axis] + 2 * padding < kernel)
            return lj_refuse_shape(node, &in[0], "at least as many positions as the window has");
        out->dim[axis] = (in[0].dim[axis] + 2 * padding - kernel) / stride + 1;
    }
    need->scratch = in[0].dim[2] * (int64_t)(sizeof(float) + sizeof(int32_t));
    return LJ_OK;
}

/* A window's rows [first[0], end[0]) and columns [first[1], end[1]) of the input. */
struct window {
    int64_t first[2], end[2];
};

static struct window window_at(const struct lj_call *c, int64_t row, int64_t column)
{
    const int64_t *ints = c->node->ints, at[2] = {row, column};
    struct window w;
    for (int axis = 0; axis < 2; axis++) {
        int64_t first = at[axis] * ints[1] - ints[2];
        w.first[axis] = lj_max_i64(first, 0);
        w.end[axis] = lj_min_i64(first + ints[0], c->in_shape[0].dim[axis]);
    }
    return w;
}

/* Output position `place` of an image, rows first, from the image x. */
static void largest(const struct lj_call *c, const float *x, int64_t place, float *restrict y)
{
    int64_t columns = c->in_shape[0].dim[1], width = c->in_shape[0].dim[2];
    struct window w = window_at(c, place / c->out_shape.dim[1], place % c->out_shape.dim[1]);
    for (int64_t j = 0; j < width; j++)
        y[j] = -INFINITY;
    for (int64_t i = w.first[0]; i < w.end[0]; i++)
        for (int64_t k = w.first[1]; k < w.end[1]; k++) {
            const float *restrict at = x + (i * columns + k) * width;
            for (int64_t j = 0; j < width; j++)
                y[j] = at[j] <= y[j] || isnan(y[j]) ? y[j] : at[j];
        }
}

static void forward(const struct lj_call *c)
{
    int64_t places = lj_shape_rows(&c->out_shape), width = lj_shape_features(&c->out_shape);
    float *y = c->y;
    for (int64_t n = 0; n < c->images; n++)
        for (int64_t place = 0; place < places; place++, y += width)
            largest(c, (const float *)c->x[0] + n * lj_shape_count(&c->in_shape[0]), place, y);
}

/* Input positions of the largest values: those that forward took. */
static void find_largest(const struct lj_call *c, const float *x, int64_t place,
                         float *restrict value, int32_t *restrict found)
{
    int64_t columns = c->in_shape[0].dim[1], width = c->in_shape[0].dim[2];
    struct window w = window_at(c, place / c->out_shape.dim[1], place % c->out_shape.dim[1]);
    for (int64_t j = 0; j < width; j++) {
        value[j] = -INFINITY;
        found[j] = (int32_t)(w.first[0] * columns + w.first[1]);
    }
    for (int64_t i = w.first[0]; i < w.end[0]; i++)
        for (int64_t k = w.first[1]; k < w.end[1]; k++) {
            const float *restrict at = x + (i * columns + k) * width;
            for (int64_t j = 0; j < width; j++) {
                bool keep = at[j] <= value[j] || isnan(value[j]);
                value[j] = keep ? value[j] : at[j];
                found[j] = keep ? found[j] : (int32_t)(i * columns + k);
            }
        }
}

static void backward(const struct lj_call *c)
{
    int64_t places = lj_shape_rows(&c->out_shape), width = lj_shape_features(&c->out_shape);
    int64_t image = lj_shape_count(&c->in_shape[0]);
    const float *dy = c->dy;
    float *dx = c->dx[0], *value = c->scratch;
    int32_t *found = (int32_t *)(value + width);
    if (!c->dx_add[0])
        memset(dx, 0, (size_t)(c->images * image) * sizeof *dx);
    for (int64_t n = 0; n < c->images; n++)
        for (int64_t place = 0; place < places; place++, dy += width) {
            find_largest(c, (const float *)c->x[0] + n * image, place, value, found);
            for (int64_t j = 0; j < width; j++)
                dx[n * image + found[j] * width + j] += dy[j];
        }
}

const struct lj_layer_kind lj_kind_pool_max = {.name = "pool_max",
                                               .keeps_input = {true},
                                               .shape = shape,
                                               .forward = forward,
                                               .backward = backward};

lj_val lj_max_pool(struct lj_net *net, const char *name, lj_val x, int64_t kernel, int64_t stride,
                   int64_t padding)
{
    struct lj_node node = {
        .kind = &lj_kind_pool_max, .inputs = 1, .in = {x.index}, .ints = {kernel, stride, padding}};
    return lj_net_add(net, node, name);
}
