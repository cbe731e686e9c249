/* SPDX-License-Identifier: Apache-2.0 */
/* The running average of a trainer's weights. Each rank keeps that of its shard. Running statistics
 * are averaged as weights are, as timm averages buffers: to take them anew would cost a pass over
 * the data, and the average of variances is one. With train.average nothing of it feeds back into
 * training.
 *
 * An objective may compare with projections by the average, its target. Then ranks with lanes keep
 * all of it, and update that by themselves, element by element, from the weights they have anyway:
 * the same bits as in the shards, and nothing to communicate. */
#include "train/trainer.h"

#include <string.h>

static int make_target(struct lj_trainer *t)
{
    if (!lj_has_target(t) || lj_my_lanes(t) == 0)
        return LJ_OK;
    t->target = lj_alloc_array(lj_gradsync_shard(t->gradsync)->weights_elements, sizeof *t->target,
                               "average of weights");
    t->averaged =
        lj_alloc_array(lj_my_lanes(t) * lj_averaged_floats(t), sizeof *t->averaged, "activations");
    return t->target && t->averaged ? LJ_OK : LJ_ERR_RESOURCE;
}

int lj_trainer_make_average(struct lj_trainer *t)
{
    if (!lj_averages(t))
        return LJ_OK;
    LJ_TRY(make_target(t));
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
    if (t->target)
        memcpy(t->target, t->weights, (size_t)shard->weights_elements * sizeof *t->target);
}

static double decay_of(const struct lj_trainer *t)
{
    return lj_has_target(t) ? lj_target_decay(t->config.target_momentum, t->step, t->steps)
                            : lj_average_decay(t->config.train_average, t->step);
}

void lj_trainer_update_average(struct lj_trainer *t)
{
    if (!t->average)
        return;
    struct lj_shard_layout shards = lj_trainer_shards(t);
    t->target_decay = decay_of(t);
    lj_average_update(&shards, t->target_decay, t->weights, t->average);
}

void lj_trainer_update_target(struct lj_trainer *t)
{
    if (!t->target)
        return;
    const int64_t first[] = {0}, count[] = {lj_gradsync_shard(t->gradsync)->weights_elements};
    const struct lj_shard_layout all = {1, first, count, first, first, count[0]};
    lj_average_update(&all, t->target_decay, t->weights, t->target);
}
