/* SPDX-License-Identifier: Apache-2.0 */
/* The images of an encoder in a file of timm, and its positions, whose layout follows from them. */
#include "store/timm.h"

#include <math.h>

/* Height and width, of [H, W], [C, H, W] or of one number for both. */
static void take_sides(struct lj_timm_images *images, const json_t *size)
{
    size_t axes = json_array_size(size);
    int64_t height = json_integer_value(axes ? json_array_get(size, axes - 2) : size);
    int64_t width = json_integer_value(axes ? json_array_get(size, axes - 1) : size);
    images->oblong = height != width;
    images->size = images->oblong ? 0 : lj_max_i64(height, 0);
}

void lj_timm_images(struct lj_timm_images *images, const json_t *config)
{
    const json_t *cfg = json_object_get(config, "pretrained_cfg");
    const json_t *arguments = json_object_get(config, "model_args");
    const json_t *given = json_object_get(arguments, "img_size");
    const json_t *no_class = json_object_get(arguments, "no_embed_class");
    *images = (struct lj_timm_images){.has_all_tokens = json_is_false(no_class),
                                      .has_only_patches = json_is_true(no_class)};
    if (!json_is_object(cfg))
        cfg = config; /* an older form: everything in one object */
    const json_t *usual = json_object_get(cfg, "input_size");
    if (json_is_integer(given) || json_array_size(given) == 2)
        take_sides(images, given);
    else if (json_array_size(usual) == 3)
        take_sides(images, usual);
}

/* Side of a square grid of so many cells; 0: they are none. */
static int64_t side_of(int64_t cells)
{
    int64_t side = cells > 0 ? llround(sqrt((double)cells)) : 0;
    return side * side == cells ? side : 0;
}

int lj_timm_find_positions(const char *path, const struct lj_timm_images *images, int64_t rows,
                           int64_t prefix, int64_t patch, int64_t *first, int64_t *side)
{
    int64_t after = images->has_only_patches ? 0 : side_of(rows - prefix);
    int64_t whole = images->has_all_tokens ? 0 : side_of(rows);
    int64_t wanted = patch > 0 ? images->size / patch : 0;
    if (after && whole && wanted == after)
        whole = 0;
    if (after && whole && wanted == whole)
        after = 0;
    *first = after ? prefix : 0;
    *side = after ? after : whole;
    if (!after || !whole)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: pos_embed has %lld rows, of %lld tokens and %lld x %lld patches or of "
                   "%lld x %lld patches only, and nothing says which; put timm's config.json "
                   "beside it",
                   path, (long long)rows, (long long)prefix, (long long)after, (long long)after,
                   (long long)whole, (long long)whole);
}
