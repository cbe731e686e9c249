/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a trainer: written by rank 0 from gathered shards, so that they know nothing of
 * the number of ranks. */
#include "train/trainer.h"

#include "store/store.h"

static int write_on_root(struct lj_trainer *t, const char *dir, int64_t finished)
{
    if (!lj_comm_is_root(t->comm))
        return LJ_OK;
    char *yaml = lj_config_yaml(&t->config), *provenance = lj_trainer_provenance_text(t);
    const struct lj_limits *limits = lj_archive_limits(t->archive);
    struct lj_checkpoint checkpoint = {.params = &t->model->params,
                                       .step = finished,
                                       .seed = t->config.seed,
                                       .config = yaml,
                                       .provenance = provenance,
                                       .weights = t->weights,
                                       .moment1 = t->moment[0],
                                       .moment2 = t->moment[1],
                                       .channels = lj_archive_info(t->archive)->channels,
                                       .mean = t->mean,
                                       .std = t->std,
                                       .least = t->has_range ? t->least : NULL,
                                       .most = t->has_range ? t->most : NULL,
                                       .low = limits ? limits->low : NULL,
                                       .high = limits ? limits->high : NULL};
    int status = LJ_ERR_RESOURCE;
    if (yaml && provenance)
        status = lj_checkpoint_write(dir, &checkpoint, (int)t->config.checkpoint_keep);
    lj_free(yaml);
    lj_free(provenance);
    return status;
}

int lj_trainer_checkpoint(struct lj_trainer *t, const char *dir, int64_t finished)
{
    lj_pass_weights(t);
    lj_phase_begin(LJ_PHASE_CHECKPOINT);
    for (int i = 0; i < 2 && t->comm->size > 1; i++)
        lj_gradsync_collect(t->gradsync, lj_optim_moment(t->optim, i), t->moment[i]);
    lj_root_section_begin(t->comm);
    int status = lj_root_section_end(t->comm, write_on_root(t, dir, finished));
    lj_phase_end();
    return status;
}
