/* SPDX-License-Identifier: Apache-2.0 */
/* The last safe moment to save and end. */
#include "run/deadline.h"

#include <math.h>
#include <stdlib.h>

/* A job's processes have to be gone before the batch system ends it: rank 0's last lines, the
 * launcher, and what the job script does then. run.max_seconds is the user's own figure. */
static const double after_run_s = 10;
/* A checkpoint before the first was measured: slow disks of clusters, shared by all. */
static const double guessed_bytes_per_s = 100e6, guessed_least_s = 1;
/* Disks are not always as fast as they were. */
static const double slower_save = 1.5;
/* How much of a slow step is remembered at the next. */
static const double step_memory = 0.9;

void lj_deadline_begin(struct lj_deadline *d, double begun_s, double max_seconds,
                       const char *job_end, double wall_s)
{
    *d = (struct lj_deadline){.end_s = 0};
    if (max_seconds > 0) {
        d->end_s = begun_s + max_seconds;
        d->because = "run.max_seconds";
    }
    if (!job_end)
        return;
    char *rest;
    double left = strtod(job_end, &rest) - wall_s;
    double end_s = lj_now_s() + left - after_run_s;
    if (rest == job_end || *rest || !(left > 0) || !isfinite(left)) {
        lj_warn("SLURM_JOB_END_TIME=%s is no time to come: the end of the job is not known; set "
                "run.max_seconds",
                job_end);
    } else if (d->end_s == 0 || end_s < d->end_s) {
        d->end_s = end_s;
        d->because = "the end of the job (SLURM_JOB_END_TIME)";
    }
}

void lj_deadline_expect(struct lj_deadline *d, int64_t checkpoint_bytes)
{
    d->save_s = guessed_least_s + (double)checkpoint_bytes / guessed_bytes_per_s;
    d->save_is_guessed = true;
}

void lj_deadline_step(struct lj_deadline *d, double seconds)
{
    d->step_s = fmax(seconds, step_memory * d->step_s);
}

void lj_deadline_saved(struct lj_deadline *d, double seconds)
{
    d->save_s = d->save_is_guessed ? seconds : fmax(seconds, d->save_s);
    d->save_is_guessed = false;
}

void lj_deadline_evaluated(struct lj_deadline *d, double seconds)
{
    d->evaluate_s = fmax(seconds, d->evaluate_s);
}

bool lj_deadline_is_near(const struct lj_deadline *d, double now_s, int saves, int evaluations)
{
    double needs_s = 2 * d->step_s + evaluations * d->evaluate_s + saves * slower_save * d->save_s;
    return d->because && now_s + needs_s > d->end_s;
}
