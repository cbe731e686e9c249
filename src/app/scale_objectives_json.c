/* SPDX-License-Identifier: Apache-2.0 */
/* A comparison of objectives as JSON. */
#include "app/app.h"
#include "app/scale_objectives.h"

const char *lj_growth_word(enum lj_growth along)
{
    static const char *const words[LJ_GROWTHS] = {"N", "D", "P"};
    return words[along];
}

static json_t *power_json(const struct lj_power *power)
{
    return json_pack("{s:o, s:o, s:o}", "exponent", lj_json_number(power->exponent), "low",
                     lj_json_number(power->low), "high", lj_json_number(power->high));
}

static json_t *growths_json(const struct lj_power power[LJ_GROWTHS])
{
    json_t *o = json_object();
    for (int along = 0; along < LJ_GROWTHS; along++)
        json_object_set_new(o, lj_growth_word((enum lj_growth)along), power_json(&power[along]));
    return o;
}

static json_t *messages_json(const struct lj_compared *c)
{
    json_t *list = json_array();
    for (int i = 0; i < c->messages; i++) {
        const struct lj_objective_traffic *t = &c->traffic[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:I, s:I, s:s}", "name", t->name,
                                              "collective", t->collective, "calls", c->calls[i],
                                              "bytes", (json_int_t)c->bytes[i], "formula_bytes",
                                              (json_int_t)t->bytes, "formula", t->formula));
    }
    return list;
}

static json_t *points_json(const struct lj_compared *c)
{
    json_t *list = json_array();
    for (int i = 0; i < c->points; i++) {
        const struct lj_traffic_point *p = &c->point[i];
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:i, s:I, s:I}", "along",
                                              lj_growth_word(p->along), "N", (json_int_t)p->samples,
                                              "D", (json_int_t)p->width, "P", p->ranks, "bytes",
                                              (json_int_t)p->bytes, "formula_bytes",
                                              (json_int_t)p->formula_bytes));
    }
    return list;
}

/* null where there were no evaluations. */
static json_t *trained_json(const struct lj_comparison *c, int k)
{
    const struct lj_compared *o = &c->objective[k];
    if (k >= c->trained)
        return json_null();
    return json_pack("{s:I, s:f, s:f, s:f, s:o}", "steps", (json_int_t)o->goal.steps, "seconds",
                     o->goal.seconds, "knn_top1", o->goal.found, "within_s", c->within_s,
                     "knn_top1_within", lj_json_number(o->found_within));
}

static json_t *objective_json(const struct lj_comparison *c, int k, int ranks)
{
    const struct lj_compared *o = &c->objective[k];
    const struct lj_scale_rung *r = &c->scale->rung[k];
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:I, s:f}", "objective", o->kind->name,
        "text", o->kind->text, "heuristics", o->kind->heuristics ? o->kind->heuristics : "",
        "ranks", ranks, "step_s", r->step_s, "step_s_low", r->step_s_low, "step_s_high",
        r->step_s_high, "exposed_s", r->exposed_s, "loss_share", o->loss_share, "memory_bytes",
        (json_int_t)r->memory, "flops", r->flops);
    json_t *more = json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "collectives",
                             (json_int_t)r->collectives, "messages", (json_int_t)r->messages,
                             "bytes", (json_int_t)r->bytes, "traffic", messages_json(o),
                             "exponents_formula", growths_json(o->by_formula), "exponents_measured",
                             growths_json(o->measured), "points", points_json(o), "training",
                             trained_json(c, k), "ledger", lj_run_ledger_json(&r->ledger));
    json_object_update(object, more);
    json_decref(more);
    return object;
}

static json_t *sigreg_json(const struct lj_comparison *c)
{
    static const char *const factor[LJ_SIGREG_FACTORS] = {"N", "M", "D"};
    json_t *times = json_array(), *exponents = json_object();
    for (int i = 0; i < LJ_SIGREG_TIMES; i++)
        json_array_append_new(
            times, json_pack("{s:I, s:I, s:I, s:f}", "N", (json_int_t)c->sigreg[i].samples, "M",
                             (json_int_t)c->sigreg[i].slices, "D", (json_int_t)c->sigreg[i].width,
                             "seconds", c->sigreg[i].seconds));
    for (int i = 0; i < LJ_SIGREG_FACTORS; i++)
        json_object_set_new(exponents, factor[i], power_json(&c->sigreg_power[i]));
    return json_pack("{s:o, s:o}", "exponents", exponents, "times", times);
}

json_t *lj_compared_json(const struct lj_comparison *comparison,
                         const struct lj_scale_report *report)
{
    const struct lj_scale *s = comparison->scale;
    json_t *o = lj_scale_setting_json(report), *list = json_array();
    for (int k = 0; k < comparison->measured; k++)
        json_array_append_new(list, objective_json(comparison, k, report->ranks));
    json_t *study =
        json_pack("{s:i, s:i, s:i, s:s, s:s, s:o, s:o}", "repeats", s->repeats, "steps", s->steps,
                  "warmup", s->warmup, "estimate", "median of the repeats", "interval",
                  "95 % of Student's t, of the least squares of logarithms", "objectives", list,
                  "sigreg", comparison->sigreg_timed ? sigreg_json(comparison) : json_null());
    if (!o || !study || json_object_update(o, study)) {
        json_decref(o);
        o = NULL;
    }
    json_decref(study);
    return o;
}
