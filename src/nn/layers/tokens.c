/* SPDX-License-Identifier: Apache-2.0 */
/* Class token, registers and positions, in timm's order: y = [cls, registers, x] + pos.
 * pos has one row per prefix token and one per cell of the reference grid; for another grid (local
 * crops) its patch rows are interpolated as PyTorch's bicubic, antialias=True, align_corners=False
 * (Keys kernel with a = -1/2, widened by the ratio when shrinking), by the matrix R (T, T0):
 *   y_patch = x + R pos_patch     dpos_patch = R^T (sum over images of dy)
 * ints: [0] registers, [1] [2] reference grid. Scratch: R, then one T x C array. Another grid is
 * taken to have the aspect of the reference grid. */
#include "nn/layers/build.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

static int64_t prefix(const struct lj_node *node)
{
    return 1 + node->ints[0];
}

static int64_t grid_cells(const struct lj_node *node)
{
    return node->ints[1] * node->ints[2];
}

/* Grid of `tokens` cells with the reference's aspect; false when they are no grid. */
static bool find_grid(const struct lj_node *node, int64_t tokens, int64_t *gh, int64_t *gw)
{
    double aspect = (double)node->ints[1] / (double)node->ints[2];
    *gh = lj_max_i64(llround(sqrt((double)tokens * aspect)), 1);
    *gw = tokens / *gh;
    return *gh * *gw == tokens;
}

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)images;
    int64_t tokens = in[0].dim[0], width = in[0].dim[1], gh, gw;
    LJ_TRY(lj_take_dims(node, &in[0], 2, 2, "tokens (T, C)"));
    if (!find_grid(node, tokens, &gh, &gw))
        return lj_refuse_shape(node, &in[0], "as many tokens as a grid has");
    *out = (struct lj_shape){.dims = 2, .dim = {tokens + prefix(node), width}};
    need->scratch = (tokens * grid_cells(node) + out->dim[0] * width) * (int64_t)sizeof(float);
    return LJ_OK;
}

/* ---- interpolation ----------------------------------------------------------------------- */

static double keys(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return 0;
}

/* Weight of input cell j of `in` for output cell i of `out`, before normalisation. */
static double weight_of(int64_t i, int64_t j, int64_t out, int64_t in)
{
    double scale = (double)in / (double)out, widening = scale > 1 ? scale : 1;
    double centre = scale * ((double)i + 0.5);
    return keys(((double)j - centre + 0.5) / widening);
}

static double weight_sum(int64_t i, int64_t out, int64_t in)
{
    double sum = 0;
    for (int64_t j = 0; j < in; j++)
        sum += weight_of(i, j, out, in);
    return sum;
}

/* R (gh gw, gh0 gw0) between grids; the identity when they are equal. */
static void resample_matrix(float *r, int64_t gh, int64_t gw, int64_t gh0, int64_t gw0)
{
    for (int64_t y = 0; y < gh; y++)
        for (int64_t x = 0; x < gw; x++) {
            double norm = weight_sum(y, gh, gh0) * weight_sum(x, gw, gw0);
            for (int64_t y0 = 0; y0 < gh0; y0++)
                for (int64_t x0 = 0; x0 < gw0; x0++)
                    *r++ = (float)(weight_of(y, y0, gh, gh0) * weight_of(x, x0, gw, gw0) / norm);
        }
}

static bool same_grid(const struct lj_call *c)
{
    return c->in_shape[0].dim[0] == grid_cells(c->node);
}

static float *make_matrix(const struct lj_call *c)
{
    int64_t gh, gw;
    LJ_CHECK(find_grid(c->node, c->in_shape[0].dim[0], &gh, &gw), "%s: no grid", c->node->name);
    resample_matrix(c->scratch, gh, gw, c->node->ints[1], c->node->ints[2]);
    return c->scratch;
}

int lj_resample_positions(float *to, int64_t grid, const float *from, int64_t grid0, int64_t width)
{
    int64_t cells = grid * grid, cells0 = grid0 * grid0;
    float *matrix = lj_alloc_array(cells * cells0, sizeof *matrix, "positions");
    if (!matrix)
        return LJ_ERR_RESOURCE;
    resample_matrix(matrix, grid, grid, grid0, grid0);
    lj_gemm(false, false, cells, width, cells0, 1, matrix, cells0, from, width, 0, to, width);
    lj_free(matrix);
    return LJ_OK;
}

/* ---- forward, backward ------------------------------------------------------------------- */

/* The rows added to every image: cls + pos, registers + pos, positions of patches. */
static void make_rows(const struct lj_call *c, float *rows)
{
    int64_t width = c->out_shape.dim[1], tokens = c->in_shape[0].dim[0], p = prefix(c->node);
    const float *pos = c->param[0], *cls = c->param[1], *registers = c->param[2];
    memcpy(rows, pos, (size_t)(p * width) * sizeof *rows);
    lj_kernels()->add(rows, cls, width);
    if (p > 1)
        lj_kernels()->add(rows + width, registers, (p - 1) * width);
    if (same_grid(c))
        memcpy(rows + p * width, pos + p * width, (size_t)(tokens * width) * sizeof *rows);
    else
        lj_gemm(false, false, tokens, width, grid_cells(c->node), 1, make_matrix(c),
                grid_cells(c->node), pos + p * width, width, 0, rows + p * width, width);
}

static float *rows_scratch(const struct lj_call *c)
{
    return (float *)c->scratch + c->in_shape[0].dim[0] * grid_cells(c->node);
}

static void forward(const struct lj_call *c)
{
    int64_t count = lj_shape_count(&c->out_shape), patches = lj_shape_count(&c->in_shape[0]);
    const float *x = c->x[0];
    float *y = c->y, *rows = rows_scratch(c);
    make_rows(c, rows);
    for (int64_t i = 0; i < c->images; i++) {
        memcpy(y + i * count, rows, (size_t)count * sizeof *rows);
        lj_kernels()->add(y + i * count + (count - patches), x + i * patches, patches);
    }
}

static void backward_input(const struct lj_call *c, int64_t count, int64_t patches)
{
    for (int64_t i = 0; i < c->images; i++) {
        float *dx = (float *)c->dx[0] + i * patches;
        const float *dy = (const float *)c->dy + i * count + (count - patches);
        if (c->dx_add[0])
            lj_kernels()->add(dx, dy, patches);
        else
            memcpy(dx, dy, (size_t)patches * sizeof *dx);
    }
}

static void store_or_add(const struct lj_call *c, int param, int64_t at, const float *rows,
                         int64_t count)
{
    float *d = c->dparam[param] + at;
    if (!c->dparam_add)
        memset(d, 0, (size_t)count * sizeof *d);
    lj_kernels()->add(d, rows, count);
}

static void backward(const struct lj_call *c)
{
    int64_t count = lj_shape_count(&c->out_shape), patches = lj_shape_count(&c->in_shape[0]);
    int64_t width = c->out_shape.dim[1], tokens = c->in_shape[0].dim[0], p = prefix(c->node);
    float *rows = rows_scratch(c);
    backward_input(c, count, patches);
    memset(rows, 0, (size_t)count * sizeof *rows);
    lj_kernels()->column_sums(rows, c->dy, LJ_F32, c->images, count);
    store_or_add(c, 0, 0, rows, p * width);
    store_or_add(c, 1, 0, rows, width);
    if (p > 1)
        store_or_add(c, 2, 0, rows + width, (p - 1) * width);
    if (same_grid(c))
        store_or_add(c, 0, p * width, rows + p * width, patches);
    else
        lj_gemm(true, false, grid_cells(c->node), width, tokens, 1, make_matrix(c),
                grid_cells(c->node), rows + p * width, width, c->dparam_add ? 1.0f : 0.0f,
                c->dparam[0] + p * width, width);
}

const struct lj_layer_kind lj_kind_tokens = {
    .name = "tokens", .shape = shape, .forward = forward, .backward = backward};

lj_val lj_tokens(struct lj_net *net, const char *name, lj_val x, int64_t registers, int64_t grid_h,
                 int64_t grid_w)
{
    int64_t width = lj_net_shape(net, x).dim[1], rows = 1 + registers + grid_h * grid_w;
    struct lj_node node = {
        .kind = &lj_kind_tokens, .inputs = 1, .in = {x.index}, .ints = {registers, grid_h, grid_w}};
    lj_val y = lj_net_add(net, node, name);
    struct lj_param pos = {
        .dims = 3, .dim = {1, rows, width}, .init = LJ_INIT_NORMAL, .init_scale = 0.02};
    struct lj_param cls = {
        .dims = 3, .dim = {1, 1, width}, .init = LJ_INIT_NORMAL, .init_scale = 1e-6};
    struct lj_param reg = {
        .dims = 3, .dim = {1, registers, width}, .init = LJ_INIT_NORMAL, .init_scale = 1e-6};
    lj_net_param(net, y, pos, "pos_embed");
    lj_net_param(net, y, cls, "cls_token");
    if (registers > 0)
        lj_net_param(net, y, reg, "reg_token");
    return y;
}
