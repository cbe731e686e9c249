/* SPDX-License-Identifier: Apache-2.0 */
/* What was drawn for views, as JSON. */
#include "app/views.h"

static json_t *numbers(const float *values, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_real((double)values[i]));
    return list;
}

/* [name, factor] in the order in which they were made; null: no jitter. */
static json_t *jitter(const struct lj_view_plan *plan)
{
    static const char *const names[LJ_JITTERS] = {"brightness", "contrast", "saturation", "hue"};
    if (!plan->jitter)
        return json_null();
    json_t *list = json_array();
    for (int i = 0; i < LJ_JITTERS; i++)
        json_array_append_new(
            list, json_pack("[s, f]", names[plan->order[i]], (double)plan->factor[plan->order[i]]));
    return list;
}

static json_t *dropped(const struct lj_view_plan *plan, int channels)
{
    json_t *list = json_array();
    for (int c = 0; c < channels; c++)
        if (plan->dropped[c])
            json_array_append_new(list, json_integer(c));
    return list;
}

json_t *lj_view_json(const struct lj_view_recipe *recipe, const struct lj_view_plan *plan,
                     bool local)
{
    const struct lj_image_box *crop = &plan->crop;
    json_t *box = json_pack("{s:I, s:I, s:I, s:I}", "top", (json_int_t)crop->top, "left",
                            (json_int_t)crop->left, "height", (json_int_t)crop->height, "width",
                            (json_int_t)crop->width);
    return json_pack(
        "{s:s, s:I, s:o, s:I, s:o, s:b, s:f, s:b, s:b, s:b, s:i, s:f, s:o, s:o, s:o, s:f}", "kind",
        local ? "local" : "global", "size", (json_int_t)recipe->size, "crop", box, "redraws",
        (json_int_t)plan->redraws, "jitter", jitter(plan), "grey", plan->grey, "blur_sigma",
        plan->blur ? plan->sigma : 0.0, "solarize", plan->solarize, "flip", plan->flip_x,
        "flip_vertical", plan->flip_y, "quarters", plan->quarters, "degrees", plan->degrees, "gain",
        numbers(plan->gain, recipe->channels), "shift", numbers(plan->shift, recipe->channels),
        "dropped", dropped(plan, recipe->channels), "noise_sigma", plan->noise);
}
