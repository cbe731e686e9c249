/* SPDX-License-Identifier: Apache-2.0 */
/* Values inside the encoder, for a few images. */
#include "app/report/sample.h"

#include <string.h>

struct lj_shape lj_report_inside_shape(const struct lj_pretrained *p, int32_t value)
{
    return p->model->net[LJ_NET_ENCODER]->node[value].shape;
}

/* Everything but the memory. */
static void run(const struct lj_plan *plan, const struct lj_pass *pass,
                const struct lj_view_recipe *recipe, const float *const *images, int64_t count,
                float *values)
{
    const struct lj_net *net = lj_plan_net(plan);
    int64_t pixels = recipe->channels * recipe->size * recipe->size;
    for (int64_t i = 0; i < count; i++)
        lj_view_centre(recipe, images[i], lj_plan_value(plan, pass, 0) + i * pixels, pass->scratch);
    lj_forward(plan, pass, 1, net->count);
    memcpy(values, lj_plan_value(plan, pass, net->count - 1),
           (size_t)(count * lj_shape_count(&net->node[net->count - 1].shape)) * sizeof *values);
}

int lj_report_inside(const struct lj_pretrained *p, const struct lj_view_recipe *recipe,
                     const float *const *images, int64_t count, int32_t value, float **values)
{
    struct lj_plan *plan = NULL;
    const struct lj_net net = lj_model_until(p->model, value);
    const struct lj_shape view = lj_model_view(p->model, 0);
    const struct lj_shape shape = lj_report_inside_shape(p, value);
    LJ_TRY(
        lj_plan_create(&plan, &net, count, &view, (struct lj_plan_options){.mode = LJ_PLAN_INFER}));
    int64_t bytes =
        lj_max_i64(lj_plan_scratch(plan), lj_view_scratch(recipe) * (int64_t)sizeof(float));
    struct lj_pass pass = {.arena = lj_alloc_array(lj_plan_arena(plan), sizeof(float), "report"),
                           .scratch = lj_alloc_array(bytes, 1, "report"),
                           .weights = p->weights,
                           .n = count};
    *values = lj_alloc_array(count * lj_shape_count(&shape), sizeof **values, "report");
    bool all = pass.arena && pass.scratch && *values;
    if (all)
        run(plan, &pass, recipe, images, count, *values);
    lj_free(pass.arena);
    lj_free(pass.scratch);
    lj_plan_destroy(plan);
    return all ? LJ_OK : LJ_ERR_RESOURCE;
}
