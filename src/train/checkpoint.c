/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a trainer. The root gathers the shards into a snapshot, which knows nothing of the
 * number of ranks, and a thread writes it while training goes on (writer.c). */
#include "train/trainer.h"

#include "store/store.h"

#include <string.h>

/* ---- the snapshot ------------------------------------------------------------------------ */

int lj_trainer_make_snapshot(struct lj_trainer *t)
{
    int64_t elements = t->model->params.elements;
    if (!lj_comm_is_root(t->comm))
        return LJ_OK;
    for (int i = 0; i < LJ_SNAPSHOT_ARRAYS; i++) {
        t->snapshot[i] = lj_alloc_array(elements, sizeof(float), "checkpoint snapshot");
        if (!t->snapshot[i])
            return LJ_ERR_RESOURCE;
    }
    return lj_writer_create(&t->writer);
}

static void free_texts(struct lj_trainer *t)
{
    lj_free(t->snapshot_config);
    lj_free(t->snapshot_provenance);
    t->snapshot_config = t->snapshot_provenance = NULL;
}

void lj_trainer_free_snapshot(struct lj_trainer *t)
{
    lj_writer_destroy(t->writer); /* which may still read the rest */
    for (int i = 0; i < LJ_SNAPSHOT_ARRAYS; i++)
        lj_free(t->snapshot[i]);
    free_texts(t);
}

/* Collective: the optimiser's state is in shards. */
static void take_snapshot(struct lj_trainer *t)
{
    for (int i = 0; i < 2; i++)
        lj_gradsync_collect(t->gradsync, lj_optim_moment(t->optim, i),
                            t->snapshot[LJ_SNAPSHOT_MOMENT1 + i]);
    if (lj_comm_is_root(t->comm))
        memcpy(t->snapshot[LJ_SNAPSHOT_WEIGHTS], t->weights,
               (size_t)t->model->params.elements * sizeof(float));
}

/* ---- writing ----------------------------------------------------------------------------- */

static int start_writer(struct lj_trainer *t, const char *dir, int64_t finished)
{
    if (!lj_comm_is_root(t->comm))
        return LJ_OK;
    free_texts(t);
    t->snapshot_config = lj_config_yaml(&t->config);
    t->snapshot_provenance = lj_trainer_provenance_text(t);
    if (!t->snapshot_config || !t->snapshot_provenance)
        return LJ_ERR_RESOURCE;
    const struct lj_limits *limits = lj_archive_limits(t->archive);
    struct lj_checkpoint checkpoint = {.params = &t->model->params,
                                       .step = finished,
                                       .seed = t->config.seed,
                                       .config = t->snapshot_config,
                                       .provenance = t->snapshot_provenance,
                                       .weights = t->snapshot[LJ_SNAPSHOT_WEIGHTS],
                                       .moment1 = t->snapshot[LJ_SNAPSHOT_MOMENT1],
                                       .moment2 = t->snapshot[LJ_SNAPSHOT_MOMENT2],
                                       .channels = lj_archive_info(t->archive)->channels,
                                       .mean = t->mean,
                                       .std = t->std,
                                       .least = t->has_range ? t->least : NULL,
                                       .most = t->has_range ? t->most : NULL,
                                       .low = limits ? limits->low : NULL,
                                       .high = limits ? limits->high : NULL};
    return lj_writer_start(t->writer, dir, &checkpoint, (int)t->config.checkpoint_keep);
}

int lj_trainer_checkpoint_begin(struct lj_trainer *t, const char *dir, int64_t finished)
{
    LJ_TRY(lj_trainer_checkpoint_finish(t));
    lj_pass_weights(t);
    lj_phase_begin(LJ_PHASE_CHECKPOINT);
    take_snapshot(t);
    int status = lj_agree(t->comm, start_writer(t, dir, finished));
    t->writes = status == LJ_OK;
    lj_phase_end();
    return status;
}

int lj_trainer_checkpoint_finish(struct lj_trainer *t)
{
    if (!t->writes)
        return LJ_OK;
    t->writes = false;
    lj_phase_begin(LJ_PHASE_CHECKPOINT);
    lj_root_section_begin(t->comm);
    int status =
        lj_root_section_end(t->comm, lj_comm_is_root(t->comm) ? lj_writer_wait(t->writer) : LJ_OK);
    lj_phase_end();
    return status;
}

int lj_trainer_checkpoint(struct lj_trainer *t, const char *dir, int64_t finished)
{
    LJ_TRY(lj_trainer_checkpoint_begin(t, dir, finished));
    return lj_trainer_checkpoint_finish(t);
}

double lj_trainer_checkpoint_seconds(struct lj_trainer *t)
{
    return t->writer ? lj_writer_seconds(t->writer) : 0;
}

int64_t lj_trainer_snapshot_bytes(const struct lj_trainer *t)
{
    return LJ_SNAPSHOT_ARRAYS * t->model->params.elements * (int64_t)sizeof(float);
}
