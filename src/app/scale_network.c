/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the network, and what is predicted from it, as JSON and as a table. */
#include "app/app.h"
#include "app/scale_report.h"

#include <math.h>
#include <stdio.h>

static json_t *sample_json(const struct lj_scale_report *report, const struct lj_network_sample *s)
{
    json_t *o = json_pack("{s:s, s:s, s:i, s:i, s:I, s:i, s:f, s:f, s:f, s:f}", "pattern",
                          lj_pattern_word(s->pattern), "level", lj_level_word(s->level), "ranks",
                          s->ranks, "ranks_per_node", s->per_node, "bytes", (json_int_t)s->bytes,
                          "repeats", s->repeats, "seconds", s->seconds, "low_s", s->low, "high_s",
                          s->high, "model_s", lj_network_predict(&report->model, s));
    if (s->pattern == LJ_PATTERN_PAIRS)
        json_object_set_new(o, "pairs", json_integer(s->pairs));
    if (s->pattern == LJ_PATTERN_EXCHANGE)
        json_object_set_new(o, "messages", json_integer(s->messages));
    return o;
}

static json_t *level_json(const struct lj_network_model *m, enum lj_level level)
{
    const struct lj_link *link = &m->link[level];
    const struct lj_sum_cost *sum = &m->sum[level];
    return json_pack("{s:s, s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "level",
                     lj_level_word(level), "measured", link->measured, "L_s", link->L, "o_s",
                     link->o, "g_s", link->g, "G_s_per_byte", link->G, "G_pairs_s_per_byte",
                     link->busy_G, "G_exchange_s_per_byte", link->full_G, "sum_round_s",
                     sum->round_s, "sum_s_per_byte", sum->byte_s, "long_sum_round_s",
                     sum->long_round_s, "long_sum_s_per_byte", sum->long_byte_s);
}

json_t *lj_scale_network_json(const struct lj_scale_report *report)
{
    const struct lj_network *n = &report->network;
    if (n->ranks == 0) /* not measured, or not yet */
        return json_null();
    json_t *samples = json_array(), *levels = json_array();
    for (int i = 0; i < n->count; i++)
        json_array_append_new(samples, sample_json(report, &n->sample[i]));
    for (int level = 0; level < LJ_LEVELS; level++)
        json_array_append_new(levels, level_json(&report->model, (enum lj_level)level));
    return json_pack("{s:i, s:i, s:i, s:b, s:o, s:f, s:f, s:o}", "ranks", n->ranks, "nodes",
                     n->nodes, "ranks_per_node", n->per_node, "ranks_in_blocks", n->blocks,
                     "levels", levels, "model_error", report->model.error, "model_error_most",
                     report->model.error_most, "samples", samples);
}

static json_t *cost_json(const struct lj_cost *c)
{
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:I, s:I}", "name", c->name, "seconds", c->seconds,
                     "exposed_s", c->exposed_s, "node_s", c->node_s, "network_s", c->network_s,
                     "messages", (json_int_t)c->messages, "bytes", (json_int_t)c->bytes);
}

json_t *lj_scale_prediction_json(const struct lj_scale_prediction *p)
{
    json_t *ledger = json_array();
    if (!isfinite(p->step_s)) {
        json_decref(ledger);
        return json_null();
    }
    for (int i = 0; i < p->cost.count; i++)
        json_array_append_new(ledger, cost_json(&p->cost.entry[i]));
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:o, s:s}", "step_s", p->step_s,
                     "efficiency", p->efficiency, "arithmetic_s", p->arithmetic_s, "update_s",
                     p->update_s, "data_s", p->data_s, "rest_s", p->rest_s, "exposed_s",
                     p->cost.exposed_s, "bytes", (json_int_t)p->cost.bytes, "messages",
                     (json_int_t)p->cost.messages, "ledger", ledger, "bound", p->bound);
}

json_t *lj_scale_foreseen_json(const struct lj_scale *scale)
{
    json_t *list = json_array();
    for (int k = 0; k < scale->foreseen_count; k++) {
        const struct lj_scale_foreseen *f = &scale->foreseen[k];
        json_array_append_new(
            list, json_pack("{s:s, s:i, s:I, s:I, s:I, s:b, s:b, s:o, s:o}", "mode",
                            f->strong ? "strong" : "weak", "ranks", f->ranks, "nodes",
                            (json_int_t)f->nodes, "batch", (json_int_t)f->batch, "lanes",
                            (json_int_t)f->lanes, "measured", 0, "guesses_network",
                            f->guesses_network, "predicted_s", lj_json_number(f->prediction.step_s),
                            "prediction", lj_scale_prediction_json(&f->prediction)));
    }
    return list;
}

/* ---- probe=net --------------------------------------------------------------------------- */

static void print_levels(const struct lj_network_model *m)
{
    printf("%-8s %9s %9s %9s %12s %12s %12s %12s %14s\n", "level", "L us", "o us", "g us",
           "alone GB/s", "pairs GB/s", "full GB/s", "sum us/round", "long sum GB/s");
    for (int level = 0; level < LJ_LEVELS; level++) {
        const struct lj_link *link = &m->link[level];
        if (link->measured)
            printf("%-8s %9.2f %9.2f %9.2f %12.3f %12.3f %12.3f %12.2f %14.3f\n",
                   lj_level_word((enum lj_level)level), 1e6 * link->L, 1e6 * link->o, 1e6 * link->g,
                   1e-9 / link->G, 1e-9 / link->busy_G, 1e-9 / link->full_G,
                   1e6 * m->sum[level].round_s, 1e-9 / m->sum[level].long_byte_s);
    }
}

static void print_samples(const struct lj_scale_report *report)
{
    printf("\n%-10s %-8s %6s %6s %9s %12s %-27s %12s\n", "pattern", "level", "ranks", "talk",
           "bytes", "us", "", "model us");
    for (int i = 0; i < report->network.count; i++) {
        const struct lj_network_sample *s = &report->network.sample[i];
        int talk = s->pattern == LJ_PATTERN_EXCHANGE    ? s->messages
                   : s->pattern == LJ_PATTERN_ALLREDUCE ? s->ranks
                                                        : s->pairs;
        printf("%-10s %-8s %6d %6d %9lld %12.2f %12.2f .. %-11.2f %12.2f\n",
               lj_pattern_word(s->pattern), lj_level_word(s->level), s->ranks, talk,
               (long long)s->bytes, 1e6 * s->seconds, 1e6 * s->low, 1e6 * s->high,
               1e6 * lj_network_predict(&report->model, s));
    }
}

static void print_network(const struct lj_scale_report *report)
{
    const struct lj_network *n = &report->network;
    printf(
        "%d ranks on %d node%s; medians over repeats of the slowest rank, quartiles beside them; "
        "talk: pairs at once, messages of a rank, or ranks of a sum\n\n",
        n->ranks, n->nodes, n->nodes == 1 ? "" : "s");
    print_levels(&report->model);
    print_samples(report);
    printf("\nthe model differs from what was measured by %.1f %% (median), %.1f %% at most\n",
           100 * report->model.error, 100 * report->model.error_most);
}

int lj_scale_network_write(const struct lj_scale_report *report)
{
    char path[LJ_PATH_MAX];
    json_t *object = lj_scale_network_json(report);
    int status = object ? LJ_OK : lj_fail(LJ_ERR_RESOURCE, "out of memory: scale");
    if (status == LJ_OK && report->config->arg_json)
        status = lj_print_json(object, 9);
    else if (status == LJ_OK)
        print_network(report);
    snprintf(path, sizeof path, "%.4000s/network.json", report->config->arg_out);
    if (status == LJ_OK && report->config->arg_out[0])
        status = lj_json_write(path, object, 9);
    json_decref(object);
    return status;
}
