/* SPDX-License-Identifier: Apache-2.0 */
/* The weights that a trainer starts with: drawn, or those of a file, which rank 0 reads and deals
 * out. */
#include "train/trainer.h"

#include "store/store.h"

#include <math.h>

void lj_trainer_draw_weights(struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    for (int b = 0; b < shard->buckets; b++)
        lj_params_init(&t->model->params, t->config.seed, shard->first[b], shard->count[b],
                       t->weights + shard->weights_first[b]);
    lj_gradsync_gather(t->gradsync, t->weights);
}

void lj_trainer_spread_weights(struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    lj_gradsync_scatter(t->gradsync, lj_comm_is_root(t->comm) ? t->weights : NULL, t->weights,
                        shard->weights_first);
    lj_gradsync_gather(t->gradsync, t->weights);
}

/* A first step that is not finite would be blamed on an image. */
static int check_finite(const struct lj_trainer *t, const char *path)
{
    const struct lj_params *params = &t->model->params;
    for (int i = 0; i < params->count; i++) {
        const struct lj_param *param = &params->list[i];
        for (int64_t k = 0; k < param->count; k++)
            if (!isfinite(t->weights[param->offset + k]))
                return lj_fail(LJ_ERR_CHECKPOINT,
                               "%s: element %lld of tensor %s is not finite; use another file",
                               path, (long long)k, param->name);
    }
    return LJ_OK;
}

static int load_on_root(struct lj_trainer *t, const char *where)
{
    struct lj_weights_source source;
    if (!lj_comm_is_root(t->comm))
        return LJ_OK;
    LJ_TRY(lj_weights_read(where, &t->model->params, "projector.", t->weights, &source));
    LJ_TRY(check_finite(t, source.file));
    lj_say("%s from %s %s (xxh3 %016llx)%s",
           source.whole ? "weights of encoder and projector" : "weights of the encoder",
           source.checkpoint ? "checkpoint" : "safetensors", source.file,
           (unsigned long long)source.xxh3,
           source.whole ? "" : "; it has no projector, which starts random");
    return lj_trainer_note_source(t, &source);
}

int lj_trainer_load_weights(struct lj_trainer *t, const char *where)
{
    lj_root_section_begin(t->comm);
    LJ_TRY(lj_root_section_end(t->comm, load_on_root(t, where)));
    lj_trainer_spread_weights(t);
    lj_trainer_pack_weights(t);
    return LJ_OK;
}
