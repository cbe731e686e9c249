/* SPDX-License-Identifier: Apache-2.0 */
/* A trainer continues from a checkpoint, read by rank 0 and dealt out: on any number of ranks. */
#include "train/trainer.h"

#include "store/store.h"

#include <string.h>

/* What the checkpoint was made of must fit this run. Rank 0. */
static int check_header(struct lj_trainer *t, const struct lj_checkpoint_header *header,
                        const char *path, struct lj_limits *limits)
{
    int channels = lj_archive_info(t->archive)->channels;
    if (header->channels != channels)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: was trained on %d channels, this archive has %d; use another run.dir",
                       path, header->channels, channels);
    return lj_trainer_check_continuation(t, header, path, limits);
}

/* What is beside the arrays. limits: in/out  those of the checkpoint, if the run goes on to stretch
 * by them. */
static int take_header(struct lj_trainer *t, const char *path, struct lj_limits *limits)
{
    struct lj_checkpoint_header header;
    LJ_TRY(lj_checkpoint_read_header(path, &header));
    int status = check_header(t, &header, path, limits);
    if (status == LJ_OK) {
        t->first_step = header.step;
        memcpy(t->mean, header.mean, (size_t)header.channels * sizeof *t->mean);
        memcpy(t->std, header.std, (size_t)header.channels * sizeof *t->std);
        t->has_range = header.least != NULL;
        if (t->has_range) {
            memcpy(t->least, header.least, (size_t)header.channels * sizeof *t->least);
            memcpy(t->most, header.most, (size_t)header.channels * sizeof *t->most);
        }
    }
    lj_checkpoint_header_free(&header);
    return status;
}

/* Reads the arrays first, because that decides which file it is. Where they do not fit, a setting
 * that differs is the better message. */
static int read_on_root(struct lj_trainer *t, const char *where, struct lj_limits *limits,
                        bool *has_average)
{
    char path[LJ_PATH_MAX], reason[2048];
    struct lj_state_array state[LJ_STATE_ARRAYS_MAX];
    if (!lj_comm_is_root(t->comm))
        return LJ_OK;
    struct lj_checkpoint_arrays arrays = {.weights = t->weights,
                                          .moment1 = t->snapshot[LJ_SNAPSHOT_MOMENT1],
                                          .moment2 = t->snapshot[LJ_SNAPSHOT_MOMENT2],
                                          .average = t->snapshot[LJ_SNAPSHOT_AVERAGE],
                                          .states = lj_objective_arrays(t->objective, state),
                                          .state = state};
    int status = lj_checkpoint_load(where, &t->model->params, &arrays, path);
    if (!path[0])
        return status;
    snprintf(reason, sizeof reason, "%s", lj_error_text());
    LJ_TRY(take_header(t, path, limits));
    *has_average = arrays.has_average;
    if (t->average && !arrays.has_average && status == LJ_OK)
        lj_warn("%s has no average of the weights: it begins with the weights of step %lld", path,
                (long long)t->first_step);
    lj_error_set(reason);
    return status;
}

/* The shards of an array that the root has read. */
static void deal_out(struct lj_trainer *t, int array, float *mine)
{
    lj_gradsync_scatter(t->gradsync, lj_comm_is_root(t->comm) ? t->snapshot[array] : NULL, mine,
                        lj_gradsync_shard(t->gradsync)->shard_offset);
}

/* What the objective carries on, from the root to everybody. */
static void spread_state(struct lj_trainer *t)
{
    struct lj_state_array state[LJ_STATE_ARRAYS_MAX];
    int arrays = lj_objective_arrays(t->objective, state);
    for (int i = 0; i < arrays; i++)
        lj_broadcast(t->comm, state[i].values, state[i].count * (int64_t)sizeof(float), 0);
}

int lj_trainer_resume(struct lj_trainer *t, const char *where)
{
    const struct lj_limits *of_rows = lj_archive_limits(t->archive);
    struct lj_limits limits = of_rows ? *of_rows : (struct lj_limits){0};
    bool has_average = false;
    lj_root_section_begin(t->comm);
    LJ_TRY(lj_root_section_end(t->comm, read_on_root(t, where, &limits, &has_average)));
    lj_broadcast(t->comm, &limits, sizeof limits, 0);
    lj_archive_set_limits(t->archive, &limits);
    lj_broadcast(t->comm, &t->first_step, sizeof t->first_step, 0);
    lj_broadcast(t->comm, &has_average, sizeof has_average, 0);
    lj_broadcast(t->comm, &t->held_steps, sizeof t->held_steps, 0);
    lj_optim_hold(t->optim, t->held_steps);
    lj_broadcast(t->comm, t->mean, sizeof t->mean, 0);
    lj_broadcast(t->comm, t->std, sizeof t->std, 0);
    spread_state(t);
    lj_trainer_spread_weights(t);
    deal_out(t, LJ_SNAPSHOT_MOMENT1, lj_optim_moment(t->optim, 0));
    deal_out(t, LJ_SNAPSHOT_MOMENT2, lj_optim_moment(t->optim, 1));
    if (t->average && has_average)
        deal_out(t, LJ_SNAPSHOT_AVERAGE, t->average);
    if (lj_has_target(t))
        lj_trainer_fill_target(t);
    return LJ_OK;
}
