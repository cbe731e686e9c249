/* SPDX-License-Identifier: Apache-2.0 */
/* Objectives beside each other, on all ranks of the job, with the settings of one run. */
#include "run/scale/scale.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- plan -------------------------------------------------------------------------------- */

static bool listed(const struct lj_comparison *c, const struct lj_objective_kind *kind)
{
    for (int i = 0; i < c->count; i++)
        if (c->objective[i].kind == kind)
            return true;
    return false;
}

static int add(struct lj_comparison *c, const struct lj_objective_kind *kind)
{
    if (kind->needs & LJ_NEED_LABELS)
        return lj_fail(
            LJ_ERR_CONFIG,
            "objectives: %s needs labels, and does not compare with objectives that need "
            "none; leave it out",
            kind->name);
    if (listed(c, kind))
        return lj_fail(LJ_ERR_CONFIG, "objectives: %s is there twice", kind->name);
    if (c->count == LJ_COMPARED_MAX)
        return lj_fail(LJ_ERR_CONFIG, "objectives: at most %d", LJ_COMPARED_MAX);
    c->objective[c->count++].kind = kind;
    return LJ_OK;
}

static int add_all(struct lj_comparison *c)
{
    for (int i = 0; lj_objective_at(i); i++)
        if (!(lj_objective_at(i)->needs & LJ_NEED_LABELS))
            LJ_TRY(add(c, lj_objective_at(i)));
    return LJ_OK;
}

static int read_names(struct lj_comparison *c, const char *text)
{
    char name[128];
    if (strcmp(text, "all") == 0)
        return add_all(c);
    for (const char *at = text; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        const struct lj_objective_kind *kind = NULL;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
        LJ_TRY(lj_objective_find(name, &kind));
        LJ_TRY(add(c, kind));
    }
    return LJ_OK;
}

static int check_arguments(const struct lj_config *c)
{
    if (c->arg_target[0] || c->arg_predict[0] || c->arg_ranks[0] ||
        c->arg_mode != LJ_ARG_MODE_BOTH || c->arg_probe != LJ_ARG_PROBE_NONE)
        return lj_fail(LJ_ERR_CONFIG,
                       "objectives=%s: compares on all ranks of the job; leave out "
                       "ranks, mode, predict, probe and target",
                       c->arg_objectives);
    if (c->eval_every > 0 && !c->arg_out[0])
        return lj_fail(
            LJ_ERR_CONFIG,
            "objectives=%s: with eval.every, each is trained: set out=, the directory in "
            "which the runs will be",
            c->arg_objectives);
    return LJ_OK;
}

static void plan_objective(struct lj_comparison *c, int k, const struct lj_config *config, int size,
                           int64_t lanes)
{
    struct lj_compared *o = &c->objective[k];
    o->shape = (struct lj_objective_shape){.views = config->views_global + config->views_local,
                                           .global_views = config->views_global,
                                           .width = config->projector_out,
                                           .lanes = lanes,
                                           .lane_rows = config->batch_size / lanes,
                                           .workers = 1};
    if (o->kind->traffic)
        o->messages = o->kind->traffic(o->traffic, config, &o->shape, size);
    lj_compare_formula(o, config, size);
    c->scale->rung[k] = (struct lj_scale_rung){
        .strong = true, .ranks = size, .batch = config->batch_size, .lanes = lanes};
}

/* Those of a run with that objective. What is another one's alone is left out. */
static void settings_with(struct lj_config *settings, const struct lj_config *config,
                          const struct lj_objective_kind *kind)
{
    *settings = *config;
    snprintf(settings->objective, sizeof settings->objective, "%s", kind->name);
    if (!(kind->needs & LJ_NEED_PREDICTOR))
        settings->predictor_hidden = 0;
    if (!(kind->needs & LJ_NEED_PROTOTYPES))
        settings->dino_prototypes = 0;
}

/* What would end the study only when an objective's turn comes.
 *   settings  out  of its run */
static int check_objective(const struct lj_compared *o, const struct lj_config *config, int size,
                           struct lj_config *settings)
{
    int64_t lanes;
    struct lj_objective_shape shape = o->shape;
    settings_with(settings, config, o->kind);
    LJ_TRY(lj_trainer_lanes(settings, size, &lanes));
    LJ_TRY(lj_trainer_resolve_objective(settings));
    if (o->kind->needs & LJ_NEED_PROTOTYPES)
        shape.width = settings->dino_prototypes;
    return lj_objective_check(o->kind, settings, &shape);
}

static int check_objectives(const struct lj_comparison *comparison, const struct lj_config *config,
                            int size)
{
    struct lj_config *settings = lj_alloc(sizeof *settings, "scale");
    int status = settings ? LJ_OK : LJ_ERR_RESOURCE;
    for (int k = 0; status == LJ_OK && k < comparison->count; k++)
        status = check_objective(&comparison->objective[k], config, size, settings);
    lj_free(settings);
    return status;
}

int lj_comparison_plan(struct lj_comparison *comparison, const struct lj_config *config, int size)
{
    int64_t lanes = 0;
    memset(comparison, 0, sizeof *comparison);
    LJ_TRY(check_arguments(config));
    LJ_TRY(read_names(comparison, config->arg_objectives));
    LJ_TRY(lj_trainer_lanes(config, size, &lanes));
    comparison->scale = lj_alloc(sizeof *comparison->scale, "scale");
    if (!comparison->scale)
        return LJ_ERR_RESOURCE;
    comparison->scale->repeats = (int)config->arg_repeats;
    comparison->scale->steps = (int)config->arg_steps;
    comparison->scale->warmup = (int)config->arg_warmup;
    for (int k = 0; k < comparison->count; k++)
        plan_objective(comparison, k, config, size, lanes);
    return check_objectives(comparison, config, size);
}

void lj_comparison_release(struct lj_comparison *comparison)
{
    if (comparison->scale)
        lj_scale_release(comparison->scale);
    lj_free(comparison->scale);
    comparison->scale = NULL;
}

void lj_comparison_dir(const struct lj_config *config, const char *name, char dir[LJ_PATH_MAX])
{
    snprintf(dir, LJ_PATH_MAX, "%.4000s/objective-%s", config->arg_out, name);
}

/* ---- steps ------------------------------------------------------------------------------- */

struct comparing {
    struct lj_comm *comm;
    struct lj_config *config, *of_run; /* owned: with an objective; and that a run has resolved */
    struct lj_archive *archive;
    struct lj_comparison *comparison;
    int (*keep)(void *data);
    void *data;
};

static int keep(struct comparing *c)
{
    lj_root_section_begin(c->comm);
    return lj_root_section_end(c->comm, lj_comm_is_root(c->comm) ? c->keep(c->data) : LJ_OK);
}

static struct lj_config *config_of(struct comparing *c, const struct lj_config *config, int k)
{
    settings_with(c->config, config, c->comparison->objective[k].kind);
    return c->config;
}

/* What its messages moved in a step, on the rank with most. Collective. */
static void take_traffic(struct comparing *c, struct lj_compared *o, struct lj_ledger *ledger)
{
    int64_t steps = (int64_t)c->comparison->scale->repeats * c->comparison->scale->steps;
    for (int i = 0; i < o->messages; i++) {
        const struct lj_ledger_entry *e =
            lj_ledger_entry(ledger, o->traffic[i].name, o->traffic[i].collective);
        o->bytes[i] = lj_all_max(c->comm, e->bytes) / steps;
        o->calls[i] = (double)e->calls / (double)steps;
    }
}

static int measure_objective(struct comparing *c, const struct lj_config *config, int k)
{
    struct lj_scale *scale = c->comparison->scale;
    struct lj_compared *o = &c->comparison->objective[k];
    struct lj_scale_rung *rung = &scale->rung[k];
    struct lj_config *settings = config_of(c, config, k);
    struct lj_scale_bits bits = {0};
    settings->eval_every = 0;
    struct lj_scale_work work = {
        .comm = c->comm, .config = settings, .archive = c->archive, .scale = scale, .rung = rung};
    LJ_TRY(lj_scale_rung(&work, &bits));
    take_traffic(c, o, &rung->ledger);
    o->loss_share = rung->phase[LJ_PHASE_LOSS].mean / lj_scale_repeats_s(scale, rung);
    scale->measured = k + 1;
    lj_scale_judge(scale);
    lj_say("scale: objective=%s: a step takes %.4f s (%.4f to %.4f)", o->kind->name, rung->step_s,
           rung->step_s_low, rung->step_s_high);
    LJ_TRY(lj_compare_alone(o, c->comm, settings));
    c->comparison->measured = k + 1;
    return keep(c);
}

/* ---- kNN --------------------------------------------------------------------------------- */

void lj_comparison_judge(struct lj_comparison *c)
{
    for (int k = 0; k < c->trained; k++)
        if (k == 0 || c->objective[k].goal.seconds < c->within_s)
            c->within_s = c->objective[k].goal.seconds;
    for (int k = 0; k < c->trained; k++) {
        struct lj_compared *o = &c->objective[k];
        o->found_within = NAN;
        for (int i = 0; i < o->goal.points && o->goal.point[i].seconds <= c->within_s; i++)
            o->found_within = o->goal.point[i].found;
    }
}

/* The accuracy is one that no evaluation reaches. */
static int train_objective(struct comparing *c, const struct lj_config *config, int k)
{
    struct lj_compared *o = &c->comparison->objective[k];
    char name[64];
    snprintf(name, sizeof name, "objective-%s", o->kind->name);
    o->goal = (struct lj_run_goal){.knn_top1 = 2};
    o->goal.point = lj_alloc_array(LJ_RUN_POINTS_MAX, sizeof *o->goal.point, "scale");
    LJ_TRY(lj_agree(c->comm, o->goal.point ? LJ_OK : LJ_ERR_RESOURCE));
    LJ_TRY(lj_scale_run(c->comm, config_of(c, config, k), name, 0, c->of_run, &o->goal));
    lj_say("scale: objective=%s: knn_top1 %.4f after %lld steps, %.1f s", o->kind->name,
           o->goal.found, (long long)o->goal.steps, o->goal.seconds);
    c->comparison->trained = k + 1;
    lj_comparison_judge(c->comparison);
    return keep(c);
}

static int train_all(struct comparing *c, const struct lj_config *config)
{
    int status = LJ_OK;
    for (int k = 0; status == LJ_OK && k < c->comparison->count; k++)
        status = train_objective(c, config, k);
    for (int k = 0; k < c->comparison->count; k++) {
        lj_free(c->comparison->objective[k].goal.point);
        c->comparison->objective[k].goal.point = NULL;
    }
    return status;
}

static int compare_all(struct comparing *c, const struct lj_config *config)
{
    for (int k = 0; k < c->comparison->count; k++)
        LJ_TRY(measure_objective(c, config, k));
    LJ_TRY(lj_compare_sigreg(c->comparison, c->comm, config));
    c->comparison->sigreg_timed = true;
    return config->eval_every > 0 ? train_all(c, config) : LJ_OK;
}

int lj_comparison_measure(struct lj_comparison *comparison, struct lj_comm *comm,
                          const struct lj_config *config, struct lj_archive *archive,
                          int (*keep_so_far)(void *data), void *data)
{
    struct comparing c = {.comm = comm,
                          .archive = archive,
                          .comparison = comparison,
                          .keep = keep_so_far,
                          .data = data};
    c.config = lj_alloc(sizeof *c.config, "scale");
    c.of_run = lj_alloc(sizeof *c.of_run, "scale");
    int status = lj_agree(comm, c.config && c.of_run ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = compare_all(&c, config);
    lj_free(c.config);
    lj_free(c.of_run);
    return status;
}
