/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. The state of the command `train`: a trainer and what surrounds it. */
#ifndef LEJEPA_RUN_STATE_H
#define LEJEPA_RUN_STATE_H

#include "run/deadline.h"
#include "run/lock.h"
#include "run/tensorboard.h"
#include "run/trace.h"
#include "train/train.h"

#include "eval/eval.h"
#include "store/store.h"

#include <stdio.h>

struct lj_run_goal; /* of run/run.h */

struct lj_run_state {
    struct lj_comm *comm;
    struct lj_config *config;
    struct lj_archive *archive;
    struct lj_trainer *trainer;
    struct lj_trainer_info info;   /* what the trainer tells of itself */
    char dir[LJ_PATH_MAX];         /* run.dir, the same on every rank */
    char checkpoints[LJ_PATH_MAX]; /* dir/checkpoints */
    struct lj_run_lock lock;       /* on dir; root only */
    FILE *metrics;                 /* metrics.jsonl; root only */
    double begun_s;                /* when the command began, before set-up; by lj_now_s */
    struct lj_deadline deadline;   /* its end is the root's only */
    bool has_deadline;             /* the same on every rank */
    bool evaluated;            /* by this job, so that the time it takes is known; on all ranks */
    double started_s;          /* when its first step began */
    double saved_s;            /* when the last checkpoint was begun, or the first step */
    double stood_s;            /* how long training stood still for it */
    int64_t unsaid_step;       /* its step, until the log says that it is on disk; -1: none */
    int64_t done;              /* steps this process has finished */
    struct lj_redraws redraws; /* as summed last: at a logged step, or the end */
    int64_t planned_bytes;     /* allocated on this rank at the end of set-up */
    double peak_gflops;        /* of matmuls on all threads of all ranks; 0: not measured */
    struct lj_run_trace trace; /* of run.trace */
    const char *sweep_dir;     /* run.dir of the sweep that it is a run of; NULL: of none */
    struct lj_run_goal *goal;  /* an accuracy that ends it; borrowed; NULL: none */
    double asked_s;            /* when the files of the sweep were last looked for */
    int64_t collapsed_steps;   /* steps in a row whose terms show a collapse */
    bool said_no_probe;        /* that an evaluation has no linear probe */
    bool terminal;             /* root: standard error is a terminal, so draw a progress bar */
    struct lj_archive *eval_query; /* rows that are evaluated; NULL: no evaluation */
    struct lj_archive *eval_bank;  /* labelled rows that the kNN knows; NULL: no labels, no kNN */
    int64_t eval_held_out;         /* rows of data.where that do not train (eval.holdout) */
    int64_t eval_overlap;          /* rows of data.where not in the bank: they are evaluated */
    int64_t eval_bank_unlabelled;  /* ... because they have no label */
    int64_t eval_query_kept;       /* rows of eval.where, if there are labels those that have one;
                                      of them eval.queries are evaluated */
    int64_t eval_query_unlabelled; /* the others */
    /* Event file; root only. NULL: log.tensorboard is false. */
    struct lj_tensorboard *tensorboard;
};

/* What an evaluation found. */
struct lj_run_scores {
    bool has_labels; /* kNN and linear probe have predicted */
    bool classifies; /* so has the classifier that is trained; then there are no projections */
    struct lj_accuracy knn, linear, supervised;
    int64_t width;                  /* of the embeddings */
    struct lj_spectrum embeddings;  /* their eigenvalues are borrowed */
    struct lj_spectrum projections; /* likewise; of all views of so many samples: */
    int64_t samples;
    double alignment;            /* lj_projections_alignment */
    bool sees_lengths;           /* of projections: the objective does; then there are: */
    double sigreg, sigreg_floor; /* of these projections */
};

/* ---- run.c ------------------------------------------------------------------------------- */

/* lj_train, as a run of a sweep or of a scaling study: all ranks of these have agreed on a level.
 * Collective over comm.
 *   sweep_dir  in      run.dir of the sweep, with which it stops; NULL: it is no run of a sweep
 *   goal       in/out  ends it early; NULL: there is none, nor a study */
int lj_run_train(struct lj_comm *comm, struct lj_config *config, const char *sweep_dir,
                 struct lj_run_goal *goal);

/* ---- directory.c ------------------------------------------------------------------------- */

/* Makes the directory path and those above it. Local. Errors: LJ_ERR_RESOURCE. */
int lj_run_make_dirs(const char *path) LJ_MUST_USE;
/* Makes the run's directory unless it exists, locks it, opens log.txt, and looks for checkpoints.
 * Collective.
 *   run          in/out  sets dir, checkpoints, lock, and run.dir of the configuration
 *   resume_from  out     the last checkpoint, good or not; "" if there is none
 * Errors: LJ_ERR_RESOURCE (not writable, or in use by another job), LJ_ERR_CHECKPOINT; agreed. */
int lj_run_open_dir(struct lj_run_state *run, char resume_from[LJ_PATH_MAX]);
/* Path of the file that keeps the index of data.archive, or of eval.archive, from one start to the
 * next; "" if the directory is yet to be picked. */
const char *lj_run_index_cache(const struct lj_run_state *run, char path[LJ_PATH_MAX], bool eval);
/* Writes config.yaml, keeps the indices of the archives, and opens metrics.jsonl, after cutting off
 * lines of steps after `first`, with which the run continues. Local; other ranks than the root do
 * nothing. With log.tensorboard, also begins an event file. Errors: LJ_ERR_RESOURCE. */
int lj_run_open_files(struct lj_run_state *run, int64_t first);

/* ---- metrics.c: local, root only; finished: steps of the run that are finished ----------- */

/* Writes the line of a step to metrics.jsonl, and its values for TensorBoard. */
void lj_run_log_step(struct lj_run_state *run, int64_t finished,
                     const struct lj_step_report *report);
/* The same of an evaluation. */
void lj_run_log_evaluation(struct lj_run_state *run, int64_t finished,
                           const struct lj_run_scores *scores);
/* Draws the progress bar on a terminal; line: also writes a line of the log. */
void lj_run_progress(struct lj_run_state *run, int64_t finished,
                     const struct lj_step_report *report, bool line);

/* ---- collapse.c -------------------------------------------------------------------------- */

/* How much of a collapse a step shows, as the objective tells; NaN if it cannot. Local. */
double lj_run_collapse(const struct lj_run_state *run, const struct lj_step_report *report);
/* Counts steps that show a collapse, and warns of as many in a row as cannot be a start or an
 * accident. Every rank, with the same report. Errors: LJ_ERR_NUMERIC, if guard.collapse asks. */
int lj_run_watch_collapse(struct lj_run_state *run, int64_t finished,
                          const struct lj_step_report *report);

/* ---- holdout.c, beside what run/run.h says of it ----------------------------------------- */

/* Leaves of an archive's rows those that are held out. Collective.
 *   every  in  eval.holdout; 0: all stay
 * Errors: LJ_ERR_RESOURCE; agreed. */
int lj_run_query_held_out(struct lj_archive *archive, struct lj_comm *comm,
                          int64_t every) LJ_MUST_USE;

/* ---- evaluation.c ------------------------------------------------------------------------ */

/* Opens the archives of the evaluation, if eval.every asks for one. Collective.
 * Errors: LJ_ERR_CONFIG, or those of lj_archive_open; agreed. */
int lj_run_open_evaluation(struct lj_run_state *run);
/* Has the encoder the layers that eval.layers asks for? Local, the same on every rank. Errors:
 * LJ_ERR_CONFIG. */
int lj_run_check_layers(const struct lj_run_state *run);
/* Gives them the limits of the run's archive, which a checkpoint may have brought. Local. */
void lj_run_share_limits(struct lj_run_state *run);
/* Logs how many of their rows are left out, and why. Local. */
void lj_run_say_left_out(const struct lj_run_state *run);
/* Warns of rows whose label neither the bank nor the classifier knows. Collective. Errors:
 * LJ_ERR_RESOURCE; agreed. */
int lj_run_warn_unknown(const struct lj_run_state *run) LJ_MUST_USE;
/* Embeds the rows by the present weights, scores and logs. Collective. */
int lj_run_evaluate(struct lj_run_state *run, int64_t finished);
/* Closes the archives. Local. */
void lj_run_close_evaluation(struct lj_run_state *run);

/* ---- summary/ ---------------------------------------------------------------------------- */

/* Logs model, batch, memory and communication at the start; measures the peak if
 * asked. Collective. */
int lj_run_summary_start(struct lj_run_state *run, const char *isa);
/* Logs where time and memory went, and writes timing.json. Collective. */
int lj_run_summary_end(struct lj_run_state *run);

#endif
