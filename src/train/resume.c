/* SPDX-License-Identifier: Apache-2.0 */
/* A trainer continues from a checkpoint, read by rank 0 and dealt out: on any number of ranks. */
#include "train/trainer.h"

#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* Settings that name no arithmetic: a run continues exactly whatever they are. */
static bool may_differ(const char *key)
{
    static const char *const beginnings[] = {
        "preset",  "run.",    "log.",         "eval.",      "checkpoint.",  "guard.",
        "threads", "memory.", "data.threads", "data.cache", "data.archive", "train."};
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(key, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

/* Names the settings that differ from the checkpoint's: the run goes on, but not as if
 * uninterrupted. */
static int compare_settings(const struct lj_config *now, const struct lj_checkpoint_header *header,
                            const char *path)
{
    char was_text[LJ_TEXT_MAX], now_text[LJ_TEXT_MAX];
    struct lj_config *was = lj_alloc(sizeof *was, "resuming");
    int count = 0, status = was ? LJ_OK : LJ_ERR_RESOURCE;
    const struct lj_key *keys = lj_config_keys(&count);
    if (status == LJ_OK) {
        lj_config_defaults(was);
        status = lj_config_read_text(was, header->config, path);
    }
    for (int i = 0; status == LJ_OK && i < count; i++) {
        lj_config_value_text(was, &keys[i], was_text, sizeof was_text);
        lj_config_value_text(now, &keys[i], now_text, sizeof now_text);
        if (!keys[i].command && !may_differ(keys[i].name) && strcmp(was_text, now_text) != 0)
            lj_warn("continuing with %s=%s, the checkpoint was made with %s: not the bits of an "
                    "uninterrupted run",
                    keys[i].name, now_text, was_text);
    }
    lj_free(was);
    return status;
}

/* What the checkpoint was made of must fit this run. Rank 0. */
static int check_header(const struct lj_trainer *t, const struct lj_checkpoint_header *header,
                        const char *path)
{
    int channels = lj_archive_info(t->archive)->channels;
    if (header->seed != t->config.seed)
        return lj_fail(
            LJ_ERR_CHECKPOINT,
            "%s: was trained with seed=%lld, this run has seed=%lld; use the same seed or "
            "another run.dir",
            path, (long long)header->seed, (long long)t->config.seed);
    if (header->channels != channels)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: was trained on %d channels, this archive has %d; use another run.dir",
                       path, header->channels, channels);
    char fingerprint[32];
    snprintf(fingerprint, sizeof fingerprint, "%016llx",
             (unsigned long long)lj_archive_info(t->archive)->fingerprint);
    if (!strstr(header->provenance, fingerprint))
        lj_warn("%s: was trained on another archive, or this one has changed: not the bits of an "
                "uninterrupted run",
                path);
    return compare_settings(&t->config, header, path);
}

static int read_on_root(struct lj_trainer *t, const char *path)
{
    struct lj_checkpoint_header header;
    if (!lj_comm_is_root(t->comm))
        return LJ_OK;
    LJ_TRY(lj_checkpoint_read_header(path, &header));
    int status = check_header(t, &header, path);
    if (status == LJ_OK) {
        t->first_step = header.step;
        memcpy(t->mean, header.mean, (size_t)header.channels * sizeof *t->mean);
        memcpy(t->std, header.std, (size_t)header.channels * sizeof *t->std);
        status =
            lj_checkpoint_read(path, &t->model->params, t->weights, t->moment[0], t->moment[1]);
    }
    lj_checkpoint_header_free(&header);
    return status;
}

/* The root's weights reach everybody's shards, and from there whoever keeps all. Collective. */
static void spread_weights(struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    lj_gradsync_scatter(t->gradsync, lj_comm_is_root(t->comm) ? t->weights : NULL, t->weights,
                        shard->weights_first);
    lj_gradsync_gather(t->gradsync, t->weights);
}

int lj_trainer_resume(struct lj_trainer *t, const char *path)
{
    lj_root_section_begin(t->comm);
    LJ_TRY(lj_root_section_end(t->comm, read_on_root(t, path)));
    lj_broadcast(t->comm, &t->first_step, sizeof t->first_step, 0);
    lj_broadcast(t->comm, t->mean, sizeof t->mean, 0);
    lj_broadcast(t->comm, t->std, sizeof t->std, 0);
    spread_weights(t);
    for (int i = 0; i < 2; i++)
        lj_gradsync_scatter(t->gradsync, t->moment[i], lj_optim_moment(t->optim, i),
                            lj_gradsync_shard(t->gradsync)->shard_offset);
    return LJ_OK;
}

int lj_trainer_load_weights(struct lj_trainer *t, const char *path)
{
    int status = LJ_OK;
    if (lj_comm_is_root(t->comm))
        status = lj_safetensors_read(path, &t->model->params, "projector.", t->weights);
    LJ_TRY(lj_agree(t->comm, status));
    spread_weights(t);
    lj_trainer_pack_weights(t);
    return LJ_OK;
}
