/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of a trainer. Training stands still while every rank copies its shards. While it goes
 * on, the copies travel to the root, whose snapshot knows nothing of the number of ranks, and a
 * thread of the root writes it then (writer.c). */
#include "train/trainer.h"

#include "store/store.h"

#include <string.h>

/* ---- the snapshot ------------------------------------------------------------------------ */

int lj_trainer_snapshot_arrays(const struct lj_trainer *t)
{
    return lj_averages(t) ? LJ_SNAPSHOT_ARRAYS : LJ_SNAPSHOT_AVERAGE;
}

/* The writer, and room for a copy of what the objective carries on. */
static int make_root(struct lj_trainer *t)
{
    int arrays = lj_objective_arrays(t->objective, t->snapshot_state);
    for (int i = 0; i < arrays; i++)
        t->snapshot_state[i].values = NULL;
    for (int i = 0; i < arrays; i++) {
        struct lj_state_array *copy = &t->snapshot_state[i];
        copy->values = lj_alloc_array(copy->count, sizeof *copy->values, "checkpoint snapshot");
        if (!copy->values)
            return LJ_ERR_RESOURCE;
    }
    return lj_writer_create(&t->writer);
}

int lj_trainer_make_snapshot(struct lj_trainer *t)
{
    bool root = lj_comm_is_root(t->comm);
    int arrays = lj_trainer_snapshot_arrays(t);
    int64_t elements = root ? t->model->params.elements : lj_gradsync_shard(t->gradsync)->elements;
    for (int i = root ? LJ_SNAPSHOT_WEIGHTS : LJ_SNAPSHOT_MOMENT1; i < arrays; i++) {
        t->snapshot[i] = lj_alloc_array(elements, sizeof(float), "checkpoint snapshot");
        if (!t->snapshot[i])
            return LJ_ERR_RESOURCE;
    }
    return root ? make_root(t) : LJ_OK;
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
    for (int i = 0; i < LJ_STATE_ARRAYS_MAX; i++)
        lj_free(t->snapshot_state[i].values);
    free_texts(t);
}

static void take_snapshot(struct lj_trainer *t)
{
    bool root = lj_comm_is_root(t->comm);
    int64_t shard = lj_gradsync_shard(t->gradsync)->elements;
    float *const mine[LJ_SNAPSHOT_ARRAYS] = {[LJ_SNAPSHOT_MOMENT1] = lj_optim_moment(t->optim, 0),
                                             [LJ_SNAPSHOT_MOMENT2] = lj_optim_moment(t->optim, 1),
                                             [LJ_SNAPSHOT_AVERAGE] = t->average};
    for (int i = LJ_SNAPSHOT_MOMENT1; i < lj_trainer_snapshot_arrays(t); i++) {
        float *copy = t->snapshot[i];
        if (!root)
            memcpy(copy, mine[i], (size_t)shard * sizeof(float));
        lj_gradsync_collect_start(t->gradsync, root ? mine[i] : copy, root ? copy : NULL);
    }
    if (root)
        memcpy(t->snapshot[LJ_SNAPSHOT_WEIGHTS], t->weights,
               (size_t)t->model->params.elements * sizeof(float));
}

/* It is small: the root copies it at once. Local. */
static int copy_state(struct lj_trainer *t)
{
    struct lj_state_array now[LJ_STATE_ARRAYS_MAX];
    int arrays = lj_objective_arrays(t->objective, now);
    for (int i = 0; i < arrays; i++)
        memcpy(t->snapshot_state[i].values, now[i].values,
               (size_t)now[i].count * sizeof *now[i].values);
    return arrays;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* Tells the writer what to write as soon as the snapshot is whole. */
static int prepare_writer(struct lj_trainer *t, const char *dir, int64_t finished)
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
                                       .average = t->snapshot[LJ_SNAPSHOT_AVERAGE],
                                       .states = copy_state(t),
                                       .state = t->snapshot_state,
                                       .channels = lj_archive_info(t->archive)->channels,
                                       .mean = t->mean,
                                       .std = t->std,
                                       .least = t->has_range ? t->least : NULL,
                                       .most = t->has_range ? t->most : NULL,
                                       .low = limits ? limits->low : NULL,
                                       .high = limits ? limits->high : NULL};
    return lj_writer_prepare(t->writer, dir, &checkpoint, (int)t->config.checkpoint_keep);
}

int lj_trainer_checkpoint_begin(struct lj_trainer *t, const char *dir, int64_t finished)
{
    LJ_TRY(lj_trainer_checkpoint_finish(t));
    lj_pass_weights(t);
    lj_phase_begin(LJ_PHASE_CHECKPOINT);
    int status = lj_agree(t->comm, prepare_writer(t, dir, finished));
    t->writes = status == LJ_OK;
    if (status == LJ_OK)
        take_snapshot(t);
    lj_phase_end();
    return status;
}

int lj_trainer_write_on(struct lj_trainer *t)
{
    if (!t->writer || !t->writes)
        return LJ_OK;
    if (lj_gradsync_collected(t->gradsync))
        LJ_TRY(lj_writer_start(t->writer));
    return lj_writer_failure(t->writer);
}

static int finish_on_root(struct lj_trainer *t)
{
    if (!lj_comm_is_root(t->comm))
        return LJ_OK;
    LJ_TRY(lj_writer_start(t->writer));
    return lj_writer_wait(t->writer);
}

int lj_trainer_checkpoint_finish(struct lj_trainer *t)
{
    if (!t->writes)
        return LJ_OK;
    t->writes = false;
    lj_phase_begin(LJ_PHASE_CHECKPOINT);
    lj_gradsync_collect_finish(t->gradsync);
    lj_root_section_begin(t->comm);
    int status = lj_root_section_end(t->comm, finish_on_root(t));
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
    return lj_trainer_snapshot_arrays(t) * t->model->params.elements * (int64_t)sizeof(float);
}
