/* SPDX-License-Identifier: Apache-2.0 */
/* What a trainer starts with: weights, drawn or those of a file, which rank 0 reads and deals out;
 * the normalisation of pixels, where it is not the archive's. And the exchange of weights and their
 * running average. */
#include "train/trainer.h"

#include "store/store.h"

#include <math.h>
#include <string.h>

void lj_trainer_draw_weights(struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    for (int b = 0; b < shard->buckets; b++)
        lj_params_init(&t->model->params, t->config.seed, shard->first[b], shard->count[b],
                       t->weights + shard->weights_first[b]);
    lj_gradsync_gather(t->gradsync, t->weights);
    lj_trainer_begin_average(t);
}

void lj_trainer_spread_weights(struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    lj_gradsync_scatter(t->gradsync, lj_comm_is_root(t->comm) ? t->weights : NULL, t->weights,
                        shard->weights_first);
    lj_gradsync_gather(t->gradsync, t->weights);
    lj_trainer_begin_average(t);
}

/* What is wrong with an element of a parameter; NULL: nothing. */
static const char *fault_of(float value, bool variance)
{
    if (!isfinite(value))
        return "not finite";
    return variance && value < 0 ? "a variance below zero" : NULL;
}

static bool is_variance(const struct lj_param *param)
{
    return lj_ends_with(param->name, "running_var");
}

/* A first step that is not finite would be blamed on an image. */
static int check_values(const struct lj_trainer *t, const char *path)
{
    const struct lj_params *params = &t->model->params;
    for (int i = 0; i < params->count; i++) {
        const struct lj_param *param = &params->list[i];
        bool variance = is_variance(param);
        for (int64_t k = 0; k < param->count; k++) {
            const char *fault = fault_of(t->weights[param->offset + k], variance);
            if (fault)
                return lj_fail(LJ_ERR_CHECKPOINT,
                               "%s: element %lld of tensor %s is %s; use another file", path,
                               (long long)k, param->name, fault);
        }
    }
    return LJ_OK;
}

/* Fails when a checkpoint's encoder is described in other words than this one. */
static int check_words(const struct lj_trainer *t, const struct lj_checkpoint_header *header,
                       const char *path)
{
    const struct lj_encoder *encoder;
    const char *ours = t->model->config.text;
    char words[sizeof t->model->config.text];
    struct lj_config *theirs = lj_alloc(sizeof *theirs, "checkpoint");
    int status = theirs ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        lj_config_defaults(theirs);
        status = lj_config_read_text(theirs, header->config, path);
    }
    if (status == LJ_OK)
        status = lj_encoder_find(theirs->model, &encoder);
    if (status == LJ_OK) {
        encoder->family->describe(encoder, theirs, words, sizeof words);
        if (strcmp(words, ours) != 0)
            status = lj_fail(LJ_ERR_CHECKPOINT,
                             "%s: its encoder is %s, this configuration's is %s; choose model.* as "
                             "the file wants",
                             path, words, ours);
    }
    lj_free(theirs);
    return status;
}

/* What an encoder is beyond the shapes of its tensors, such as its number of heads, must be the
 * same, too, as far as the file says it. */
static int check_encoder(const struct lj_trainer *t, const struct lj_weights_source *source,
                         bool adapt)
{
    if (!source->checkpoint) {
        struct lj_timm_model timm;
        lj_model_timm(t->model, &t->config, &timm);
        return lj_timm_check_arguments(source->file, timm.arguments, adapt);
    }
    struct lj_checkpoint_header header;
    LJ_TRY(lj_checkpoint_read_header(source->file, &header));
    int status = check_words(t, &header, source->file);
    lj_checkpoint_header_free(&header);
    return status;
}

static int load_on_root(struct lj_trainer *t, const char *where, bool adapt)
{
    struct lj_weights_source source;
    struct lj_timm_model timm;
    if (!lj_comm_is_root(t->comm))
        return LJ_OK;
    lj_model_timm(t->model, &t->config, &timm);
    struct lj_adaption adaption = {
        .first_conv = timm.first_conv, .classifier = timm.classifier, .prefix = timm.prefix};
    LJ_TRY(lj_weights_read(where, &t->model->params, "projector.", lj_model_classifies(&t->config),
                           adapt ? &adaption : NULL, t->weights, &source));
    LJ_TRY(check_encoder(t, &source, adapt));
    LJ_TRY(check_values(t, source.file));
    lj_say("%s from %s %s (xxh3 %016llx)%s",
           source.whole ? "weights of encoder and projector" : "weights of the encoder",
           source.checkpoint ? "checkpoint" : "safetensors", source.file,
           (unsigned long long)source.xxh3,
           source.whole                      ? ""
           : lj_model_classifies(&t->config) ? "; the classifier starts random"
                                             : "; it has no projector, which starts random");
    return lj_trainer_note_source(t, &source);
}

int lj_trainer_load_weights(struct lj_trainer *t, const char *where, bool adapt)
{
    lj_root_section_begin(t->comm);
    LJ_TRY(lj_root_section_end(t->comm, load_on_root(t, where, adapt)));
    lj_trainer_spread_weights(t);
    lj_trainer_pack_weights(t);
    return LJ_OK;
}

void lj_trainer_normalise_by(struct lj_trainer *t, const float *mean, const float *std)
{
    size_t bytes = (size_t)lj_archive_info(t->archive)->channels * sizeof *mean;
    memcpy(t->mean, mean, bytes);
    memcpy(t->std, std, bytes);
}

static void swap(float *a, float *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

void lj_trainer_swap_average(struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    if (!t->average)
        return;
    lj_pass_weights(t);
    for (int b = 0; b < shard->buckets; b++)
        swap(t->weights + shard->weights_first[b], t->average + shard->shard_offset[b],
             shard->count[b]);
    lj_gradsync_gather(t->gradsync, t->weights);
}

void lj_trainer_fill_target(struct lj_trainer *t)
{
    int64_t elements = lj_gradsync_shard(t->gradsync)->weights_elements;
    lj_trainer_swap_average(t);
    if (t->target)
        memcpy(t->target, t->weights, (size_t)elements * sizeof *t->target);
    lj_trainer_swap_average(t);
}
