/* SPDX-License-Identifier: Apache-2.0 */
/* embed: embeddings of an archive by a checkpoint's encoder, the same encoder untrained,
 * or raw pixels; or projections of its views as training draws them. */
#include "app/app.h"
#include "app/embed.h"

#include "lejepa/runtime.h"

#include "train/train.h"

#include <stdio.h>

static int embed_archive(struct lj_comm *comm, const struct lj_pretrained *pretrained,
                         const struct lj_config *config, struct lj_archive *archive)
{
    struct lj_embedder embedder = {.model = pretrained->model,
                                   .weights = pretrained->weights,
                                   .mean = pretrained->mean,
                                   .std = pretrained->std,
                                   .config = config,
                                   .pixels = config->arg_features == LJ_ARG_FEATURES_PIXELS,
                                   .projections =
                                       config->arg_features == LJ_ARG_FEATURES_PROJECTION,
                                   .layers = config->arg_layers};
    static float zeros[LJ_CHANNELS_MAX], ones[LJ_CHANNELS_MAX];
    for (int c = 0; c < LJ_CHANNELS_MAX; c++)
        ones[c] = 1;
    if (embedder.pixels) { /* as stored: normalisation is the encoder's */
        embedder.mean = zeros;
        embedder.std = ones;
    }
    const struct lj_embed_job job = {&embedder, pretrained, config, archive};
    LJ_TRY(lj_embed_to_file(comm, &job));
    long long rows = lj_archive_info(archive)->selected, width = lj_embed_width(&embedder);
    long long views = config->views_global + config->views_local;
    if (embedder.projections)
        lj_say("%s: projections of %lld views of %lld samples, width %lld", config->arg_out, views,
               rows, width / views);
    else
        lj_say("%s: %lld embeddings of width %lld", config->arg_out, rows, width);
    return LJ_OK;
}

static int check_words(const struct lj_config *config)
{
    if (!config->arg_checkpoint[0])
        return lj_fail(LJ_ERR_CONFIG,
                       "embed: checkpoint= is missing; give a checkpoint file or the "
                       "directory of a run");
    if (!config->arg_out[0])
        return lj_fail(LJ_ERR_CONFIG, "embed: out= is missing; give the file to write");
    if (config->arg_layers == 2 && (config->arg_features == LJ_ARG_FEATURES_PIXELS ||
                                    config->arg_features == LJ_ARG_FEATURES_PROJECTION))
        return lj_fail(LJ_ERR_CONFIG,
                       "embed: layers=2 is about the encoder's layers; leave it out with "
                       "features=%s",
                       lj_arg_features_word(config->arg_features));
    return LJ_OK;
}

int lj_command_embed(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words)
{
    static struct lj_pretrained pretrained; /* holds a configuration: too large for the stack */
    struct lj_archive *archive = NULL;
    const char *isa = "";
    int threads = 1;
    LJ_TRY(lj_agree(comm, check_words(config)));
    LJ_TRY(lj_agree(comm, lj_threads_use(config->threads, &threads)));
    LJ_TRY(lj_runtime_agree(comm, &isa));
    bool untrained = config->arg_features == LJ_ARG_FEATURES_UNTRAINED ||
                     config->arg_features == LJ_ARG_FEATURES_PIXELS;
    LJ_TRY(lj_pretrained_load(&pretrained, comm, config->arg_checkpoint, config->arg_weights,
                              untrained));
    int status = lj_open_for_encoder(comm, &pretrained, config, words,
                                     config->arg_features == LJ_ARG_FEATURES_PIXELS, &archive);
    if (status == LJ_OK)
        status = embed_archive(comm, &pretrained, config, archive);
    lj_archive_close(archive);
    lj_pretrained_free(&pretrained);
    return status;
}
