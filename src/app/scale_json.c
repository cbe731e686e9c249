/* SPDX-License-Identifier: Apache-2.0 */
/* A scaling study as JSON: what was measured, on what, against what. */
#include "app/app.h"
#include "app/scale_report.h"

#include "kernels/kernels.h"

#include <stdio.h>

static json_t *repeats_json(const struct lj_scale_rung *rung, int repeats)
{
    json_t *list = json_array();
    for (int k = 0; k < repeats; k++)
        json_array_append_new(list, json_real(rung->repeat_s[k]));
    return list;
}

static json_t *rung_json(const struct lj_scale_report *report, const struct lj_scale_rung *r)
{
    json_t *o =
        json_pack("{s:s, s:i, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:f, s:f, s:f, s:f}", "mode",
                  r->strong ? "strong" : "weak", "ranks", r->ranks, "nodes", (json_int_t)r->nodes,
                  "batch", (json_int_t)r->batch, "lanes", (json_int_t)r->lanes, "step_s", r->step_s,
                  "step_s_low", r->step_s_low, "step_s_high", r->step_s_high, "repeats_s",
                  repeats_json(r, report->scale.repeats), "samples_per_s",
                  (double)r->batch / r->step_s, "efficiency", r->efficiency, "efficiency_low",
                  r->efficiency_low, "efficiency_high", r->efficiency_high);
    json_t *more =
        json_pack("{s:f, s:f, s:I, s:I, s:I, s:f, s:f, s:b, s:o, s:o, s:o, s:o}", "exposed_s",
                  r->exposed_s, "exposed_share", r->exposed_s / r->step_s, "bytes",
                  (json_int_t)r->bytes, "messages", (json_int_t)r->messages, "collectives",
                  (json_int_t)r->collectives, "imbalance", r->imbalance, "setup_s", r->setup_s,
                  "same_bits", r->same_bits, "predicted_s", lj_json_number(r->prediction.step_s),
                  "prediction", lj_scale_prediction_json(&r->prediction), "phases",
                  lj_run_phases_json(r->phase), "ledger", lj_run_ledger_json(&r->ledger));
    json_object_update(o, more);
    json_decref(more);
    return o;
}

/* The settings that were given, as texts. */
static json_t *settings_json(const struct lj_config *config)
{
    char text[LJ_TEXT_MAX];
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    json_t *o = json_object();
    for (int i = 0; i < count; i++)
        if (config->given[i] && key[i].role != LJ_KEY_ARGUMENT) {
            lj_config_value_text(config, &key[i], text, sizeof text);
            json_object_set_new(o, key[i].name, json_string(text));
        }
    return o;
}

static json_t *baseline_json(const struct lj_scale *scale)
{
    json_t *list = json_array();
    for (int k = 0; k < scale->measured; k++)
        if (lj_scale_baseline(scale, &scale->rung[k]) == &scale->rung[k])
            json_array_append_new(list, json_pack("{s:s, s:i, s:I}", "mode",
                                                  scale->rung[k].strong ? "strong" : "weak",
                                                  "ranks", scale->rung[k].ranks, "batch",
                                                  (json_int_t)scale->rung[k].batch));
    return list;
}

static json_t *machine_json(const struct lj_scale_report *report)
{
    const struct lj_matmul matmul = {.batch = 1, .m = 1, .n = 1, .k = 1};
    char libraries[128], processor[64], mpi[128];
    lj_matmul_libraries(libraries, sizeof libraries);
    lj_processor_name(processor, sizeof processor);
    lj_comm_library(mpi, sizeof mpi);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:i}", "program",
                     "lejepa_mpi " LJ_VERSION, "kernels", lj_isa_name(lj_isa_selected()),
                     "processor", processor, "matmuls", lj_matmul_backend(&matmul), "libraries",
                     libraries, "mpi", mpi, "ranks", report->ranks, "nodes",
                     (json_int_t)report->nodes, "ranks_per_node",
                     (json_int_t)report->ranks_per_node, "threads", report->scale.threads);
}

static json_t *work_json(const struct lj_scale_report *report)
{
    const struct lj_config *c = report->config;
    char archive[1024], fingerprint[17];
    lj_archive_describe(report->archive, archive, sizeof archive);
    snprintf(fingerprint, sizeof fingerprint, "%016llx",
             (unsigned long long)lj_archive_info(report->archive)->fingerprint);
    return json_pack("{s:s, s:I, s:s, s:s, s:I, s:s, s:s, s:o}", "model", report->scale.model,
                     "parameters", (json_int_t)report->scale.parameters, "archive", archive,
                     "archive_fingerprint", fingerprint, "seed", (json_int_t)c->seed, "precision",
                     lj_precision_word(c->precision), "reduce", lj_reduce_word(c->reduce),
                     "settings", settings_json(c));
}

/* First parameter of each bucket of gradients, and behind the last one. */
static json_t *bounds_json(const struct lj_scale *scale)
{
    json_t *list = json_array();
    for (int b = 0; b <= scale->buckets && scale->bounds; b++)
        json_array_append_new(list, json_integer((json_int_t)scale->bounds[b]));
    return list;
}

/* Apart from the rungs: what an accuracy takes, not what a step does. */
static json_t *targets_json(const struct lj_scale_report *report)
{
    const struct lj_scale *s = &report->scale;
    char dir[LJ_PATH_MAX];
    json_t *list = json_array();
    for (int i = 0; i < s->trained; i++) {
        const struct lj_run_goal *g = &s->goal[i];
        lj_scale_target_dir(report->config, s->ladder[i], dir);
        json_array_append_new(
            list, json_pack("{s:i, s:I, s:f, s:b, s:f, s:I, s:f, s:s}", "ranks", s->ladder[i],
                            "batch", (json_int_t)report->config->batch_size, "target_knn_top1",
                            g->knn_top1, "reached", g->reached, "knn_top1", g->found, "steps",
                            (json_int_t)g->steps, "seconds", g->seconds, "run", dir));
    }
    return list;
}

json_t *lj_scale_setting_json(const struct lj_scale_report *report)
{
    json_t *o = machine_json(report), *work = work_json(report);
    if (!o || !work || json_object_update(o, work)) {
        json_decref(o);
        o = NULL;
    }
    json_decref(work);
    return o;
}

json_t *lj_scale_json(const struct lj_scale_report *report)
{
    const struct lj_scale *s = &report->scale;
    json_t *o = lj_scale_setting_json(report), *rungs = json_array();
    for (int k = 0; k < s->measured; k++)
        json_array_append_new(rungs, rung_json(report, &s->rung[k]));
    json_t *study = json_pack(
        "{s:s, s:i, s:i, s:i, s:o, s:s, s:s, s:f, s:o, s:o}", "mode",
        lj_arg_mode_word(report->config->arg_mode), "repeats", s->repeats, "steps", s->steps,
        "warmup", s->warmup, "baseline", baseline_json(s), "estimate", "median of the repeats",
        "interval", "least and largest of the repeats; of efficiency, from those of both rungs",
        "open_s", report->open_s, "rungs", rungs, "targets", targets_json(report));
    json_object_set_new(study, "bucket_bounds", bounds_json(s));
    json_object_set_new(study, "predictions", lj_scale_foreseen_json(s));
    json_object_set_new(study, "network", lj_scale_network_json(report));
    if (!o || !study || json_object_update(o, study)) {
        json_decref(o);
        o = NULL;
    }
    json_decref(study);
    return o;
}
