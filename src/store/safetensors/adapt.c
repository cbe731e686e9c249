/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of timm for images of other channels or of another size, and for blocks with layer scale.
 * What becomes of them is what timm 1.0 makes of them when it loads pretrained weights into an
 * encoder of these arguments. */
#include "store/safetensors/header.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Is it a tensor of the layer so called: "fc" has fc.weight, not fc_norm.weight? */
static bool belongs_to(const char *name, const char *layer)
{
    size_t length = strlen(layer);
    return length > 0 && strncmp(name, layer, length) == 0 && name[length] == '.';
}

/* ---- channels ---------------------------------------------------------------------------- */

/* One output of the first convolution: to (in, area), from (in0, area). */
static void fit_channels(float *to, int64_t in, const float *from, int64_t in0, int64_t area)
{
    if (in == 1) {
        memset(to, 0, (size_t)area * sizeof *to);
        for (int64_t i = 0; i < in0 * area; i++)
            to[i % area] += from[i];
        return;
    }
    float scale = (float)((double)in0 / (double)in);
    for (int64_t c = 0; c < in; c++)
        for (int64_t i = 0; i < area; i++)
            to[c * area + i] = from[c % in0 * area + i] * scale;
}

static bool is_first_conv(const struct lj_safetensors_reading *r,
                          const struct lj_safetensor *tensor, const struct lj_param *param)
{
    return belongs_to(param->name, r->adaption->first_conv) && param->dims == 4 &&
           tensor->dims == 4 && tensor->dim[0] == param->dim[0] && tensor->dim[1] > 0 &&
           tensor->dim[2] == param->dim[2] && tensor->dim[3] == param->dim[3];
}

static void fit_first_conv(const struct lj_safetensors_reading *r,
                           const struct lj_safetensor *tensor, const struct lj_param *param,
                           const float *values)
{
    int64_t in = param->dim[1], in0 = tensor->dim[1], area = param->dim[2] * param->dim[3];
    for (int64_t o = 0; o < param->dim[0]; o++)
        fit_channels(r->weights + param->offset + o * in * area, in, values + o * in0 * area, in0,
                     area);
    lj_say("%s for images of %lld channels, made from that of %lld", param->name, (long long)in,
           (long long)in0);
}

/* ---- positions --------------------------------------------------------------------------- */

bool lj_safetensors_has_layouts(const struct lj_param *param)
{
    return strcmp(param->name, "pos_embed") == 0;
}

static bool is_pos_embed(const struct lj_safetensor *tensor, const struct lj_param *param)
{
    return lj_safetensors_has_layouts(param) && tensor->dims == 3 && tensor->dim[0] == 1 &&
           tensor->dim[2] == param->dim[2];
}

static int fit_positions(const struct lj_safetensors_reading *r, const struct lj_safetensor *tensor,
                         const struct lj_param *param, const float *values)
{
    int64_t width = param->dim[2], prefix = r->adaption->prefix;
    int64_t side = llround(sqrt((double)(param->dim[1] - prefix)));
    int64_t first, side0; /* of the patches in the file */
    float *to = r->weights + param->offset;
    const struct lj_safetensor *patch = lj_safetensors_find(r->table, "patch_embed.proj.weight");
    LJ_TRY(lj_timm_find_positions(r->path, &r->images, tensor->dim[1], prefix,
                                  patch && patch->dims == 4 ? patch->dim[2] : 0, &first, &side0));
    if (!side0)
        return lj_safetensors_refuse_shape(r, tensor, param);
    size_t bytes = (size_t)(prefix * width) * sizeof *to;
    if (first > 0)
        memcpy(to, values, bytes);
    else
        memset(to, 0, bytes);
    if (side0 == side) {
        memcpy(to + prefix * width, values + first * width,
               (size_t)(side * side * width) * sizeof *to);
        return LJ_OK;
    }
    lj_say("pos_embed of %lld x %lld patches, resampled from %lld x %lld", (long long)side,
           (long long)side, (long long)side0, (long long)side0);
    return lj_resample_positions(to + prefix * width, side, values + first * width, side0, width);
}

int lj_safetensors_fit(const struct lj_safetensors_reading *r, const struct lj_safetensor *tensor,
                       const struct lj_param *param)
{
    int status = LJ_OK;
    bool conv = is_first_conv(r, tensor, param);
    if (!conv && !is_pos_embed(tensor, param))
        return lj_safetensors_refuse_shape(r, tensor, param);
    float *values = lj_alloc_array(tensor->count, sizeof *values, "imported weights");
    if (!values)
        return LJ_ERR_RESOURCE;
    status = lj_safetensors_values(r, tensor, values);
    if (status == LJ_OK && conv)
        fit_first_conv(r, tensor, param, values);
    else if (status == LJ_OK)
        status = fit_positions(r, tensor, param, values);
    lj_free(values);
    return status;
}

/* ---- blocks ------------------------------------------------------------------------------ */

bool lj_safetensors_is_zero(const struct lj_safetensors_reading *r, const struct lj_param *param)
{
    static const char bias[] = "attn.qkv.bias";
    if (!lj_ends_with(param->name, bias))
        return false;
    for (int64_t i = 0; i < r->table->count; i++)
        if (lj_ends_with(r->table->list[i].name, bias))
            return false;
    return true;
}

/* The layers whose output layer scale multiplies, and its tensor in the same block. */
static const struct {
    const char *layer, *gamma;
} scaled[] = {{"attn.proj.weight", "ls1.gamma"},
              {"attn.proj.bias", "ls1.gamma"},
              {"mlp.fc2.weight", "ls2.gamma"},
              {"mlp.fc2.bias", "ls2.gamma"}};
enum { SCALED = sizeof scaled / sizeof *scaled };

/* gamma (W x + b) = (gamma W) x + gamma b, row by row. */
static int scale_rows(const struct lj_safetensors_reading *r, const struct lj_param *param,
                      const struct lj_safetensor *gamma)
{
    int64_t rows = param->dim[0], width = param->count / rows;
    float *values = r->weights + param->offset;
    if (gamma->dims != 1 || gamma->dim[0] != rows)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: tensor %s does not have the shape (%lld)", r->path,
                       gamma->name, (long long)rows);
    float *scale = lj_alloc_array(rows, sizeof *scale, "imported weights");
    if (!scale)
        return LJ_ERR_RESOURCE;
    int status = lj_safetensors_values(r, gamma, scale);
    for (int64_t i = 0; i < param->count && status == LJ_OK; i++)
        values[i] *= scale[i / width];
    lj_free(scale);
    return status;
}

/* Counts the tensors of scaled layers, and those of them that the file scales. */
static int scale_layer(const struct lj_safetensors_reading *r, const struct lj_param *param,
                       int *layers, int *found)
{
    char name[2 * LJ_NAME_MAX];
    for (int i = 0; i < SCALED; i++) {
        if (!lj_ends_with(param->name, scaled[i].layer))
            continue;
        int block = (int)(strlen(param->name) - strlen(scaled[i].layer));
        snprintf(name, sizeof name, "%.*s%s", block, param->name, scaled[i].gamma);
        const struct lj_safetensor *gamma = lj_safetensors_find(r->table, name);
        *layers += 1;
        *found += gamma != NULL;
        if (gamma)
            LJ_TRY(scale_rows(r, param, gamma));
    }
    return LJ_OK;
}

static int scale_layers(const struct lj_safetensors_reading *r)
{
    int layers = 0, found = 0;
    for (int i = 0; i < r->params->count; i++)
        LJ_TRY(scale_layer(r, &r->params->list[i], &layers, &found));
    if (found > 0 && found < layers)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: some blocks have layer scale (ls1.gamma, ls2.gamma) and others lack it",
                       r->path);
    if (found > 0)
        lj_say("layer scale is multiplied into attn.proj and mlp.fc2: the embeddings are the same");
    return LJ_OK;
}

/* ---- what has no place ------------------------------------------------------------------- */

/* Layer scale is taken by the layers of its block, if it has them. */
static bool is_layer_scale(const struct lj_safetensors_reading *r, const char *name)
{
    char layer[2 * LJ_NAME_MAX];
    for (int i = 0; i < SCALED; i++) {
        if (!lj_ends_with(name, scaled[i].gamma))
            continue;
        int block = (int)(strlen(name) - strlen(scaled[i].gamma));
        snprintf(layer, sizeof layer, "%.*s%s", block, name, scaled[i].layer);
        if (lj_params_find(r->params, layer) >= 0)
            return true;
    }
    return false;
}

static bool is_of_classifier(const struct lj_safetensors_reading *r, const char *name)
{
    if (!belongs_to(name, r->adaption->classifier))
        return false;
    const char *part = name + strlen(r->adaption->classifier);
    return strcmp(part, ".weight") == 0 || strcmp(part, ".bias") == 0;
}

bool lj_safetensors_is_settled(const struct lj_safetensors_reading *r, const char *name)
{
    return is_of_classifier(r, name) || lj_ends_with(name, ".num_batches_tracked") ||
           is_layer_scale(r, name);
}

static void say_classifier(const struct lj_safetensors_reading *r)
{
    char name[2 * LJ_NAME_MAX];
    snprintf(name, sizeof name, "%s.weight", r->adaption->classifier);
    const struct lj_safetensor *tensor = lj_safetensors_find(r->table, name);
    if (tensor && lj_params_find(r->params, name) < 0)
        lj_say("the file's classifier %s of %lld classes is left out", r->adaption->classifier,
               (long long)(tensor->dims > 0 ? tensor->dim[0] : 0));
}

int lj_safetensors_finish_adaption(const struct lj_safetensors_reading *r)
{
    LJ_TRY(scale_layers(r));
    say_classifier(r);
    return LJ_OK;
}
