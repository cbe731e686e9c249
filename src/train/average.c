/* SPDX-License-Identifier: Apache-2.0 */
/* The running average of a trainer's weights (train.average). Each rank keeps that of its shard.
 * Running statistics are averaged as weights are, as timm averages buffers: to take them anew would
 * cost a pass over the data, and the average of variances is one. Nothing of it feeds back into
 * training. */
#include "train/trainer.h"

#include <string.h>

static struct lj_shard_layout layout_of(const struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    return (struct lj_shard_layout){.buckets = shard->buckets,
                                    .first = shard->first,
                                    .count = shard->count,
                                    .offset = shard->shard_offset,
                                    .weights = shard->weights_first,
                                    .elements = shard->elements};
}

int lj_trainer_make_average(struct lj_trainer *t)
{
    if (t->config.train_average == 0)
        return LJ_OK;
    t->average = lj_alloc_array(lj_gradsync_shard(t->gradsync)->elements, sizeof *t->average,
                                "average of weights");
    return t->average ? LJ_OK : LJ_ERR_RESOURCE;
}

void lj_trainer_begin_average(struct lj_trainer *t)
{
    const struct lj_shard *shard = lj_gradsync_shard(t->gradsync);
    for (int b = 0; t->average && b < shard->buckets; b++)
        memcpy(t->average + shard->shard_offset[b], t->weights + shard->weights_first[b],
               (size_t)shard->count[b] * sizeof *t->average);
}

void lj_trainer_update_average(struct lj_trainer *t)
{
    if (!t->average)
        return;
    struct lj_shard_layout shards = layout_of(t);
    lj_average_update(&shards, lj_average_decay(t->config.train_average, t->step), t->weights,
                      t->average);
}
