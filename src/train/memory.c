/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and memory of a trainer: all of it taken here, before the first step. */
#include "train/trainer.h"

/* Recomputing lane by lane, a worker forgets a lane before it begins the next, but a layer with
 * statistics of the global batch needs all lanes at once. */
static int check_recompute(const struct lj_trainer *t)
{
    const struct lj_net *net = t->model->net[LJ_NET_ENCODER];
    bool lanes = t->config.memory_recompute == LJ_MEMORY_RECOMPUTE_LANES;
    for (int i = 0; lanes && i < net->count; i++)
        if (lj_node_sync_count(&net->node[i]) > 0)
            return lj_fail(LJ_ERR_CONFIG,
                           "memory.recompute=lanes: layer %s of model=%s takes statistics over the "
                           "global batch, for which all lanes' activations are kept; use "
                           "memory.recompute=blocks or none",
                           net->node[i].name, t->config.model);
    return LJ_OK;
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
    t->statistic_share[LJ_PASS_PROJECTOR] = 1;
}

/* Room for the sums of any node with statistics of the global batch, and what its allreduce
 * carries. */
static void measure_sums(struct lj_trainer *t)
{
    int64_t nodes = 0, integers = 0;
    for (int net = 0; net < LJ_NETS; net++) {
        int passes = 0;
        for (int part = 0; part < LJ_PASS_KINDS; part++)
            passes += lj_passes_net(t, part, net);
        for (int i = 0; i < t->model->net[net]->count; i++) {
            int64_t count = passes * lj_node_sync_count(&t->model->net[net]->node[i]);
            t->sync_count = lj_max_i64(t->sync_count, count);
            nodes += count > 0;
            integers += count > 0 ? count + 1 : 0;
        }
    }
    t->sync_bytes = nodes > 0 ? integers * (int64_t)sizeof(int64_t) / nodes : 0;
}

static int plan_parts(struct lj_trainer *t)
{
    struct lj_plan_options options = {
        .mode = t->config.memory_recompute == LJ_MEMORY_RECOMPUTE_BLOCKS ? LJ_PLAN_RECOMPUTE
                                                                         : LJ_PLAN_TRAIN,
        .tile_rows = t->config.memory_tile,
        .bf16 = t->bf16};
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        struct lj_shape view = lj_model_view(t->model, part);
        if (t->views[part] > 0)
            LJ_TRY(lj_plan_create(&t->plan[part], t->model->net[LJ_NET_ENCODER],
                                  t->views[part] * t->n, &view, options));
    }
    struct lj_shape row = {1, {t->model->embedding}};
    options.mode = LJ_PLAN_TRAIN;
    return lj_plan_create(&t->plan[LJ_PASS_PROJECTOR], t->model->net[LJ_NET_PROJECTOR],
                          lj_views_per_sample(t) * t->n, &row, options);
}

/* Each arena is touched first by the thread that will work in it (passes.c: run_wave), so that it
 * lies in that thread's memory. */
static int take_arenas(struct lj_trainer *t, enum lj_pass_kind part)
{
    bool shared = t->by_lane && part != LJ_PASS_PROJECTOR;
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
            return lj_fail(LJ_ERR_RESOURCE,
                           "out of memory: %d times %lld MiB of activations; use more ranks, a "
                           "smaller batch, or memory.recompute=lanes or blocks",
                           t->arenas[part], (long long)(floats * (int64_t)sizeof(float) >> 20));
    return LJ_OK;
}

static int take_scratch(struct lj_trainer *t)
{
    int64_t bytes = 1;
    int kinds;
    lj_layer_kinds(&kinds);
    for (int part = 0; part < LJ_PASS_KINDS; part++)
        if (t->plan[part])
            bytes = lj_max_i64(bytes, lj_plan_scratch(t->plan[part]));
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
    if (packs && !t->packed)
        return LJ_ERR_RESOURCE;
    LJ_TRY(check_recompute(t));
    LJ_TRY(plan_parts(t));
    weigh_statistics(t);
    measure_sums(t);
    LJ_TRY(take_scratch(t));
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
    lj_free(t->weights);
    lj_free(t->packed);
    lj_trainer_free_snapshot(t);
}
