/* SPDX-License-Identifier: Apache-2.0 */
/* The command `train`: the steps, and what happens between them. Everything here is collective: all
 * ranks decide alike, because whatever a decision depends on came through a reduction. */
#include "run/run.h"

#include "run/state.h"

#include "kernels/kernels.h"
#include "lejepa/runtime.h"
#include "run/signals.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool due(int64_t every, int64_t finished)
{
    return every > 0 && finished % every == 0;
}

/* ---- set-up ------------------------------------------------------------------------------ */

static int open_archive(struct lj_run_state *run)
{
    struct lj_archive_options options = lj_archive_options_of(run->config);
    /* Evaluation opens archives of its own. */
    options.skip_labels = !lj_trainer_needs_labels(run->config);
    char cache[LJ_PATH_MAX];
    options.cache = lj_run_index_cache(run, cache, false);
    LJ_TRY(lj_archive_open(&run->archive, run->comm, &options));
    return lj_run_hold_out(run->archive, run->comm, run->config->eval_holdout, &run->eval_held_out);
}

/* Fails on every rank alike if init= names weights for a run that has its own. */
static int check_init(const struct lj_run_state *run, const char *resume_from)
{
    const char *init = run->config->arg_init;
    if (!init[0] || !resume_from[0])
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "init=%s: the run would not start from it but continue from %s; leave init= out "
                   "to continue, or choose another run.dir",
                   init, resume_from);
}

/* The job script may say when the job ends by run.max_seconds; Slurm says it itself. */
static void begin_deadline_of_root(struct lj_run_state *run)
{
    struct lj_deadline *d = &run->deadline;
    lj_deadline_begin(d, run->begun_s, run->config->run_max_seconds, getenv("SLURM_JOB_END_TIME"),
                      lj_wall_s());
    lj_deadline_expect(d, lj_trainer_snapshot_bytes(run->trainer));
    if (!d->because)
        return;
    char left[32];
    lj_duration_text(left, fmax(d->end_s - lj_now_s(), 0));
    lj_say("saves and ends by itself within %s, because of %s", left, d->because);
}

static void begin_deadline(struct lj_run_state *run)
{
    if (lj_comm_is_root(run->comm))
        begin_deadline_of_root(run);
    run->has_deadline = lj_all_max(run->comm, run->deadline.because != NULL) > 0;
}

static int set_up(struct lj_run_state *run)
{
    char resume_from[LJ_PATH_MAX] = "";
    const char *isa = lj_isa_name(lj_isa_selected());
    if (!run->sweep_dir && !run->goal)
        LJ_TRY(lj_runtime_agree(run->comm, &isa));
    LJ_TRY(lj_agree(run->comm, lj_runtime_resolve_precision(run->config)));
    LJ_TRY(lj_agree(run->comm, lj_run_resolve_holdout(run->config)));
    LJ_TRY(open_archive(run));
    LJ_TRY(lj_run_open_evaluation(run));
    LJ_TRY(lj_run_open_dir(run, resume_from));
    LJ_TRY(check_init(run, resume_from));
    LJ_TRY(lj_trainer_create(&run->trainer, run->comm, run->config, run->archive,
                             resume_from[0] ? run->checkpoints : NULL));
    if (run->config->arg_init[0])
        LJ_TRY(lj_trainer_load_weights(run->trainer, run->config->arg_init, false));
    lj_run_share_limits(run);
    run->info = lj_trainer_info(run->trainer);
    LJ_TRY(lj_run_check_layers(run));
    int64_t lanes_at_once = (int64_t)run->comm->size * run->info.workers;
    lj_progress_set_turns((run->info.lanes + lanes_at_once - 1) / lanes_at_once);
    lj_root_section_begin(run->comm);
    LJ_TRY(lj_root_section_end(run->comm, lj_run_open_files(run, run->info.first_step)));
    lj_run_say_left_out(run);
    LJ_TRY(lj_run_warn_unknown(run));
    begin_deadline(run);
    return lj_run_summary_start(run, isa);
}

static void tear_down(struct lj_run_state *run)
{
    if (run->metrics)
        fclose(run->metrics);
    lj_tensorboard_close(run->tensorboard);
    lj_trainer_destroy(run->trainer);
    lj_run_close_evaluation(run);
    lj_archive_close(run->archive);
    lj_run_lock_release(&run->lock);
}

/* ---- between steps ----------------------------------------------------------------------- */

/* Once a second at most: many groups of ranks ask the same file system. */
static bool sweep_wants_stop(struct lj_run_state *run)
{
    if (!run->sweep_dir || lj_now_s() - run->asked_s < 1)
        return false;
    run->asked_s = lj_now_s();
    return lj_stop_sweep(run->sweep_dir);
}

static bool evaluates(const struct lj_run_state *run, int64_t finished)
{
    int64_t every = run->config->eval_every;
    return due(every, finished) || (every > 0 && finished == run->info.steps);
}

/* Is checkpoint.minutes over? */
static bool saves_late(const struct lj_run_state *run)
{
    double most_s = 60 * run->config->checkpoint_minutes;
    return most_s > 0 && lj_now_s() - run->saved_s > most_s;
}

static void say_near(const struct lj_run_state *run)
{
    const struct lj_deadline *d = &run->deadline;
    double left_s = d->end_s - lj_now_s();
    lj_say("stops %s: %.1f s %s %s; a step takes %.3g s, a checkpoint %.3g s%s",
           left_s < 0 ? "too late" : "in time", fabs(left_s),
           left_s < 0 ? "have passed since" : "are left until", d->because, d->step_s, d->save_s,
           d->save_is_guessed ? " (guessed)" : "");
    if (run->done == 0)
        lj_warn("set-up takes %.1f s and leaves time for one step: ask for a longer job",
                run->started_s - run->begun_s);
}

/* Is there time for this step, what follows it, a checkpoint and no more? */
static bool deadline_is_near(const struct lj_run_state *run, int64_t step)
{
    bool being_written = run->unsaid_step >= 0;
    bool to_begin = due(run->config->checkpoint_every, step + 1) || saves_late(run);
    int evaluations = evaluates(run, step + 1) + evaluates(run, step + 2);
    if (!lj_deadline_is_near(&run->deadline, lj_now_s(), 1 + being_written + to_begin, evaluations))
        return false;
    say_near(run);
    return true;
}

/* Does this rank ask to stop? Every rank looks for signals, since any of them may be the one that
 * gets one; rank 0 also looks at the time and for files STOP. */
static bool wants_stop(struct lj_run_state *run, int64_t step)
{
    if (lj_signals_stop())
        return true;
    if (!lj_comm_is_root(run->comm))
        return false;
    return lj_stop_file(run->dir) || sweep_wants_stop(run) || deadline_is_near(run, step);
}

/* The other groups of a sweep stop, too. */
static void pass_on_stop(const struct lj_run_state *run)
{
    if (run->sweep_dir && lj_comm_is_root(run->comm))
        lj_stop_sweep_ask(run->sweep_dir);
}

/* Job scripts start a run again that stopped, unless the log says this. */
static void take_stop_file(const struct lj_run_state *run)
{
    if (!lj_comm_is_root(run->comm) || !lj_stop_file(run->dir))
        return;
    lj_say("stops because of %s/STOP", run->dir);
    lj_stop_file_remove(run->dir);
}

/* Does this rank ask to save? Every rank looks for signals, rank 0 also at checkpoint.minutes. */
static bool wants_save(const struct lj_run_state *run)
{
    return lj_signals_take_save() || (lj_comm_is_root(run->comm) && saves_late(run));
}

/* Says once of each checkpoint that it is on disk. */
static void say_saved(struct lj_run_state *run)
{
    double seconds = lj_trainer_checkpoint_seconds(run->trainer);
    if (run->unsaid_step < 0 || seconds <= 0)
        return;
    lj_say("step %8lld  checkpoint written in %.2f s, %.0f MiB; training stood still for %.3f s",
           (long long)run->unsaid_step, seconds,
           (double)lj_trainer_snapshot_bytes(run->trainer) / 1048576, run->stood_s);
    lj_deadline_saved(&run->deadline, seconds + run->stood_s);
    run->unsaid_step = -1;
}

/* Waits until the checkpoint that was begun last is on disk. */
static int finish_saving(struct lj_run_state *run)
{
    LJ_TRY(lj_trainer_checkpoint_finish(run->trainer));
    say_saved(run);
    return LJ_OK;
}

/* The next step goes on while the checkpoint is written. */
static int save(struct lj_run_state *run, int64_t finished)
{
    double begun_s = lj_now_s();
    LJ_TRY(finish_saving(run));
    LJ_TRY(lj_trainer_checkpoint_begin(run->trainer, run->checkpoints, finished));
    run->unsaid_step = finished;
    run->saved_s = lj_now_s();
    run->stood_s = run->saved_s - begun_s;
    return LJ_OK;
}

static void log_step(struct lj_run_state *run, int64_t finished,
                     const struct lj_step_report *report)
{
    bool line = due(run->config->log_every, finished) || finished == run->info.steps;
    if (!lj_comm_is_root(run->comm) || !(line || run->terminal))
        return;
    if (line)
        lj_run_log_step(run, finished, report);
    lj_run_progress(run, finished, report, line);
}

/* Decides by guard.nonfinite what happens after a step with values that are not finite. */
static int judge_step(struct lj_run_state *run, int64_t step, const struct lj_step_report *report)
{
    if (report->nonfinite == 0)
        return LJ_OK;
    if (run->config->guard_nonfinite == LJ_GUARD_NONFINITE_STOP)
        return lj_trainer_name_culprit(run->trainer);
    lj_warn("step %lld: %lld values were not finite; no update was made (guard.nonfinite=skip)",
            (long long)step, (long long)report->nonfinite);
    return LJ_OK;
}

static bool has_reached(const struct lj_run_state *run)
{
    return run->goal && run->goal->reached;
}

static int evaluate(struct lj_run_state *run, int64_t finished)
{
    double begun_s = lj_now_s();
    LJ_TRY(lj_run_evaluate(run, finished));
    run->evaluated = true;
    lj_deadline_evaluated(&run->deadline, lj_now_s() - begun_s);
    return LJ_OK;
}

/* May a run that stops still evaluate? The next job does not make up for it. Collective. */
static bool has_time_to_evaluate(struct lj_run_state *run, int64_t finished)
{
    const struct lj_deadline *d = &run->deadline;
    bool lacks = d->because && (d->evaluate_s == 0 || lj_now_s() + d->evaluate_s > d->end_s);
    if (!lj_all_max(run->comm, lacks))
        return true;
    lj_say("step %8lld  evaluation left out, as time may not suffice for it", (long long)finished);
    return false;
}

/* An evaluation of unknown length may outlast the job: what there is comes to disk before. */
static bool saves_for_safety(const struct lj_run_state *run, int64_t finished)
{
    return run->has_deadline && !run->evaluated && evaluates(run, finished);
}

/* A checkpoint comes before an evaluation, for which whoever asks for a stop may not wait. */
static int after_step(struct lj_run_state *run, int64_t finished,
                      const struct lj_step_report *report)
{
    bool stop = report->stop > 0 && finished < run->info.steps;
    bool safety = saves_for_safety(run, finished);
    bool saves = due(run->config->checkpoint_every, finished) || report->save > 0 || stop ||
                 safety || finished == run->info.steps;
    lj_watchdog_feed(finished);
    say_saved(run);
    if (saves)
        LJ_TRY(save(run, finished));
    if (stop || safety)
        LJ_TRY(finish_saving(run));
    if (report->stop > 0)
        take_stop_file(run);
    if (evaluates(run, finished) && (!stop || has_time_to_evaluate(run, finished)))
        LJ_TRY(evaluate(run, finished));
    if (has_reached(run) && !saves)
        LJ_TRY(save(run, finished));
    return LJ_OK;
}

/* ---- the run ----------------------------------------------------------------------------- */

static int run_steps(struct lj_run_state *run)
{
    struct lj_trainer *t = run->trainer;
    int64_t steps = run->info.steps;
    for (int64_t step = run->info.first_step; step < steps; step++) {
        lj_trace_step(step);
        bool log = due(run->config->log_every, step + 1) || step + 1 == steps;
        double begun_s = lj_now_s();
        struct lj_step_report report = {.stop = wants_stop(run, step), .save = wants_save(run)};
        lj_watchdog_feed(step);
        LJ_TRY(lj_trainer_step(t, step, log, &report));
        LJ_TRY(judge_step(run, step, &report));
        run->done++;
        if (log && run->config->views_redraw > 0)
            run->redraws = lj_trainer_redraws(t);
        log_step(run, step + 1, &report);
        LJ_TRY(lj_run_watch_collapse(run, step + 1, &report));
        LJ_TRY(lj_trainer_guard(t, run->config->guard_collapse, log && report.nonfinite == 0));
        lj_deadline_step(&run->deadline, lj_now_s() - begun_s);
        bool stop = report.stop > 0 && step + 1 < steps;
        if (report.stop > 0)
            pass_on_stop(run);
        LJ_TRY(after_step(run, step + 1, &report));
        if (has_reached(run))
            return LJ_OK;
        if (stop)
            return lj_fail(LJ_STOPPED,
                           "stopped at step %lld of %lld on request, checkpoint written; resubmit "
                           "with run.dir=%s to continue",
                           (long long)(step + 1), (long long)steps, run->dir);
    }
    return LJ_OK;
}

/* A job that is shorter than set-up would, resubmitted for ever, make one step each time. A sweep
 * goes on with other runs, and a study ends by itself. */
static int check_time(const struct lj_run_state *run)
{
    const struct lj_deadline *d = &run->deadline;
    if (!d->because || run->sweep_dir || run->goal || lj_now_s() <= d->end_s)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "set-up took %.1f s and left no time for a step, because of %s; ask for a "
                   "longer job",
                   lj_now_s() - run->begun_s, d->because);
}

/* However a run ends, the checkpoint that it began becomes whole. */
static int end_saving(struct lj_run_state *run, int status)
{
    char text[2048];
    snprintf(text, sizeof text, "%s", lj_error_text());
    int saved = finish_saving(run);
    if (status == LJ_OK)
        return saved;
    if (saved != LJ_OK)
        lj_warn("%s", lj_error_text());
    lj_error_set(text);
    return status;
}

static int train(struct lj_run_state *run)
{
    const struct lj_trainer_info *t = &run->info;
    if (t->first_step >= t->steps) {
        lj_say("nothing to do: %lld of %lld steps are done; to train on, raise train.epochs or "
               "train.steps and name it in resume.change",
               (long long)t->first_step, (long long)t->steps);
        return LJ_OK;
    }
    LJ_TRY(lj_agree(run->comm, check_time(run)));
    lj_phase_reset();
    run->started_s = run->saved_s = lj_now_s();
    run->unsaid_step = -1;
    int status = run_steps(run);
    lj_trace_step(-1);
    status = end_saving(run, status);
    if (status == LJ_OK || status == LJ_STOPPED) {
        char text[2048];
        snprintf(text, sizeof text, "%s", lj_error_text());
        int reported = lj_run_summary_end(run);
        if (reported != LJ_OK && status == LJ_OK)
            return reported;
        if (reported != LJ_OK) /* only warn: the checkpoint is good, and exit code 75 says so */
            lj_warn("%s", lj_error_text());
        lj_error_set(text);
    }
    return status;
}

/* However training ended, on which all ranks agree, its trace is written, unless there was no step
 * to make. */
static int end_trace(struct lj_run_state *run, int status)
{
    char text[2048];
    if (run->info.first_step >= run->info.steps)
        return status;
    snprintf(text, sizeof text, "%s", lj_error_text());
    int written = lj_run_trace_write(&run->trace, run->comm);
    if (status == LJ_OK)
        return written;
    if (written != LJ_OK)
        lj_warn("%s", lj_error_text());
    lj_error_set(text);
    return status;
}

/* Set-up and steps. */
static int set_up_and_train(struct lj_run_state *run)
{
    LJ_TRY(lj_run_trace_begin(&run->trace, run->comm, run->config));
    lj_phase_begin(LJ_PHASE_SETUP);
    int status = set_up(run);
    lj_phase_end();
    if (status == LJ_OK)
        status = end_trace(run, train(run));
    lj_trace_stop();
    return status;
}

int lj_run_train(struct lj_comm *comm, struct lj_config *config, const char *sweep_dir,
                 struct lj_run_goal *goal)
{
    lj_memory_reset_peaks();
    struct lj_run_state *run = lj_alloc(sizeof *run, "run");
    LJ_TRY(lj_agree(comm, run ? LJ_OK : LJ_ERR_RESOURCE));
    run->comm = comm;
    run->config = config;
    run->sweep_dir = sweep_dir;
    run->goal = goal;
    run->begun_s = lj_now_s();
    run->terminal = lj_comm_is_root(comm) && isatty(STDERR_FILENO);
    lj_signals_install(); /* a signal during set-up stops the run after its first step */
    int status = set_up_and_train(run);
    lj_signals_restore();
    tear_down(run);
    lj_free(run);
    return status;
}

int lj_train(struct lj_comm *comm, struct lj_config *config)
{
    return lj_run_train(comm, config, NULL, NULL);
}
