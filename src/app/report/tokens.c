/* SPDX-License-Identifier: Apache-2.0 */
/* What the encoder says of places in an image: the tokens of patches, or the positions of a
 * convolutional encoder, before they become one vector. Their first three principal axes over all
 * images shown are red, green and blue (as in the figure of LeJEPA's paper). */
#include "app/report/sample.h"

#include <math.h>
#include <string.h>

/* The part of an encoder's net up to its last tokens (T, C) or positions (H, W, C). The nodes are
 * borrowed. */
struct trunk {
    struct lj_net net;
    struct lj_shape shape; /* of the last value */
};

static bool find_trunk(struct trunk *t, const struct lj_model *model)
{
    t->net = *model->net[LJ_NET_ENCODER];
    while (t->net.count > 1 && t->net.node[t->net.count - 1].shape.dims < 2)
        t->net.count--;
    t->shape = t->net.node[t->net.count - 1].shape;
    return t->net.count > 1;
}

/* Rows and columns of the grid; returns the tokens before it. */
static int64_t find_grid(const struct trunk *t, const struct lj_config *config, int64_t grid[2])
{
    if (t->shape.dims == 3) {
        grid[0] = t->shape.dim[0];
        grid[1] = t->shape.dim[1];
        return 0;
    }
    grid[0] = grid[1] =
        config->model_patch > 0 ? config->views_global_size / config->model_patch : 0;
    return t->shape.dim[0] - grid[0] * grid[1];
}

/* tokens (images, shape) out */
static int run_trunk(const struct trunk *t, const struct lj_pretrained *p,
                     const struct lj_view_recipe *recipe, const float *const *images, int64_t count,
                     float *tokens)
{
    struct lj_plan *plan = NULL;
    struct lj_shape view = lj_model_view(p->model, 0);
    LJ_TRY(lj_plan_create(&plan, &t->net, count, &view,
                          (struct lj_plan_options){.mode = LJ_PLAN_INFER}));
    int64_t bytes =
        lj_max_i64(lj_plan_scratch(plan), lj_view_scratch(recipe) * (int64_t)sizeof(float));
    struct lj_pass pass = {.arena = lj_alloc_array(lj_plan_arena(plan), sizeof(float), "report"),
                           .scratch = lj_alloc_array(bytes, 1, "report"),
                           .weights = p->weights,
                           .n = count};
    int status = pass.arena && pass.scratch ? LJ_OK : LJ_ERR_RESOURCE;
    for (int64_t i = 0; status == LJ_OK && i < count; i++)
        lj_view_centre(recipe, images[i], lj_plan_value(plan, &pass, 0) + i * lj_shape_count(&view),
                       pass.scratch);
    if (status == LJ_OK) {
        lj_forward(plan, &pass, 1, t->net.count);
        memcpy(tokens, lj_plan_value(plan, &pass, t->net.count - 1),
               (size_t)(count * lj_shape_count(&t->shape)) * sizeof *tokens);
    }
    lj_free(pass.arena);
    lj_free(pass.scratch);
    lj_plan_destroy(plan);
    return status;
}

/* The tokens of patches alone, one after the other. */
static void drop_prefix(float *tokens, int64_t count, int64_t rows, int64_t prefix, int64_t width)
{
    int64_t kept = (rows - prefix) * width;
    for (int64_t i = 0; i < count; i++)
        memmove(tokens + i * kept, tokens + (i * rows + prefix) * width,
                (size_t)kept * sizeof *tokens);
}

/* place (rows, 3) in: coordinates, out: 0..1, two standard deviations of each axis on both sides */
static void to_colours(const struct lj_principal *p, int64_t rows, double *place)
{
    for (int64_t r = 0; r < rows; r++)
        for (int a = 0; a < 3; a++) {
            double deviation = a < p->width ? sqrt(p->eigenvalue[a]) : 0;
            double share = deviation > 0 ? place[3 * r + a] / (4 * deviation) + 0.5 : 0.5;
            place[3 * r + a] = fmin(fmax(share, 0), 1);
        }
}

static int colour(struct lj_report_sample *s, const float *tokens, int64_t rows, int64_t width)
{
    struct lj_principal principal;
    s->colour = lj_alloc_array(3 * rows, sizeof *s->colour, "report");
    if (!s->colour)
        return LJ_ERR_RESOURCE;
    LJ_TRY(lj_principal_create(&principal, tokens, rows, width));
    for (int64_t r = 0; r < rows; r++)
        lj_principal_place(&principal, tokens + r * width, 3, s->colour + 3 * r);
    to_colours(&principal, rows, s->colour);
    lj_principal_destroy(&principal);
    return LJ_OK;
}

int lj_report_find_tokens(struct lj_report_sample *s, const struct lj_pretrained *p,
                          const struct lj_view_recipe *recipe, const float *const *images,
                          int64_t count)
{
    struct trunk trunk;
    if (!find_trunk(&trunk, p->model))
        return LJ_OK;
    int64_t prefix = find_grid(&trunk, &p->config, s->grid);
    int64_t rows = lj_shape_rows(&trunk.shape), width = lj_shape_features(&trunk.shape);
    if (prefix < 0 || rows - prefix < 4)
        return LJ_OK;
    float *tokens = lj_alloc_array(count * rows * width, sizeof *tokens, "report");
    int status = tokens ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK)
        status = run_trunk(&trunk, p, recipe, images, count, tokens);
    if (status == LJ_OK) {
        drop_prefix(tokens, count, rows, prefix, width);
        status = colour(s, tokens, count * (rows - prefix), width);
    }
    lj_free(tokens);
    return status;
}
