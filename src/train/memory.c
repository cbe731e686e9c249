/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and memory of a trainer: all of it taken here, before the first step. */
#include "train/trainer.h"

#include <stdio.h>

/* Recomputing lane by lane, a worker forgets a lane before it begins the next, but a layer with
 * statistics of the global batch needs all lanes at once. */
static const struct lj_node *node_of_all_lanes(const struct lj_trainer *t)
{
    const struct lj_net *net = t->model->net[LJ_NET_ENCODER];
    for (int i = 0; i < net->count; i++)
        if (lj_node_sync_count(&net->node[i]) > 0)
            return &net->node[i];
    return NULL;
}

static int check_recompute(const struct lj_trainer *t)
{
    const struct lj_node *node = node_of_all_lanes(t);
    if (!node || t->config.memory_recompute != LJ_MEMORY_RECOMPUTE_LANES)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "memory.recompute=lanes: layer %s of model=%s takes statistics over the global "
                   "batch, for which all lanes' activations are kept; use memory.recompute=blocks "
                   "or none",
                   node->name, t->config.model);
}

/* Weights of the encoder's two passes, global and local views, in the one update of a lane's
 * running statistics: each pass's share of the pixels. Running mean and variance then move towards
 * the weighted means of the two passes' means and variances. */
static void weigh_statistics(struct lj_trainer *t)
{
    double pixels[2] = {0, 0};
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        struct lj_shape view = lj_model_view(t->model, part);
        pixels[part] = (double)(t->views[part] * lj_shape_count(&view));
    }
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++)
        t->statistic_share[part] = (float)(pixels[part] / (pixels[0] + pixels[1]));
    for (int part = LJ_PASS_PROJECTOR; part < LJ_PASS_KINDS; part++)
        t->statistic_share[part] = 1;
}

/* Adds the allreduces of the passes at work, a node's `each` time, and the integers that they
 * carry. */
static void count_sums(struct lj_trainer *t, int64_t each, int64_t *calls, int64_t *integers)
{
    for (int net = 0; net < LJ_NETS; net++) {
        int passes = 0;
        for (int part = 0; part < LJ_PASS_KINDS; part++)
            passes += lj_passes_net(t, part, net);
        for (int i = 0; passes > 0 && i < t->model->net[net]->count; i++) {
            int64_t count = passes * lj_node_sync_count(&t->model->net[net]->node[i]);
            t->sync_count = lj_max_i64(t->sync_count, count);
            *calls += count > 0 ? each : 0;
            *integers += count > 0 ? each * (count + 1) : 0;
        }
    }
}

/* Room for the sums of any node with statistics of the global batch, and what its allreduces carry
 * in the mean: one forward and one backward, and in the target's passes one forward. */
static void measure_sums(struct lj_trainer *t)
{
    int64_t calls = 0, integers = 0;
    count_sums(t, 2, &calls, &integers);
    t->by_target = true;
    if (t->plan[LJ_PASS_TARGET])
        count_sums(t, 1, &calls, &integers);
    t->by_target = false;
    t->sync_bytes = calls > 0 ? integers * (int64_t)sizeof(int64_t) / calls : 0;
}

static struct lj_plan_options plan_options(const struct lj_trainer *t, enum lj_plan_mode mode)
{
    return (struct lj_plan_options){
        .mode = mode, .tile_rows = t->config.memory_tile, .bf16 = t->bf16};
}

static enum lj_plan_mode mode_of(enum lj_memory_recompute recompute)
{
    return recompute == LJ_MEMORY_RECOMPUTE_BLOCKS ? LJ_PLAN_RECOMPUTE : LJ_PLAN_TRAIN;
}

/* Plans of the encoder's passes. */
static int plan_encoder(const struct lj_trainer *t, enum lj_memory_recompute recompute,
                        struct lj_plan *plan[2])
{
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        struct lj_shape view = lj_model_view(t->model, part);
        if (t->views[part] > 0)
            LJ_TRY(lj_plan_create(&plan[part], t->model->net[LJ_NET_ENCODER], t->views[part] * t->n,
                                  &view, plan_options(t, mode_of(recompute))));
    }
    return LJ_OK;
}

static int plan_parts(struct lj_trainer *t)
{
    struct lj_shape row = {1, {t->model->embedding}},
                    projection = {1, {t->model->config.projector.out}};
    int64_t images = lj_views_per_sample(t) * t->n;
    LJ_TRY(plan_encoder(t, t->config.memory_recompute, t->plan));
    LJ_TRY(lj_plan_create(&t->plan[LJ_PASS_PROJECTOR], t->model->net[LJ_NET_PROJECTOR], images,
                          &row, plan_options(t, LJ_PLAN_TRAIN)));
    if (t->model->net[LJ_NET_HEAD])
        LJ_TRY(lj_plan_create(&t->plan[LJ_PASS_HEAD], t->model->net[LJ_NET_HEAD], images,
                              &projection, plan_options(t, LJ_PLAN_TRAIN)));
    if (lj_has_target(t))
        LJ_TRY(lj_plan_create(&t->plan[LJ_PASS_TARGET], t->model->net[LJ_NET_PROJECTOR],
                              t->views[0] * t->n, &row, plan_options(t, LJ_PLAN_INFER)));
    if (lj_has_target(t) && t->model->config.prototypes > 0)
        LJ_TRY(lj_plan_create(&t->plan[LJ_PASS_TARGET_HEAD], t->model->net[LJ_NET_HEAD],
                              t->views[0] * t->n, &projection, plan_options(t, LJ_PLAN_INFER)));
    return LJ_OK;
}

/* ---- what each memory.recompute takes ---------------------------------------------------- */

/* Sums of the encoder's gradient that this rank sets aside between waves. */
static int64_t aside(const struct lj_trainer *t, int workers)
{
    int sums = lj_lanes_sums_between_waves(t->lanes, t->first_lane, t->end_lane, workers);
    return t->config.reduce == LJ_REDUCE_FAST ? lj_min_i64(sums, 1) : sums;
}

/* Bytes of this rank's activations, and of the sums of gradients that are set aside, with that
 * setting and so many threads; -1: out of memory. */
static int64_t bytes_with(const struct lj_trainer *t, enum lj_memory_recompute recompute,
                          int workers)
{
    struct lj_plan *plan[2] = {NULL, NULL};
    bool by_lane = recompute == LJ_MEMORY_RECOMPUTE_LANES && lj_my_lanes(t) > workers;
    int64_t floats = 0, kept = by_lane ? workers : lj_my_lanes(t);
    int status = plan_encoder(t, recompute, plan);
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        floats += status == LJ_OK && plan[part] ? kept * lj_plan_arena(plan[part]) : 0;
        lj_plan_destroy(plan[part]);
    }
    for (int part = LJ_PASS_PROJECTOR; part < LJ_PASS_KINDS; part++)
        floats += t->plan[part] ? lj_my_lanes(t) * lj_plan_arena(t->plan[part]) : 0;
    if (lj_has_target(t))
        floats += lj_my_lanes(t) * lj_averaged_floats(t);
    if (by_lane)
        floats += aside(t, workers) * t->model->params.bounds[lj_encoder_buckets(t)];
    return status == LJ_OK ? floats * (int64_t)sizeof(float) : -1;
}

static int measure_settings(struct lj_trainer *t)
{
    for (int r = 0; r <= LJ_MEMORY_RECOMPUTE_LANES; r++) {
        bool possible = r != LJ_MEMORY_RECOMPUTE_LANES || !node_of_all_lanes(t);
        t->recompute_bytes[r] =
            possible ? bytes_with(t, (enum lj_memory_recompute)r, t->workers) : 0;
        if (t->recompute_bytes[r] < 0)
            return LJ_ERR_RESOURCE;
    }
    return LJ_OK;
}

/* Names what takes less memory than this run does, and how much. */
static void name_savings(const struct lj_trainer *t, char *text, size_t capacity)
{
    const int64_t now = t->recompute_bytes[t->config.memory_recompute];
    const int64_t lanes = t->recompute_bytes[LJ_MEMORY_RECOMPUTE_LANES];
    int64_t one = lanes > 0 && t->workers > 1 ? bytes_with(t, LJ_MEMORY_RECOMPUTE_LANES, 1) : -1;
    size_t at = 0;
    text[0] = 0;
    for (int r = 0; r <= LJ_MEMORY_RECOMPUTE_LANES && at < capacity; r++)
        if (t->recompute_bytes[r] > 0 && t->recompute_bytes[r] < now)
            at += (size_t)snprintf(text + at, capacity - at, "; %lld MiB with memory.recompute=%s",
                                   (long long)(t->recompute_bytes[r] >> 20),
                                   lj_memory_recompute_word((enum lj_memory_recompute)r));
    if (one >= 0 && one < now && one < lanes && at < capacity)
        at += (size_t)snprintf(text + at, capacity - at,
                               "; %lld MiB with memory.recompute=lanes threads=1",
                               (long long)(one >> 20));
    if (lj_my_lanes(t) > 1 && at < capacity)
        snprintf(text + at, capacity - at,
                 "; less with fewer lanes on a node: more nodes, or a smaller batch.size");
}

/* Bytes of scratch that the plans need, in each worker. */
static int64_t scratch_bytes(const struct lj_trainer *t)
{
    int64_t bytes = 1;
    for (int part = 0; part < LJ_PASS_KINDS; part++)
        if (t->plan[part])
            bytes = lj_max_i64(bytes, lj_plan_scratch(t->plan[part]));
    return bytes;
}

/* ---- before there is a trainer ----------------------------------------------------------- */

static int64_t widest_bucket(const struct lj_params *params)
{
    int64_t widest = 0;
    for (int b = 0; b < params->buckets; b++)
        widest = lj_max_i64(widest, params->bounds[b + 1] - params->bounds[b]);
    return widest;
}

static int foresee(struct lj_trainer_memory *memory, struct lj_trainer *t)
{
    struct lj_params *params = &t->model->params;
    /* The weights, two moments, the gradient, an average; those of a checkpoint. */
    int64_t arrays = 4 + lj_averages(t) + lj_has_target(t) + lj_trainer_snapshot_arrays(t);
    int64_t floats = arrays * params->elements;
    floats += 2 * widest_bucket(params); /* the lane's share of a bucket, and their sum */
    int64_t packed = lj_params_pack_layout(params, t->bf16);
    memory->state = floats * (int64_t)sizeof(float) + packed * (lj_has_target(t) ? 2 : 1);
    LJ_TRY(check_recompute(t));
    LJ_TRY(plan_parts(t));
    int64_t bytes = bytes_with(t, t->config.memory_recompute, t->workers);
    memory->lane = bytes + scratch_bytes(t);
    return bytes < 0 ? LJ_ERR_RESOURCE : LJ_OK;
}

int lj_trainer_memory(struct lj_trainer_memory *memory, struct lj_model *model,
                      const struct lj_config *config, int64_t samples)
{
    struct lj_trainer *t = lj_alloc(sizeof *t, "trainer");
    if (!t)
        return LJ_ERR_RESOURCE;
    t->config = *config;
    t->model = model;
    t->lanes = t->end_lane = t->workers = 1;
    t->n = samples;
    t->views[0] = config->views_global;
    t->views[1] = config->views_local;
    t->bf16 = config->precision == LJ_PRECISION_BF16;
    int status = lj_objective_find(config->objective, &t->objective_kind);
    if (status == LJ_OK)
        status = foresee(memory, t);
    for (int part = 0; part < LJ_PASS_KINDS; part++)
        lj_plan_destroy(t->plan[part]);
    lj_free(t);
    return status;
}

/* ---- taking it --------------------------------------------------------------------------- */

static int refuse_activations(const struct lj_trainer *t)
{
    char savings[512];
    enum lj_memory_recompute recompute = t->config.memory_recompute;
    name_savings(t, savings, sizeof savings);
    return lj_fail(LJ_ERR_RESOURCE,
                   "out of memory: activations of %lld lanes take %lld MiB on a rank with "
                   "memory.recompute=%s%s",
                   (long long)lj_my_lanes(t), (long long)(t->recompute_bytes[recompute] >> 20),
                   lj_memory_recompute_word(recompute), savings);
}

/* Each arena is touched first by the thread that will work in it (passes.c: run_wave), so that it
 * lies in that thread's memory. */
static int take_arenas(struct lj_trainer *t, enum lj_pass_kind part)
{
    bool shared = t->by_lane && lj_net_of((int)part) == LJ_NET_ENCODER;
    if (!t->plan[part])
        return LJ_OK;
    t->arenas[part] = shared ? t->workers : (int)lj_my_lanes(t);
    t->arena[part] = lj_alloc_array(t->arenas[part], sizeof(float *), "trainer");
    if (!t->arena[part])
        return LJ_ERR_RESOURCE;
    int64_t floats = lj_plan_arena(t->plan[part]);
#pragma omp parallel for schedule(static, 1) num_threads(t->workers)
    for (int s = 0; s < t->workers; s++)
        for (int i = s; i < t->arenas[part]; i += t->workers)
            t->arena[part][i] = lj_alloc_array(floats, sizeof(float), "activations");
    for (int i = 0; i < t->arenas[part]; i++)
        if (!t->arena[part][i])
            return refuse_activations(t);
    return LJ_OK;
}

static int take_scratch(struct lj_trainer *t)
{
    int64_t bytes = scratch_bytes(t);
    int kinds;
    lj_layer_kinds(&kinds);
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++)
        if (t->plan[part])
            bytes = lj_max_i64(bytes, lj_view_scratch(&t->recipe[part]) * (int64_t)sizeof(float));
    t->scratch = lj_alloc_array(t->workers, sizeof *t->scratch, "trainer");
    t->sync_sums = lj_alloc_array(t->workers, sizeof *t->sync_sums, "trainer");
    t->clock = lj_alloc_array(t->workers, sizeof *t->clock, "trainer");
    if (!t->scratch || !t->sync_sums || !t->clock)
        return LJ_ERR_RESOURCE;
#pragma omp parallel for schedule(static, 1) num_threads(t->workers)
    for (int s = 0; s < t->workers; s++) {
        t->scratch[s] = lj_alloc_array(bytes, 1, "scratch");
        t->sync_sums[s] = lj_alloc_array(t->sync_count + 1, sizeof(int64_t), "trainer");
        t->clock[s] = lj_alloc_array(kinds, sizeof **t->clock, "trainer");
    }
    for (int s = 0; s < t->workers; s++)
        if (!t->scratch[s] || !t->sync_sums[s] || !t->clock[s])
            return lj_fail(LJ_ERR_RESOURCE, "out of memory: %lld MiB of scratch for each thread",
                           (long long)(bytes >> 20));
    return LJ_OK;
}

int lj_trainer_plan(struct lj_trainer *t)
{
    t->bf16 = t->config.precision == LJ_PRECISION_BF16;
    int64_t packed = lj_params_pack_layout(&t->model->params, t->bf16);
    bool packs = packed > 0 && lj_my_lanes(t) > 0;
    t->packed = packs ? lj_alloc_array(packed, 1, "packed weights") : NULL;
    t->target_packed =
        packs && lj_has_target(t) ? lj_alloc_array(packed, 1, "packed weights") : NULL;
    if (packs && (!t->packed || (lj_has_target(t) && !t->target_packed)))
        return LJ_ERR_RESOURCE;
    LJ_TRY(check_recompute(t));
    LJ_TRY(plan_parts(t));
    LJ_TRY(measure_settings(t));
    weigh_statistics(t);
    measure_sums(t);
    LJ_TRY(take_scratch(t));
    t->redraws = lj_alloc_array(lj_my_lanes(t), sizeof *t->redraws, "trainer");
    if (!t->redraws)
        return LJ_ERR_RESOURCE;
    for (int part = 0; part < LJ_PASS_KINDS; part++)
        LJ_TRY(take_arenas(t, (enum lj_pass_kind)part));
    return LJ_OK;
}

void lj_trainer_release(struct lj_trainer *t)
{
    for (int part = 0; part < LJ_PASS_KINDS; part++) {
        for (int i = 0; t->arena[part] && i < t->arenas[part]; i++)
            lj_free(t->arena[part][i]);
        lj_free(t->arena[part]);
        lj_plan_destroy(t->plan[part]);
    }
    for (int s = 0; s < t->workers; s++) {
        lj_free(t->scratch ? t->scratch[s] : NULL);
        lj_free(t->sync_sums ? t->sync_sums[s] : NULL);
        lj_free(t->clock ? t->clock[s] : NULL);
    }
    lj_free(t->scratch);
    lj_free(t->sync_sums);
    lj_free(t->clock);
    lj_free(t->redraws);
    lj_free(t->labels);
    lj_free(t->classes.label);
    lj_free(t->classes.rows);
    lj_free(t->weights);
    lj_free(t->average);
    lj_free(t->target);
    lj_free(t->target_packed);
    lj_free(t->averaged);
    lj_free(t->packed);
    lj_trainer_free_snapshot(t);
}
