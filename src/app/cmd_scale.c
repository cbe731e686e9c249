/* SPDX-License-Identifier: Apache-2.0 */
/* scale: the same training on one number of ranks after the other, inside one job. */
#include "app/app.h"
#include "app/scale_objectives.h"

#include "lejepa/runtime.h"

#include "train/train.h"

#include <stdio.h>

/* Opens the archive as `train` does, with labels only where the objective needs them, and takes the
 * statistics of its pixels, so that no rung has to. The rows that train are the same on ranks that
 * join in later rungs. Collective. */
static int open_archive(struct lj_comm *comm, const struct lj_config *config,
                        struct lj_scale_report *report)
{
    int64_t held_out;
    float mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX];
    struct lj_archive_options options = lj_archive_options_of(config);
    options.skip_labels = !lj_trainer_needs_labels(config);
    double begun_s = lj_now_s();
    LJ_TRY(lj_archive_open(&report->archive, comm, &options));
    LJ_TRY(lj_run_hold_out(report->archive, comm, config->eval_holdout, &held_out));
    LJ_TRY(lj_trainer_leave_labelled(report->archive, comm, config));
    LJ_TRY(lj_archive_statistics(report->archive, comm, mean, std));
    report->open_s = lj_now_s() - begun_s;
    return LJ_OK;
}

static int measure_network(struct lj_comm *comm, struct lj_scale_report *report)
{
    const double budget_s = 2;
    lj_say("scale: measuring the links between %d ranks", comm->size);
    LJ_TRY(lj_network_measure(comm, budget_s, &report->network));
    lj_network_fit(&report->network, &report->model);
    if (!report->network.blocks)
        lj_warn("nodes do not have as many ranks each, one node after the other: predictions are "
                "for a job that does");
    return LJ_OK;
}

/* probe=net. */
static int probe_network(struct lj_comm *comm, struct lj_scale_report *report)
{
    if (comm->size < 2)
        return lj_agree(comm, lj_fail(LJ_ERR_CONFIG, "probe=net: one rank has no links; start the "
                                                     "job on 2 ranks or more"));
    LJ_TRY(measure_network(comm, report));
    return lj_agree(comm, lj_comm_is_root(comm) ? lj_scale_network_write(report) : LJ_OK);
}

/* Other bits are an error of the program, except where they were asked for. */
static int judge_bits(const struct lj_scale *scale, const struct lj_config *config)
{
    int differ = 0;
    for (int k = 0; k < scale->measured; k++)
        differ += !scale->rung[k].same_bits;
    if (differ == 0)
        return LJ_OK;
    if (config->reduce == LJ_REDUCE_FAST) {
        lj_warn("%d of %d rungs gave other bits than %d rank%s with the same batch, as reduce=fast "
                "allows",
                differ, scale->measured, scale->ladder[0], scale->ladder[0] == 1 ? "" : "s");
        return LJ_OK;
    }
    return lj_fail(LJ_ERR_BUG,
                   "scale: %d of %d rungs gave other bits than %d rank%s with the same batch; "
                   "please report this with the lines above",
                   differ, scale->measured, scale->ladder[0], scale->ladder[0] == 1 ? "" : "s");
}

/* Rank 0 writes; then all judge by what it has. */
static int report_all(struct lj_comm *comm, struct lj_scale_report *report)
{
    int status = LJ_OK;
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm) && report->scale.measured > 0) {
        status = lj_scale_report_foresee(report);
        if (status == LJ_OK)
            status = lj_scale_report_write(report);
        if (status == LJ_OK)
            status = judge_bits(&report->scale, report->config);
    }
    return lj_root_section_end(comm, status);
}

/* Settings of a run that a study would not obey. */
static int check_settings(const struct lj_config *config)
{
    if (config->run_trace[0])
        return lj_fail(LJ_ERR_CONFIG,
                       "run.trace=%s: a study does not trace its rungs; trace one of them, by "
                       "`train`",
                       config->run_trace);
    if (config->run_max_seconds > 0 && !config->arg_target[0])
        return lj_fail(LJ_ERR_CONFIG,
                       "run.max_seconds=%g: only runs to a target= end by the time; a rung takes "
                       "repeats= times steps= steps, and each is kept in out= when it is measured",
                       config->run_max_seconds);
    return LJ_OK;
}

/* What is measured, and on what. */
static int resolve_machine(struct lj_comm *comm, struct lj_config *config,
                           struct lj_scale_report *report)
{
    const char *isa;
    LJ_TRY(lj_agree(comm, check_settings(config)));
    LJ_TRY(lj_agree(comm, lj_use_example(config)));
    LJ_TRY(lj_runtime_agree(comm, &isa));
    LJ_TRY(lj_agree(comm, lj_runtime_resolve_precision(config)));
    lj_comm_nodes(comm, &report->nodes, &report->ranks_per_node);
    report->ranks = comm->size;
    return lj_agree(comm, lj_run_resolve_holdout(config));
}

static int resolve(struct lj_comm *comm, struct lj_config *config, struct lj_scale_report *report)
{
    LJ_TRY(lj_agree(comm, lj_scale_plan(&report->scale, config, comm->size)));
    LJ_TRY(lj_agree(comm, lj_scale_check_predict(config, comm->size)));
    return resolve_machine(comm, config, report);
}

static int measure(struct lj_comm *comm, struct lj_scale_report *report, double begun_s)
{
    LJ_TRY(measure_network(comm, report));
    LJ_TRY(lj_scale_measure(&report->scale, comm, report->config, report->archive,
                            lj_scale_report_keep, report));
    if (!report->scale.has_target)
        return LJ_OK;
    return lj_scale_train(&report->scale, comm, report->config, begun_s);
}

/* What ends the study before its time leaves the rungs so far to be reported. */
static int scale(struct lj_comm *comm, struct lj_config *config, struct lj_scale_report *report)
{
    char text[2048];
    double begun_s = lj_now_s();
    bool alone = config->arg_probe == LJ_ARG_PROBE_NET;
    if (!alone)
        LJ_TRY(resolve(comm, config, report));
    LJ_TRY(lj_agree(comm, lj_comm_is_root(comm) ? lj_scale_report_prepare(report) : LJ_OK));
    if (alone)
        return probe_network(comm, report);
    LJ_TRY(open_archive(comm, config, report));
    int status = measure(comm, report, begun_s);
    snprintf(text, sizeof text, "%s", lj_error_text());
    int reported = report_all(comm, report);
    if (status == LJ_OK)
        return reported;
    if (reported != LJ_OK)
        lj_warn("%s", lj_error_text());
    lj_error_set(text);
    return status;
}

/* ---- objectives= ------------------------------------------------------------------------- */

/* Rank 0 writes and prints, also without the objectives that a failure has left out. */
static int report_compared(struct lj_comm *comm, struct lj_compared_report *compared)
{
    int status = LJ_OK;
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm) && compared->comparison->measured > 0) {
        status = lj_compared_keep(compared);
        if (status == LJ_OK)
            status = lj_compared_print(compared);
    }
    return lj_root_section_end(comm, status);
}

static int compare(struct lj_comm *comm, struct lj_config *config, struct lj_scale_report *report,
                   struct lj_comparison *comparison)
{
    char text[2048];
    struct lj_compared_report compared = {comparison, report};
    LJ_TRY(lj_agree(comm, lj_comparison_plan(comparison, config, comm->size)));
    LJ_TRY(resolve_machine(comm, config, report));
    LJ_TRY(lj_agree(comm, lj_comm_is_root(comm) ? lj_compared_prepare(comparison, config) : LJ_OK));
    LJ_TRY(open_archive(comm, config, report));
    int status = lj_comparison_measure(comparison, comm, config, report->archive, lj_compared_keep,
                                       &compared);
    snprintf(text, sizeof text, "%s", lj_error_text());
    int reported = report_compared(comm, &compared);
    if (status == LJ_OK)
        return reported;
    if (reported != LJ_OK)
        lj_warn("%s", lj_error_text());
    lj_error_set(text);
    return status;
}

static int compare_objectives(struct lj_comm *comm, struct lj_config *config,
                              struct lj_scale_report *report)
{
    struct lj_comparison *comparison = lj_alloc(sizeof *comparison, "scale");
    LJ_TRY(lj_agree(comm, comparison ? LJ_OK : LJ_ERR_RESOURCE));
    int status = compare(comm, config, report, comparison);
    lj_comparison_release(comparison);
    lj_free(comparison);
    return status;
}

int lj_command_scale(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words)
{
    (void)words;
    struct lj_scale_report *report = lj_alloc(sizeof *report, "scale");
    int status = lj_agree(comm, report ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        report->config = config;
        status = config->arg_objectives[0] ? compare_objectives(comm, config, report)
                                           : scale(comm, config, report);
        lj_archive_close(report->archive);
        lj_scale_release(&report->scale);
    }
    lj_free(report);
    return status;
}
