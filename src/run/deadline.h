/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. When a run must end by itself: run.max_seconds after it began, or before a batch
 * system ends the job. It stops at the last moment at which a checkpoint can still be saved, by
 * what steps, evaluations and checkpoints took so far. All local; the root's. */
#ifndef LEJEPA_RUN_DEADLINE_H
#define LEJEPA_RUN_DEADLINE_H

#include "base/base.h"

struct lj_deadline {
    double end_s;         /* by lj_now_s, when the process has to be gone; 0: never */
    const char *because;  /* words for the log; NULL: never */
    double step_s;        /* of the slowest step lately */
    double save_s;        /* of the slowest checkpoint, from its beginning until it is on disk */
    bool save_is_guessed; /* there was none yet */
    double evaluate_s;    /* of the slowest evaluation; 0: there was none yet */
};

/* Warns if job_end is no time to come, and goes without it.
 *   begun_s         in  when the run began, by lj_now_s
 *   max_seconds     in  run.max_seconds; 0: no such limit
 *   job_end         in  when the job ends, in seconds since 1970 (SLURM_JOB_END_TIME); NULL: no job
 *   wall_s          in  the time now, in seconds since 1970 */
void lj_deadline_begin(struct lj_deadline *deadline, double begun_s, double max_seconds,
                       const char *job_end, double wall_s);
/* A checkpoint has so many bytes: what it costs until one was measured. */
void lj_deadline_expect(struct lj_deadline *deadline, int64_t checkpoint_bytes);
/* What a step, a checkpoint, an evaluation took. */
void lj_deadline_step(struct lj_deadline *deadline, double seconds);
void lj_deadline_saved(struct lj_deadline *deadline, double seconds);
void lj_deadline_evaluated(struct lj_deadline *deadline, double seconds);
/* Is it the last moment to ask for a stop? The request comes through with the step that begins, and
 * one that does not ask has another step before it can.
 *   now_s        in  by lj_now_s
 *   saves        in  checkpoints to be written: 1, and 1 each for another one being written and
 *                    one due after the step
 *   evaluations  in  in these two steps */
bool lj_deadline_is_near(const struct lj_deadline *deadline, double now_s, int saves,
                         int evaluations);

#endif
