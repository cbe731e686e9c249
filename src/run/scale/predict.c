/* SPDX-License-Identifier: Apache-2.0 */
/* What steps should take. Lanes are computed in waves of as many as a rank has workers, so what
 * goes lane by lane grows with the waves of the busiest rank; the optimiser's time with a rank's
 * share of the parameters; waiting for the batch with the lanes; the rest stays. These times are
 * those of a rung that was measured; what communication adds to them is the network's model's
 * (comm.h). */
#include "run/scale/scale.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PREDICT_MAX = 65536 }; /* ranks: more would take minutes to count */

int lj_scale_check_predict(const struct lj_config *config, int size)
{
    int ranks[LJ_LADDER_MAX], count = 0;
    LJ_TRY(lj_run_read_ranks("predict", config->arg_predict, LJ_LADDER_MAX, ranks, &count));
    if (count > 0 && ranks[count - 1] > PREDICT_MAX)
        return lj_fail(LJ_ERR_CONFIG, "predict=%s: at most %d ranks", config->arg_predict,
                       PREDICT_MAX);
    if (count > 0 && size < 2)
        return lj_fail(LJ_ERR_CONFIG,
                       "predict=%s: one rank has no links that could be measured; start the job on "
                       "2 ranks or more, on two nodes if the network between nodes shall be known",
                       config->arg_predict);
    return LJ_OK;
}

int lj_scale_keep_buckets(struct lj_scale *scale, const struct lj_params *params)
{
    if (scale->bounds)
        return LJ_OK;
    const int64_t units = params->elements / LJ_PARAMS_UNIT;
    scale->bounds = lj_alloc_array(params->buckets + 1, sizeof *scale->bounds, "scale");
    scale->trained_only = lj_alloc_array(units, sizeof *scale->trained_only, "scale");
    if (!scale->bounds || !scale->trained_only)
        return LJ_ERR_RESOURCE;
    memcpy(scale->bounds, params->bounds, (size_t)(params->buckets + 1) * sizeof *scale->bounds);
    memcpy(scale->trained_only, params->trained_only, (size_t)units * sizeof *scale->trained_only);
    scale->buckets = params->buckets;
    return LJ_OK;
}

void lj_scale_release(struct lj_scale *scale)
{
    lj_free(scale->bounds);
    lj_free(scale->trained_only);
    scale->bounds = NULL;
    scale->trained_only = NULL;
}

/* ---- what ranks compute ------------------------------------------------------------------ */

struct foreseeing {
    const struct lj_scale *scale;
    const struct lj_config *config;
    const struct lj_network *network;
    const struct lj_network_model *model;
};

/* A step that is asked for. */
struct asked {
    int ranks;
    int64_t batch, lanes;
};

/* How often the busiest rank's workers take lanes. */
static double waves(int64_t lanes, int ranks, int workers)
{
    int64_t of_rank = (lanes + ranks - 1) / ranks;
    return (double)((of_rank + workers - 1) / workers);
}

/* Seconds of phases in a step of a rung, on the slowest rank each. They are means over the repeats,
 * and brought to the median repeat here, as step_s is. */
static double seconds_of(const struct lj_scale *scale, const struct lj_scale_rung *rung,
                         const enum lj_phase *phase, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += rung->phase[phase[i]].max;
    return sum / lj_scale_repeats_s(scale, rung) * rung->step_s;
}

static double second_of(const struct lj_scale *scale, const struct lj_scale_rung *rung,
                        enum lj_phase phase)
{
    return seconds_of(scale, rung, &phase, 1);
}

/* The times of a rung, scaled to the lanes and ranks asked for. */
static void scale_arithmetic(const struct foreseeing *f, const struct lj_scale_rung *base,
                             const struct asked *a, struct lj_scale_prediction *p)
{
    static const enum lj_phase by_lane[] = {LJ_PHASE_VIEWS, LJ_PHASE_FORWARD, LJ_PHASE_PROJECTOR,
                                            LJ_PHASE_LOSS, LJ_PHASE_BACKWARD};
    double more =
        waves(a->lanes, a->ranks, base->workers) / waves(base->lanes, base->ranks, base->workers);
    p->arithmetic_s = more * seconds_of(f->scale, base, by_lane, 5);
    p->data_s = more * second_of(f->scale, base, LJ_PHASE_WAIT_DATA);
    p->update_s =
        second_of(f->scale, base, LJ_PHASE_OPTIMISER) * (double)base->ranks / (double)a->ranks;
    p->rest_s = second_of(f->scale, base, LJ_PHASE_OTHER);
}

static int add_communication(const struct foreseeing *f, const struct lj_scale_rung *base,
                             const struct asked *a, struct lj_scale_prediction *p)
{
    const bool bf16 = f->config->comm_gradients == LJ_COMM_GRADIENTS_BF16;
    const struct lj_gradsync_plan plan = {.lanes = a->lanes,
                                          .buckets = f->scale->buckets,
                                          .bounds = f->scale->bounds,
                                          .fast = f->config->reduce == LJ_REDUCE_FAST,
                                          .rounded = bf16 ? f->scale->trained_only : NULL,
                                          .exchange = f->config->comm_exchange};
    const double many = waves(a->lanes, a->ranks, base->workers);
    const double more = many / waves(base->lanes, base->ranks, base->workers);
    /* Each wave makes its views and goes backward by itself then: weights are waited for before the
     * views, and buckets start moving in the last wave. */
    const bool by_wave = f->config->memory_recompute == LJ_MEMORY_RECOMPUTE_LANES && many > 1;
    const double views_s = more * second_of(f->scale, base, LJ_PHASE_VIEWS);
    const double backward_s = more * second_of(f->scale, base, LJ_PHASE_BACKWARD);
    const struct lj_network_step step = {.plan = &plan,
                                         .place = {a->ranks, f->network->per_node},
                                         .ledger = &base->ledger,
                                         .steps = (int64_t)f->scale->repeats * f->scale->steps,
                                         .backward_s = by_wave ? backward_s / many : backward_s,
                                         .between_s = by_wave ? p->data_s : p->data_s + views_s};
    return lj_network_cost(f->model, &step, &p->cost);
}

/* ---- what bounds a step ------------------------------------------------------------------ */

/* Parts of a step: the largest of all, and the largest of communication. */
struct parts {
    char most[96], most_comm[96];
    double most_s, most_comm_s;
};

static void add_part(struct parts *parts, double seconds, bool is_comm, const char *text)
{
    if (seconds > parts->most_s) {
        parts->most_s = seconds;
        snprintf(parts->most, sizeof parts->most, "%s", text);
    }
    if (is_comm && seconds > parts->most_comm_s) {
        parts->most_comm_s = seconds;
        snprintf(parts->most_comm, sizeof parts->most_comm, "%s", text);
    }
}

/* A line of the ledger in words. A sum that takes mostly what one number takes is latency. */
static void name_cost(const struct foreseeing *f, struct lj_placement place,
                      const struct lj_cost *cost, char *text, size_t capacity)
{
    const char *where = cost->network_s > cost->node_s ? "between nodes" : "inside a node";
    if (place.ranks <= place.per_node)
        where = "inside the node";
    if (strcmp(cost->name, "gradient") == 0 || strcmp(cost->name, "weights") == 0) {
        snprintf(text, capacity, "%s %s",
                 cost->name[0] == 'g' ? "moving gradients" : "gathering new weights", where);
        return;
    }
    double one = lj_network_sum_s(f->model, place, (int64_t)sizeof(int64_t));
    double all = lj_network_sum_s(f->model, place, cost->bytes);
    snprintf(text, capacity, "the %s of the allreduce '%s'", one > 0.5 * all ? "latency" : "bytes",
             cost->name);
}

static void judge(const struct foreseeing *f, const struct asked *a, struct lj_scale_prediction *p)
{
    const struct lj_placement place = {a->ranks, f->network->per_node};
    struct parts parts = {0};
    char text[96];
    add_part(&parts, p->arithmetic_s, false, "arithmetic and views of the lanes");
    add_part(&parts, p->update_s, false, "the optimiser");
    add_part(&parts, p->data_s, false, "waiting for data");
    add_part(&parts, p->rest_s, false, "work that more ranks do not share");
    for (int i = 0; i < p->cost.count; i++) {
        name_cost(f, place, &p->cost.entry[i], text, sizeof text);
        add_part(&parts, p->cost.entry[i].exposed_s, true, text);
    }
    int at = snprintf(p->bound, sizeof p->bound, "bound by %s, %.1f %% of the step", parts.most,
                      100 * parts.most_s / p->step_s);
    if (parts.most_comm_s > 0 && parts.most_comm_s < parts.most_s)
        at += snprintf(p->bound + at, sizeof p->bound - (size_t)at,
                       "; most of communication is %s, %.1f %%", parts.most_comm,
                       100 * parts.most_comm_s / p->step_s);
    if (a->ranks > a->lanes)
        at +=
            snprintf(p->bound + at, sizeof p->bound - (size_t)at, "; %lld of %d ranks have no lane",
                     (long long)(a->ranks - a->lanes), a->ranks);
}

/* ---- predictions ------------------------------------------------------------------------- */

/* Gathering what every lane computed takes longer the more lanes there are, and so does what is
 * computed from all of it: neither is modelled. */
static bool is_gathered(const struct lj_scale_rung *base, struct lj_scale_prediction *p)
{
    for (int i = 0; i < base->ledger.count; i++) {
        const struct lj_ledger_entry *entry = &base->ledger.entry[i];
        if (strcmp(entry->collective, "MPI_Allgatherv") != 0)
            continue;
        snprintf(
            p->bound, sizeof p->bound,
            "not predicted: the objective gathers '%s' of all lanes (%s), which the model does "
            "not know",
            entry->name, entry->collective);
        return true;
    }
    return false;
}

/* Efficiency is against the measured rung `first`. */
static int predict(const struct foreseeing *f, const struct lj_scale_rung *base,
                   const struct lj_scale_rung *first, const struct asked *a,
                   struct lj_scale_prediction *p)
{
    memset(p, 0, sizeof *p);
    p->step_s = p->efficiency = NAN;
    if ((f->model->samples == 0 && a->ranks > 1) || is_gathered(base, p))
        return LJ_OK;
    scale_arithmetic(f, base, a, p);
    LJ_TRY(add_communication(f, base, a, p));
    p->step_s = p->arithmetic_s + p->update_s + p->data_s + p->rest_s + p->cost.exposed_s;
    double work = (double)a->batch / a->ranks / ((double)first->batch / first->ranks);
    p->efficiency = work * first->step_s / p->step_s;
    judge(f, a, p);
    return LJ_OK;
}

static int foresee_rung(const struct foreseeing *f, struct lj_scale *scale, int k)
{
    struct lj_scale_rung *rung = &scale->rung[k];
    const struct lj_scale_rung *first = lj_scale_baseline(scale, rung);
    struct asked asked = {.ranks = rung->ranks, .batch = rung->batch, .lanes = rung->lanes};
    return predict(f, first, first, &asked, &rung->prediction);
}

/* The largest rung of a mode, whose cores share what those of a full node share; NULL: the study
 * has no such mode. */
static const struct lj_scale_rung *largest(const struct lj_scale *scale, bool strong)
{
    const struct lj_scale_rung *found = NULL;
    for (int k = 0; k < scale->measured; k++)
        if (scale->rung[k].strong == strong)
            found = &scale->rung[k];
    return found;
}

static int foresee_mode(const struct foreseeing *f, struct lj_scale *scale, bool strong,
                        const int *ranks, int count)
{
    const struct lj_scale_rung *base = largest(scale, strong);
    for (int i = 0; i < count && base; i++) {
        int64_t lanes = strong ? base->lanes : base->lanes / base->ranks * ranks[i];
        struct asked asked = {
            .ranks = ranks[i], .lanes = lanes, .batch = base->batch / base->lanes * lanes};
        struct lj_scale_foreseen *row = &scale->foreseen[scale->foreseen_count++];
        *row = (struct lj_scale_foreseen){.strong = strong,
                                          .ranks = ranks[i],
                                          .nodes = (ranks[i] + f->network->per_node - 1) /
                                                   f->network->per_node,
                                          .batch = asked.batch,
                                          .lanes = lanes};
        row->guesses_network = row->nodes > 1 && !f->model->link[LJ_LEVEL_NETWORK].measured;
        LJ_TRY(predict(f, base, lj_scale_baseline(scale, base), &asked, &row->prediction));
        lj_progress();
    }
    return LJ_OK;
}

int lj_scale_foresee_latest(struct lj_scale *scale, const struct lj_config *config,
                            const struct lj_network *network, const struct lj_network_model *model)
{
    const struct foreseeing f = {
        .scale = scale, .config = config, .network = network, .model = model};
    return foresee_rung(&f, scale, scale->measured - 1);
}

int lj_scale_foresee(struct lj_scale *scale, const struct lj_config *config,
                     const struct lj_network *network, const struct lj_network_model *model)
{
    const struct foreseeing f = {
        .scale = scale, .config = config, .network = network, .model = model};
    int ranks[LJ_LADDER_MAX], count = 0;
    LJ_TRY(lj_run_read_ranks("predict", config->arg_predict, LJ_LADDER_MAX, ranks, &count));
    for (int k = 0; k < scale->measured; k++)
        LJ_TRY(foresee_rung(&f, scale, k));
    scale->foreseen_count = 0;
    LJ_TRY(foresee_mode(&f, scale, true, ranks, count));
    return foresee_mode(&f, scale, false, ranks, count);
}
