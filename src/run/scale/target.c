/* SPDX-License-Identifier: Apache-2.0 */
/* Time to a target: whole runs on one number of ranks after the other, each until an evaluation has
 * reached an accuracy. Reading the archive's index, set-up and evaluations are part of the time. */
#include "run/run.h"
#include "run/state.h"

#include <math.h>

void lj_scale_target_dir(const struct lj_config *config, int ranks, char dir[LJ_PATH_MAX])
{
    snprintf(dir, LJ_PATH_MAX, "%.4000s/target-%d", config->arg_out, ranks);
}

static void say_goal(const struct lj_run_goal *goal, int ranks)
{
    lj_say("scale: %d rank%s: %s knn_top1 %.4f (target %g) after %lld step%s, %.1f s", ranks,
           ranks == 1 ? "" : "s", goal->reached ? "reached" : "ended at", goal->found,
           goal->knn_top1, (long long)goal->steps, goal->steps == 1 ? "" : "s", goal->seconds);
}

/* Starting again what was stopped would not measure a time: there is no exit code to resubmit on.
 * Of the ranks of the run. */
static int refuse_to_stop(const struct lj_config *config, int ranks)
{
    return lj_fail(LJ_ERR_CONFIG,
                   "target=%s: the run on %d rank%s was stopped, and a study cannot be continued; "
                   "choose another out= and give it more time",
                   config->arg_target, ranks, ranks == 1 ? "" : "s");
}

/* Collective over the ranks of the run. */
static int train(struct lj_comm *part, const struct lj_config *config, struct lj_config *of_run,
                 struct lj_run_goal *goal)
{
    char name[64];
    lj_scale_target_dir(config, part->size, of_run->run_dir);
    snprintf(name, sizeof name, "target-%d", part->size);
    lj_log_set_run(name);
    int status = lj_run_train(part, of_run, NULL, goal);
    lj_log_set_run("");
    if (lj_comm_is_root(part))
        lj_log_close();
    lj_progress_set_turns(1);
    return status == LJ_STOPPED ? refuse_to_stop(config, part->size) : status;
}

/* On the first `ranks` ranks; the others wait. Collective. */
static int train_on(struct lj_comm *comm, int ranks, const struct lj_config *config,
                    struct lj_config *of_run, struct lj_run_goal *goal)
{
    struct lj_comm *part = NULL;
    LJ_TRY(lj_comm_first(comm, ranks, &part));
    int status = part ? train(part, config, of_run, goal) : LJ_OK;
    lj_comm_destroy(part);
    lj_wait_for_all(comm, NULL, NULL);
    return lj_agree(comm, status);
}

/* A run has what is left of run.max_seconds: one without time ends after its first step. */
static void settings_of(struct lj_config *of_run, const struct lj_config *config, double begun_s)
{
    const double least_s = 1e-3;
    *of_run = *config;
    if (config->run_max_seconds > 0)
        of_run->run_max_seconds = fmax(begun_s + config->run_max_seconds - lj_now_s(), least_s);
}

int lj_scale_train(struct lj_scale *scale, struct lj_comm *comm, const struct lj_config *config,
                   double begun_s)
{
    struct lj_config *of_run = lj_alloc(sizeof *of_run, "scale");
    int status = lj_agree(comm, of_run ? LJ_OK : LJ_ERR_RESOURCE);
    for (int i = 0; status == LJ_OK && i < scale->counts; i++) {
        settings_of(of_run, config, begun_s);
        status = train_on(comm, scale->ladder[i], config, of_run, &scale->goal[i]);
        scale->trained += status == LJ_OK;
        if (status == LJ_OK)
            say_goal(&scale->goal[i], scale->ladder[i]);
    }
    lj_free(of_run);
    return status;
}
