/* SPDX-License-Identifier: Apache-2.0 */
/* Projections of views as training sees them: the views of epoch 0, through encoder and projector.
 * One view after the other goes through all samples of a tile. Drop path is off, and batch
 * normalisation takes its running statistics, so that a sample's projections depend on it alone. */
#include "eval/project.h"

#include <string.h>

enum { ALIGN = 16 }; /* floats: arenas begin at cache lines */

int64_t lj_project_views(const struct lj_embedder *embedder)
{
    return embedder->config->views_global + embedder->config->views_local;
}

int64_t lj_project_width(const struct lj_embedder *embedder)
{
    return embedder->model->config.projector.out;
}

static int plan_net(struct lj_project *p, int which, int net, const struct lj_shape *input)
{
    LJ_TRY(lj_plan_create(&p->plan[which], p->embedder->model->net[net], p->tile, input,
                          (struct lj_plan_options){.mode = LJ_PLAN_INFER}));
    p->scratch = lj_max_i64(p->scratch, lj_plan_scratch(p->plan[which]));
    p->arena += lj_round_up(lj_plan_arena(p->plan[which]), ALIGN);
    return LJ_OK;
}

static int plan_views(struct lj_project *p, const struct lj_archive_info *info, int which)
{
    const struct lj_embedder *e = p->embedder;
    struct lj_shape view = lj_model_view(e->model, which);
    struct lj_view_recipe *recipe = &p->recipe[which];
    LJ_TRY(lj_view_recipe(recipe, e->config, info, which == LJ_PROJECT_LOCAL, view.dim[1], e->mean,
                          e->std));
    p->scratch = lj_max_i64(p->scratch, lj_view_scratch(recipe) * (int64_t)sizeof(float));
    return plan_net(p, which, LJ_NET_ENCODER, &view);
}

int lj_project_create(struct lj_project *p, const struct lj_embedder *embedder,
                      const struct lj_archive_info *info, int64_t tile)
{
    const struct lj_config *c = embedder->config;
    struct lj_shape row = {1, {embedder->model->embedding}};
    *p = (struct lj_project){
        .embedder = embedder, .tile = tile, .views = {c->views_global, c->views_local}};
    for (int which = 0; which < LJ_PROJECT_HEAD; which++)
        if (p->views[which] > 0)
            LJ_TRY(plan_views(p, info, which));
    return plan_net(p, LJ_PROJECT_HEAD, LJ_NET_PROJECTOR, &row);
}

void lj_project_destroy(struct lj_project *p)
{
    for (int i = 0; i < LJ_PROJECT_PLANS; i++)
        lj_plan_destroy(p->plan[i]);
}

/* The passes of a thread, whose arenas lie one after the other. */
struct passes {
    struct lj_pass pass[LJ_PROJECT_PLANS];
};

static struct passes passes_of(const struct lj_project *p, void *scratch, float *arena)
{
    struct passes passes;
    for (int i = 0; i < LJ_PROJECT_PLANS; i++) {
        passes.pass[i] = (struct lj_pass){
            .arena = arena, .scratch = scratch, .weights = p->embedder->weights, .n = p->tile};
        arena += p->plan[i] ? lj_round_up(lj_plan_arena(p->plan[i]), ALIGN) : 0;
    }
    return passes;
}

/* Runs a plan; returns its output (tile, width). */
static const float *run(const struct lj_project *p, const struct passes *passes, int which)
{
    const struct lj_plan *plan = p->plan[which];
    int nodes = lj_plan_net(plan)->count;
    lj_forward(plan, &passes->pass[which], 1, nodes);
    return lj_plan_value(plan, &passes->pass[which], nodes - 1);
}

/* View `number` of each sample of the tile, into the encoder's input. */
static void make_views(const struct lj_project *p, const struct passes *passes, int which,
                       int64_t number, const float *images, const int64_t *index, int64_t count)
{
    const struct lj_view_recipe *recipe = &p->recipe[which];
    int64_t image = recipe->channels * recipe->height * recipe->width;
    int64_t pixels = recipe->channels * recipe->size * recipe->size;
    float *view = lj_plan_value(p->plan[which], &passes->pass[which], 0);
    for (int64_t i = 0; i < count; i++) {
        const struct lj_draw draw = {.epoch = 0, .index = index[i]};
        const struct lj_view_source source = lj_view_source(recipe, images + i * image);
        lj_view_make(recipe, &source, p->embedder->config->seed, &draw, number, view + i * pixels,
                     passes->pass[which].scratch);
    }
    memset(view + count * pixels, 0, (size_t)((p->tile - count) * pixels) * sizeof *view);
}

void lj_project_tile(const struct lj_project *p, const float *images, const int64_t *index,
                     int64_t count, void *scratch, float *arena, float *out)
{
    const struct passes passes = passes_of(p, scratch, arena);
    int64_t V = lj_project_views(p->embedder), D = lj_project_width(p->embedder);
    float *rows = lj_plan_value(p->plan[LJ_PROJECT_HEAD], &passes.pass[LJ_PROJECT_HEAD], 0);
    for (int64_t v = 0; v < V; v++) {
        int which = v < p->views[LJ_PROJECT_GLOBAL] ? LJ_PROJECT_GLOBAL : LJ_PROJECT_LOCAL;
        lj_progress();
        make_views(p, &passes, which, v, images, index, count);
        const float *embeddings = run(p, &passes, which);
        memcpy(rows, embeddings, (size_t)(p->tile * p->embedder->model->embedding) * sizeof *rows);
        const float *projections = run(p, &passes, LJ_PROJECT_HEAD);
        for (int64_t i = 0; i < count; i++)
            memcpy(out + (i * V + v) * D, projections + i * D, (size_t)D * sizeof *out);
    }
}
