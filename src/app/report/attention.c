/* SPDX-License-Identifier: Apache-2.0 */
/* Where the last attention of a transformer looks, head by head: what the class token takes from
 * each patch, which becomes the embedding; where that is the mean over patches, what they take from
 * each on average. */
#include "app/report/sample.h"

#include <math.h>

/* One head of an image.
 *   weights  in   (T, T) a row for each token
 *   map      out  (patches) */
static void take_head(const struct lj_encoder_places *places, int64_t tokens, const float *weights,
                      double *map)
{
    int64_t patches = places->grid[0] * places->grid[1], prefix = places->prefix;
    int64_t first = places->by_class ? 0 : prefix, end = places->by_class ? 1 : tokens;
    for (int64_t patch = 0; patch < patches; patch++) {
        double sum = 0;
        for (int64_t from = first; from < end; from++)
            sum += (double)weights[from * tokens + prefix + patch];
        map[patch] = sum / (double)(end - first);
    }
}

/* A value that is not finite makes all of its head so, which no picture can show. */
static int check_finite(const double *map, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(map[i]))
            return lj_fail(LJ_ERR_NUMERIC, "the attention of the encoder is not finite; its "
                                           "weights are too large");
    return LJ_OK;
}

/* All heads of the images, one image after the other: a large encoder has many weights.
 *   qkv  in  (count, shape) */
static int take_images(struct lj_report_sample *s, const struct lj_model *model, const float *qkv,
                       const struct lj_shape *shape, int64_t count)
{
    const struct lj_encoder_places *places = &model->places;
    const struct lj_node *node = &model->net[LJ_NET_ENCODER]->node[places->attention];
    int64_t tokens = lj_shape_rows(shape), patches = s->grid[0] * s->grid[1];
    float *weights = lj_alloc_array(s->heads * tokens * tokens, sizeof *weights, "report");
    int status = weights ? LJ_OK : LJ_ERR_RESOURCE;
    for (int64_t i = 0; status == LJ_OK && i < count; i++) {
        double *maps = s->attention + i * s->heads * patches;
        status = lj_attention_weights(node, shape, 1, qkv + i * lj_shape_count(shape), weights);
        for (int64_t h = 0; status == LJ_OK && h < s->heads; h++)
            take_head(places, tokens, weights + h * tokens * tokens, maps + h * patches);
        if (status == LJ_OK)
            status = check_finite(maps, s->heads * patches);
    }
    lj_free(weights);
    return status;
}

int lj_report_find_attention(struct lj_report_sample *s, const struct lj_pretrained *p,
                             const struct lj_view_recipe *recipe, const float *const *images,
                             int64_t count)
{
    const struct lj_encoder_places *places = &p->model->places;
    s->heads = lj_model_heads(p->model);
    s->by_class = places->by_class;
    if (s->heads == 0)
        return LJ_OK;
    int32_t value = p->model->net[LJ_NET_ENCODER]->node[places->attention].in[0];
    const struct lj_shape shape = lj_report_inside_shape(p, value);
    float *qkv = NULL;
    s->attention =
        lj_alloc_array(count * s->heads * s->grid[0] * s->grid[1], sizeof *s->attention, "report");
    int status = s->attention ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK)
        status = lj_report_inside(p, recipe, images, count, value, &qkv);
    if (status == LJ_OK)
        status = take_images(s, p->model, qkv, &shape, count);
    lj_free(qkv);
    return status;
}
