/* SPDX-License-Identifier: Apache-2.0 */
/* Time to a target: whole runs on one number of ranks after the other, each until an evaluation has
 * reached an accuracy. Reading the archive's index, set-up and evaluations are part of the time. */
#include "run/scale/scale.h"
#include "run/state.h"

#include <math.h>
#include <stdio.h>

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

/* Starting again what was stopped would not measure a time: no exit code asks to resubmit it. */
static int refuse_to_stop(const char *dir)
{
    return lj_fail(LJ_ERR_CONFIG,
                   "%s: this run was stopped, and a study cannot be continued; choose another out= "
                   "and give it more time",
                   dir);
}

int lj_scale_run(struct lj_comm *comm, const struct lj_config *config, const char *name,
                 double left_s, struct lj_config *of_run, struct lj_run_goal *goal)
{
    *of_run = *config;
    of_run->run_max_seconds = left_s;
    snprintf(of_run->run_dir, sizeof of_run->run_dir, "%.4000s/%s", config->arg_out, name);
    lj_log_set_run(name);
    int status = lj_run_train(comm, of_run, NULL, goal);
    lj_log_set_run("");
    if (lj_comm_is_root(comm))
        lj_log_close();
    lj_progress_set_turns(1);
    return status == LJ_STOPPED ? refuse_to_stop(of_run->run_dir) : status;
}

/* On the first `ranks` ranks; the others wait. Collective. */
static int train_on(struct lj_comm *comm, int ranks, const struct lj_config *config, double left_s,
                    struct lj_config *of_run, struct lj_run_goal *goal)
{
    struct lj_comm *part = NULL;
    char name[64];
    snprintf(name, sizeof name, "target-%d", ranks);
    LJ_TRY(lj_comm_first(comm, ranks, &part));
    int status = part ? lj_scale_run(part, config, name, left_s, of_run, goal) : LJ_OK;
    lj_comm_destroy(part);
    lj_wait_for_all(comm, NULL, NULL);
    return lj_agree(comm, status);
}

/* Of run.max_seconds; a run without time ends after its first step. 0: no limit. */
static double left_of(const struct lj_config *config, double begun_s)
{
    const double least_s = 1e-3, end_s = begun_s + config->run_max_seconds;
    return config->run_max_seconds > 0 ? fmax(end_s - lj_now_s(), least_s) : 0;
}

int lj_scale_train(struct lj_scale *scale, struct lj_comm *comm, const struct lj_config *config,
                   double begun_s)
{
    struct lj_config *of_run = lj_alloc(sizeof *of_run, "scale");
    int status = lj_agree(comm, of_run ? LJ_OK : LJ_ERR_RESOURCE);
    for (int i = 0; status == LJ_OK && i < scale->counts; i++) {
        status = train_on(comm, scale->ladder[i], config, left_of(config, begun_s), of_run,
                          &scale->goal[i]);
        scale->trained += status == LJ_OK;
        if (status == LJ_OK)
            say_goal(&scale->goal[i], scale->ladder[i]);
    }
    lj_free(of_run);
    return status;
}
