/* SPDX-License-Identifier: Apache-2.0 */
/* What is trained: encoder, projector or a classifier in its place, and for some objectives a
 * predictor or prototypes behind it, over one table of parameters. */
#include "models/encoders.h"

bool lj_model_classifies(const struct lj_config *settings)
{
    return settings->supervised_classes > 0;
}

static struct lj_projector_config projector_of(const struct lj_config *settings)
{
    if (lj_model_classifies(settings))
        return (struct lj_projector_config){
            .layers = 1, .out = settings->supervised_classes, .norm = LJ_PROJECTOR_NORM_NONE};
    return (struct lj_projector_config){.hidden = settings->projector_hidden,
                                        .layers = settings->projector_layers,
                                        .out = settings->projector_out,
                                        .norm = settings->projector_norm};
}

int lj_model_resolve(struct lj_config *settings, int64_t size)
{
    const struct lj_encoder *encoder;
    LJ_TRY(lj_encoder_find(settings->model, &encoder));
    const struct lj_encoder_family *family = encoder->family;
    LJ_TRY(lj_encoder_check_foreign(encoder, settings));
    if (!settings->views_global_size)
        settings->views_global_size = size;
    if (settings->predict_centre == LJ_PREDICT_CENTRE_AUTO)
        settings->predict_centre = family->centre;
    if (settings->optim_weight_decay < 0)
        settings->optim_weight_decay = family->weight_decay;
    return family->resolve(encoder, settings);
}

static int note_facts(struct lj_model_config *facts, const struct lj_config *settings,
                      int64_t channels)
{
    LJ_TRY(lj_encoder_find(settings->model, &facts->encoder));
    facts->channels = channels;
    facts->size[0] = settings->views_global_size;
    facts->size[1] = settings->views_local_size;
    facts->projector = projector_of(settings);
    if (settings->predictor_hidden > 0) /* as BYOL has it: one hidden layer, as wide as it came */
        facts->predictor = (struct lj_projector_config){.hidden = settings->predictor_hidden,
                                                        .layers = 2,
                                                        .out = settings->projector_out,
                                                        .norm = settings->projector_norm};
    facts->prototypes = settings->dino_prototypes;
    facts->encoder->family->describe(facts->encoder, settings, facts->text, sizeof facts->text);
    return LJ_OK;
}

static int build_head(struct lj_model *m)
{
    int64_t width = m->config.projector.out;
    LJ_TRY(lj_net_create(&m->net[LJ_NET_HEAD], &m->params));
    if (m->config.predictor.layers > 0)
        lj_predictor(m->net[LJ_NET_HEAD], width, &m->config.predictor);
    else
        lj_prototypes(m->net[LJ_NET_HEAD], width, m->config.prototypes);
    return m->net[LJ_NET_HEAD]->status;
}

static int build(struct lj_model *m, const struct lj_config *settings, int64_t bucket_bytes)
{
    const struct lj_encoder *encoder = m->config.encoder;
    LJ_TRY(lj_net_create(&m->net[LJ_NET_ENCODER], &m->params));
    lj_val embedding =
        encoder->family->build(encoder, settings, m->config.channels, m->net[LJ_NET_ENCODER]);
    LJ_TRY(m->net[LJ_NET_ENCODER]->status);
    m->embedding = m->net[LJ_NET_ENCODER]->node[embedding.index].shape.dim[0];
    m->has_places = encoder->family->find != NULL;
    if (m->has_places)
        encoder->family->find(encoder, settings, m->net[LJ_NET_ENCODER], &m->places);
    LJ_TRY(lj_net_create(&m->net[LJ_NET_PROJECTOR], &m->params));
    lj_projector(m->net[LJ_NET_PROJECTOR], m->embedding, &m->config.projector);
    LJ_TRY(m->net[LJ_NET_PROJECTOR]->status);
    if (m->config.predictor.layers > 0 || m->config.prototypes > 0)
        LJ_TRY(build_head(m));
    int nets = m->net[LJ_NET_HEAD] ? LJ_NETS : LJ_NET_HEAD;
    return lj_params_layout(&m->params, m->net, nets, bucket_bytes, m->segment, LJ_SEGMENTS_MAX);
}

int lj_model_create(struct lj_model **model, const struct lj_config *settings, int64_t channels,
                    int64_t bucket_bytes)
{
    struct lj_model *m = lj_alloc(sizeof *m, "model");
    if (!m)
        return LJ_ERR_RESOURCE;
    int status = note_facts(&m->config, settings, channels);
    if (status == LJ_OK)
        status = build(m, settings, bucket_bytes);
    if (status == LJ_OK)
        *model = m;
    else
        lj_model_destroy(m);
    return status;
}

int64_t lj_model_width(const struct lj_model *model, int net)
{
    const struct lj_net *n = model->net[net];
    return lj_shape_features(&n->node[n->count - 1].shape);
}

struct lj_shape lj_model_view(const struct lj_model *model, int local)
{
    int64_t size = model->config.size[local];
    return (struct lj_shape){3, {model->config.channels, size, size}};
}

void lj_model_timm(const struct lj_model *model, const struct lj_config *settings,
                   struct lj_timm_model *timm)
{
    const struct lj_encoder *encoder = model->config.encoder;
    *timm = (struct lj_timm_model){
        .pool = "", .first_conv = "", .classifier = "", .features = model->embedding};
    if (encoder->family->timm)
        encoder->family->timm(encoder, settings, model->config.channels, timm);
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
