/* SPDX-License-Identifier: Apache-2.0 */
/* Plans and memory of a trainer: all of it taken here, before the first step. */
#include "train/trainer.h"

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
    t->sync_count = lj_plan_sync_count(t->plan[LJ_PASS_PROJECTOR]);
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
    LJ_TRY(plan_parts(t));
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
    for (int i = 0; i < 2 && t->comm->size > 1; i++)
        lj_free(t->moment[i]);
}
