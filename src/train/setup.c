/* SPDX-License-Identifier: Apache-2.0 */
/* From configuration and archive to a trainer. Each phase is local work, then one agreement. */
#include "train/trainer.h"

#include "kernels/kernels.h"

#include <math.h>

/* The fewest samples that statistics of a lane may be of, and those of a lane unless batch.lanes
 * says how many lanes there are. */
enum { LANE_SAMPLES = 8 };

/* ---- lanes ------------------------------------------------------------------------------- */

/* Known before the trainer has found the classes. */
static bool classifies(const struct lj_config *c)
{
    const struct lj_objective_kind *kind = NULL;
    return lj_objective_find(c->objective, &kind) == LJ_OK && kind->classifies;
}

static int check_lanes(const struct lj_config *c, int64_t lanes, int size)
{
    if (c->batch_size % lanes != 0 && c->batch_lanes)
        return lj_fail(LJ_ERR_CONFIG,
                       "batch.size %lld is not a multiple of batch.lanes %lld; change one of them",
                       (long long)c->batch_size, (long long)lanes);
    if (c->batch_size % lanes != 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "batch.size %lld is not a multiple of the %d samples of a lane; use "
                       "batch.size=%lld or %lld, or set batch.lanes to a divisor",
                       (long long)c->batch_size, LANE_SAMPLES, (long long)(lanes * LANE_SAMPLES),
                       (long long)((lanes + 1) * LANE_SAMPLES));
    if (c->batch_lanes > 0 && size > lanes)
        return lj_fail(LJ_ERR_CONFIG,
                       "%d ranks but batch.lanes=%lld: a lane is computed by one rank; use at most "
                       "%lld ranks, or more lanes",
                       size, (long long)lanes, (long long)lanes);
    int64_t n = c->batch_size / lanes;
    bool normalises = c->projector_layers > 1 || lj_objective_asks(c->objective, LJ_NEED_PREDICTOR);
    bool by_lane = c->projector_norm == LJ_PROJECTOR_NORM_LANE && normalises;
    if (by_lane && !classifies(c) && n < LANE_SAMPLES)
        return lj_fail(LJ_ERR_CONFIG,
                       "batch.size=%lld in %lld lanes gives lanes of %lld samples; "
                       "projector.norm=lane needs at least %d for its statistics: use "
                       "batch.size=%lld or more%s, or another projector.norm",
                       (long long)c->batch_size, (long long)lanes, (long long)n, LANE_SAMPLES,
                       (long long)(LANE_SAMPLES * lanes), lanes > 1 ? ", fewer batch.lanes" : "");
    return LJ_OK;
}

int lj_trainer_lanes(const struct lj_config *config, int ranks, int64_t *lanes)
{
    const struct lj_config *c = config;
    *lanes = c->batch_lanes ? c->batch_lanes : lj_max_i64(c->batch_size / LANE_SAMPLES, 1);
    return check_lanes(c, *lanes, ranks);
}

static int deal_lanes(struct lj_trainer *t)
{
    const struct lj_config *c = &t->config;
    LJ_TRY(lj_trainer_lanes(c, t->comm->size, &t->lanes));
    t->n = c->batch_size / t->lanes;
    lj_lanes_of_rank(t->lanes, t->comm->size, t->comm->rank, &t->first_lane, &t->end_lane);
    if (t->comm->size > t->lanes)
        lj_warn("%d ranks but %lld lanes: %lld ranks compute nothing and only join reductions; "
                "batch.size=%lld would use all of them",
                t->comm->size, (long long)t->lanes, (long long)(t->comm->size - t->lanes),
                (long long)((int64_t)t->comm->size * LANE_SAMPLES));
    return LJ_OK;
}

static int check_samples(const struct lj_trainer *t)
{
    int64_t selected = lj_archive_info(t->archive)->selected;
    if (selected >= t->config.batch_size)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: %lld samples are selected, fewer than batch.size %lld: a sample would meet "
                   "itself in the batch; lower batch.size or select more rows",
                   t->config.data_archive, (long long)selected, (long long)t->config.batch_size);
}

/* Of very few samples the statistics of a lane would be noise. */
static int check_lane_statistics(const struct lj_trainer *t)
{
    const struct lj_net *net = t->model->net[LJ_NET_ENCODER];
    for (int i = 0; t->n < LANE_SAMPLES && i < net->count; i++)
        if (net->node[i].kind->joins_images)
            return lj_fail(LJ_ERR_CONFIG,
                           "batch.lanes=%lld gives lanes of %lld samples; layer %s of model=%s "
                           "needs at least %d for the statistics of a lane: use at most %lld "
                           "lanes, or model.norm=batch",
                           (long long)t->lanes, (long long)t->n, net->node[i].name, t->config.model,
                           LANE_SAMPLES,
                           (long long)lj_max_i64(t->config.batch_size / LANE_SAMPLES, 1));
    return LJ_OK;
}

/* ---- model, recipes --------------------------------------------------------------------- */

static int make_model(struct lj_trainer *t)
{
    const struct lj_archive_info *info = lj_archive_info(t->archive);
    /* Resolved numbers go into config.yaml and checkpoints, so that the model can be built
     * again. */
    LJ_TRY(lj_model_resolve(&t->config, lj_min_i64(info->height, info->width)));
    t->views[0] = t->config.views_global;
    t->views[1] = t->config.views_local;
    LJ_TRY(lj_model_create(&t->model, &t->config, info->channels, LJ_BUCKET_BYTES));
    const int64_t *size = t->model->config.size;
    LJ_TRY(lj_view_recipe(&t->recipe[0], &t->config, info, false, size[0], t->mean, t->std));
    return lj_view_recipe(&t->recipe[1], &t->config, info, true, size[1], t->mean, t->std);
}

static int resolve_prototypes(struct lj_config *c)
{
    bool compares = lj_objective_asks(c->objective, LJ_NEED_PROTOTYPES);
    if (!compares && c->dino_prototypes > 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "dino.prototypes=%lld: objective=%s has no prototypes; set it to 0",
                       (long long)c->dino_prototypes, c->objective);
    if (compares && c->dino_prototypes == 0)
        c->dino_prototypes = LJ_PROTOTYPES;
    return LJ_OK;
}

int lj_trainer_resolve_objective(struct lj_config *c)
{
    bool predicts = lj_objective_asks(c->objective, LJ_NEED_PREDICTOR);
    if (!predicts && c->predictor_hidden > 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "predictor.hidden=%lld: objective=%s has no predictor; set it to 0",
                       (long long)c->predictor_hidden, c->objective);
    if (lj_objective_asks(c->objective, LJ_NEED_AVERAGE) && c->train_average > 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "train.average=%g: objective=%s keeps an average of the weights itself, by "
                       "target.momentum, which is evaluated and exported; leave train.average out",
                       c->train_average, c->objective);
    if (predicts && c->predictor_hidden == 0)
        c->predictor_hidden = c->projector_hidden;
    return resolve_prototypes(c);
}

static int check_gradients(const struct lj_config *c)
{
    if (c->comm_gradients == LJ_COMM_GRADIENTS_BF16 && c->reduce == LJ_REDUCE_FAST)
        return lj_fail(LJ_ERR_CONFIG, "comm.gradients=bf16: MPI's own reduction (reduce=fast) adds "
                                      "float32 only; use reduce=exact");
    return LJ_OK;
}

static int make_objective(struct lj_trainer *t)
{
    struct lj_objective_shape shape = {
        .views = lj_views_per_sample(t),
        .global_views = t->views[0],
        .width =
            lj_model_width(t->model, t->model->net[LJ_NET_HEAD] ? LJ_NET_HEAD : LJ_NET_PROJECTOR),
        .epoch = t->epoch_steps,
        .lanes = t->lanes,
        .my_lanes = lj_my_lanes(t),
        .lane_rows = t->n,
        .workers = t->workers,
        /* Where even the encoder runs again rather than be kept, so do the objective's smaller
         * matmuls. */
        .caches = t->config.memory_recompute != LJ_MEMORY_RECOMPUTE_LANES,
        .gives = LJ_NEED_PREDICTOR | LJ_NEED_AVERAGE | LJ_NEED_STATE | LJ_NEED_PROTOTYPES |
                 (t->classes.classes > 0 ? (unsigned)LJ_NEED_LABELS : 0),
        .class_rows = t->classes.rows};
    if (shape.gives & LJ_NEED_LABELS) {
        t->labels = lj_alloc_array(lj_my_lanes(t) * t->n, sizeof *t->labels, "labels");
        if (!t->labels)
            return LJ_ERR_RESOURCE;
    }
    return lj_objective_create(&t->objective, t->comm, t->objective_kind, &t->config, &shape,
                               &t->ledger);
}

static int prepare_locally(struct lj_trainer *t)
{
    LJ_TRY(lj_trainer_check_allowed(&t->config));
    LJ_TRY(check_gradients(&t->config));
    t->changes = json_array();
    if (!t->changes)
        return lj_fail(LJ_ERR_RESOURCE, "out of memory: trainer");
    LJ_TRY(lj_threads_use(t->config.threads, &t->workers));
    LJ_TRY(deal_lanes(t));
    LJ_TRY(lj_trainer_resolve_objective(&t->config));
    t->by_lane = t->config.memory_recompute == LJ_MEMORY_RECOMPUTE_LANES &&
                 lj_my_lanes(t) > t->workers; /* else each lane has a worker that keeps it */
    LJ_TRY(make_model(t));
    LJ_TRY(check_lane_statistics(t));
    LJ_TRY(check_samples(t));
    int64_t selected = lj_archive_info(t->archive)->selected;
    t->epoch_steps = (double)selected / (double)t->config.batch_size;
    t->schedule = lj_schedule_of(&t->config, selected);
    t->steps = t->schedule.steps;
    t->held_steps = (int64_t)ceil(fmin(t->config.dino_freeze_epochs * t->epoch_steps, 0x1p53));
    LJ_TRY(make_objective(t));
    LJ_TRY(lj_fault("setup", -1));
    return lj_trainer_plan(t);
}

/* ---- reductions and optimiser ------------------------------------------------------------ */

static int make_gradsync(struct lj_trainer *t)
{
    struct lj_gradsync_plan plan = {.lanes = t->lanes,
                                    .buckets = t->model->params.buckets,
                                    .bounds = t->model->params.bounds,
                                    .workers = t->workers,
                                    .by_wave = t->by_lane ? lj_encoder_buckets(t) : 0,
                                    .fast = t->config.reduce == LJ_REDUCE_FAST,
                                    .rounded = t->config.comm_gradients == LJ_COMM_GRADIENTS_BF16
                                                   ? t->model->params.trained_only
                                                   : NULL,
                                    .exchange = t->config.comm_exchange,
                                    .whole_everywhere = t->config.eval_every > 0};
    if (t->sync_count > 0) {
        t->sync_ledger = lj_ledger_entry(&t->ledger, "batchnorm", "MPI_Allreduce");
        t->sync_ledger->predicted_bytes_per_call = t->sync_bytes;
    }
    if (t->config.views_redraw > 0) {
        t->redraws_ledger = lj_ledger_entry(&t->ledger, "redraws", "MPI_Allreduce");
        t->redraws_ledger->predicted_bytes_per_call = 2 * (int64_t)sizeof(int64_t);
    }
    return lj_gradsync_create(&t->gradsync, t->comm, &plan, &t->ledger);
}

static int make_weights(struct lj_trainer *t)
{
    t->weights =
        lj_alloc_array(lj_gradsync_shard(t->gradsync)->weights_elements, sizeof(float), "weights");
    return t->weights ? LJ_OK : LJ_ERR_RESOURCE;
}

static int make_optim(struct lj_trainer *t)
{
    const struct lj_config *c = &t->config;
    struct lj_shard_layout shards = lj_trainer_shards(t);
    struct lj_optim_config config = {.beta1 = c->optim_beta1,
                                     .beta2 = c->optim_beta2,
                                     .eps = c->optim_eps,
                                     .weight_decay = c->optim_weight_decay,
                                     .decay_matrices_only =
                                         c->optim_decay_on != LJ_OPTIM_DECAY_ON_ALL,
                                     .encoder_buckets = lj_encoder_buckets(t),
                                     .encoder_lr = c->optim_encoder_lr,
                                     .held_steps = t->held_steps,
                                     .free_buckets = lj_buckets_without_prototypes(t),
                                     .statistic_momentum = 0.1,
                                     .lanes = t->lanes};
    return lj_optim_create(&t->optim, &t->model->params, &shards, &config);
}

static int make_loader(struct lj_trainer *t)
{
    if (lj_my_lanes(t) == 0)
        return LJ_OK;
    return lj_loader_create(&t->loader, t->archive, &t->config, t->lanes, t->first_lane,
                            t->end_lane, t->n, t->first_step);
}

static int create_collectively(struct lj_trainer *t, const char *resume_from)
{
    LJ_TRY(lj_trainer_find_classes(t));
    LJ_TRY(lj_agree(t->comm, prepare_locally(t)));
    LJ_TRY(make_gradsync(t));
    LJ_TRY(lj_agree(t->comm, make_weights(t)));
    LJ_TRY(lj_agree(t->comm, make_optim(t)));
    LJ_TRY(lj_agree(t->comm, lj_trainer_make_average(t)));
    LJ_TRY(lj_agree(t->comm, lj_trainer_make_snapshot(t)));
    if (resume_from) {
        LJ_TRY(lj_trainer_resume(t, resume_from));
    } else {
        LJ_TRY(lj_archive_statistics(t->archive, t->comm, t->mean, t->std));
        lj_archive_range(t->archive, t->least, t->most);
        t->has_range = true;
        lj_trainer_draw_weights(t);
    }
    lj_trainer_pack_weights(t);
    lj_ledger_restart(&t->ledger);
    return lj_agree(t->comm, make_loader(t));
}

int lj_trainer_create(struct lj_trainer **trainer, struct lj_comm *comm,
                      const struct lj_config *config, struct lj_archive *archive,
                      const char *resume_from)
{
    lj_phase_begin(LJ_PHASE_SETUP);
    struct lj_trainer *t = lj_alloc(sizeof *t, "trainer");
    int status = lj_agree(comm, t ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        t->config = *config;
        t->comm = comm;
        t->archive = archive;
        status = create_collectively(t, resume_from);
    }
    if (status == LJ_OK)
        *trainer = t;
    else
        lj_trainer_destroy(t);
    lj_phase_end();
    return status;
}

void lj_trainer_destroy(struct lj_trainer *t)
{
    if (!t)
        return;
    lj_loader_destroy(t->loader);
    lj_optim_destroy(t->optim);
    lj_gradsync_destroy(t->gradsync);
    lj_objective_destroy(t->objective);
    lj_trainer_release(t);
    lj_model_destroy(t->model);
    json_decref(t->changes);
    json_decref(t->source);
    lj_free(t);
}
