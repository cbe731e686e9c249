/* SPDX-License-Identifier: Apache-2.0 */
/* embed: embeddings of an archive by a checkpoint's encoder, the same encoder untrained, or raw pixels. */
#include "app.h"

#include "lejepa/eval.h"
#include "lejepa/train.h"

#include <stdio.h>
#include <string.h>

/* How the run read its data, then what the words say. merged comes with the words on defaults: an archive
 * in them is another one and does not inherit the run's names. */
static int merge_config(struct lj_config *merged, const struct lj_config *run,
                        const struct lj_call_words *words)
{
    bool another = merged->data_archive[0] != 0;
    *merged = *run;
    if (another) {
        merged->data_images[0] = merged->data_labels[0] = merged->data_where[0] = 0;
        snprintf(merged->data_axes, sizeof merged->data_axes, "auto");
    }
    return lj_config_apply_words(merged, words->word, words->count);
}

static int fill_rows(struct lj_embeddings *e, const struct lj_archive *archive)
{
    const int32_t *labels = lj_archive_labels(archive);
    e->row = lj_alloc_array(e->rows, sizeof *e->row, "embeddings");
    if (labels)
        e->labels = lj_alloc_array(e->rows, sizeof *e->labels, "embeddings");
    if (!e->row || (labels && !e->labels))
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < e->rows; i++)
        e->row[i] = lj_archive_row(archive, i);
    if (labels)
        memcpy(e->labels, labels, (size_t)e->rows * sizeof *labels);
    return LJ_OK;
}

static int embed_archive(struct lj_comm *comm, const struct lj_pretrained *pretrained,
                         const struct lj_config *config, struct lj_archive *archive)
{
    struct lj_embedder embedder = {.model = pretrained->model,
                                   .weights = pretrained->weights,
                                   .mean = pretrained->mean,
                                   .std = pretrained->std,
                                   .config = config,
                                   .pixels = strcmp(config->arg_features, "pixels") == 0};
    static float zeros[LJ_CHANNELS_MAX], ones[LJ_CHANNELS_MAX];
    for (int c = 0; c < LJ_CHANNELS_MAX; c++)
        ones[c] = 1;
    if (embedder.pixels) { /* as stored: normalisation is the encoder's */
        embedder.mean = zeros;
        embedder.std = ones;
    }
    struct lj_embeddings e = {.rows = lj_archive_info(archive)->selected,
                              .width = lj_embed_width(&embedder)};
    e.values = lj_alloc_array(e.rows * e.width, sizeof *e.values, "embeddings");
    int status = lj_agree(comm, e.values ? fill_rows(&e, archive) : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = lj_embed(comm, &embedder, archive, e.rows, e.values);
    if (status == LJ_OK)
        status = lj_agree(comm, lj_comm_is_root(comm) ? lj_embeddings_write(config->arg_out, &e,
                                                                            config->arg_checkpoint)
                                                      : LJ_OK);
    if (status == LJ_OK)
        lj_say("%s: %lld embeddings of width %lld", config->arg_out, (long long)e.rows,
               (long long)e.width);
    lj_embeddings_free(&e);
    return status;
}

static int check_words(const struct lj_config *config)
{
    if (!config->arg_checkpoint[0])
        return lj_fail(LJ_ERR_CONFIG,
                       "embed: checkpoint= is missing; give a checkpoint file or the "
                       "directory of a run");
    if (!config->arg_out[0])
        return lj_fail(LJ_ERR_CONFIG, "embed: out= is missing; give the file to write");
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
    LJ_TRY(lj_agree_on_kernels(comm, &isa));
    LJ_TRY(lj_pretrained_load(&pretrained, comm, config->arg_checkpoint,
                              strcmp(config->arg_features, "model") != 0));
    int status = lj_agree(comm, merge_config(config, &pretrained.config, words));
    struct lj_archive_options options = lj_archive_options_of(config);
    if (status == LJ_OK)
        status = lj_archive_open(&archive, comm, &options);
    if (status == LJ_OK)
        status = embed_archive(comm, &pretrained, config, archive);
    lj_archive_close(archive);
    lj_pretrained_free(&pretrained);
    return status;
}
