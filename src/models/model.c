/* SPDX-License-Identifier: Apache-2.0 */
/* What is trained: encoder and projector over one table of parameters. */
#include "models/models.h"

#include <math.h>
#include <string.h>

struct preset {
    const char *name;
    int64_t width, depth, heads;
};

static const struct preset presets[] = {
    {"vit_tiny", 192, 12, 3},    {"vit_small", 384, 12, 6},  {"vit_base", 768, 12, 12},
    {"vit_large", 1024, 24, 16}, {"vit_huge", 1280, 32, 16}, {"vit", 192, 12, 0},
};

static const struct preset *find_preset(const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

/* 3/7 of the global size (98 of 224) rounded to a multiple of the patch, at least two patches. */
static int64_t automatic_local_size(int64_t global, int64_t patch)
{
    int64_t patches = llround((double)global * 3 / 7 / (double)patch);
    return patch * lj_max_i64(patches, 2);
}

static int check_size(const char *key, int64_t size, int64_t patch)
{
    if (size % patch == 0)
        return LJ_OK;
    return lj_fail(
        LJ_ERR_CONFIG,
        "%s: %lld pixels are not a multiple of model.patch %lld; nearest sizes that are: "
        "%lld and %lld, or choose another model.patch",
        key, (long long)size, (long long)patch, (long long)(size / patch * patch),
        (long long)lj_round_up(size, patch));
}

static int vit_numbers(struct lj_vit_config *vit, const struct lj_config *config)
{
    const struct preset *preset = find_preset(config->model);
    if (!preset)
        return lj_fail(LJ_ERR_CONFIG, "model: unknown encoder \"%s\"", config->model);
    vit->width = config->model_width ? config->model_width : preset->width;
    vit->depth = config->model_depth ? config->model_depth : preset->depth;
    vit->heads = config->model_heads                     ? config->model_heads
                 : config->model_width || !preset->heads ? lj_max_i64(vit->width / 64, 1)
                                                         : preset->heads;
    if (vit->width % vit->heads != 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "model.heads: %lld does not divide model.width %lld; change one of them",
                       (long long)vit->heads, (long long)vit->width);
    vit->hidden = llround(config->model_mlp_ratio * (double)vit->width);
    vit->registers = config->model_registers;
    vit->head = config->model_head;
    vit->mean_pool = config->model_pool == LJ_MODEL_POOL_MEAN;
    vit->drop_path = config->model_drop_path;
    return LJ_OK;
}

int lj_model_config(struct lj_model_config *model, const struct lj_config *config, int64_t channels,
                    int64_t size)
{
    *model = (struct lj_model_config){.vit.channels = channels};
    struct lj_vit_config *vit = &model->vit;
    LJ_TRY(vit_numbers(vit, config));
    vit->size = config->views_global_size ? config->views_global_size : size;
    vit->patch = config->model_patch ? config->model_patch : vit->size < 48 ? 4 : 8;
    LJ_TRY(check_size("views.global_size", vit->size, vit->patch));
    model->local_size = config->views_local_size ? config->views_local_size
                                                 : automatic_local_size(vit->size, vit->patch);
    if (config->views_local > 0)
        LJ_TRY(check_size("views.local_size", model->local_size, vit->patch));
    model->projector = (struct lj_projector_config){.hidden = config->projector_hidden,
                                                    .layers = config->projector_layers,
                                                    .out = config->projector_out,
                                                    .norm = config->projector_norm};
    return LJ_OK;
}

static int build(struct lj_model *m, int64_t bucket_bytes)
{
    LJ_TRY(lj_net_create(&m->net[LJ_NET_ENCODER], &m->params));
    lj_val embedding = lj_vit(m->net[LJ_NET_ENCODER], &m->config.vit);
    LJ_TRY(m->net[LJ_NET_ENCODER]->status);
    m->embedding = m->net[LJ_NET_ENCODER]->node[embedding.index].shape.dim[0];
    LJ_TRY(lj_net_create(&m->net[LJ_NET_PROJECTOR], &m->params));
    lj_projector(m->net[LJ_NET_PROJECTOR], m->embedding, &m->config.projector);
    LJ_TRY(m->net[LJ_NET_PROJECTOR]->status);
    return lj_params_layout(&m->params, m->net, LJ_NETS, bucket_bytes, m->segment, LJ_SEGMENTS_MAX);
}

int lj_model_create(struct lj_model **model, const struct lj_model_config *config,
                    int64_t bucket_bytes)
{
    struct lj_model *m = lj_alloc(sizeof *m, "model");
    if (!m)
        return LJ_ERR_RESOURCE;
    m->config = *config;
    int status = build(m, bucket_bytes);
    if (status == LJ_OK)
        *model = m;
    else
        lj_model_destroy(m);
    return status;
}

void lj_model_destroy(struct lj_model *model)
{
    if (!model)
        return;
    for (int i = 0; i < LJ_NETS; i++)
        lj_net_destroy(model->net[i]);
    lj_params_destroy(&model->params);
    lj_free(model);
}
