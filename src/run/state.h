/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. A run around a trainer. */
#ifndef LEJEPA_RUN_STATE_H
#define LEJEPA_RUN_STATE_H

#include "run/lock.h"
#include "train/train.h"

#include "store/store.h"

#include <stdio.h>

struct lj_run_state {
    struct lj_comm *comm;
    struct lj_config *config;
    struct lj_archive *archive;
    struct lj_trainer *trainer;
    struct lj_trainer_info info;   /* of the trainer */
    char dir[LJ_PATH_MAX];         /* run.dir, the same on every rank */
    char checkpoints[LJ_PATH_MAX]; /* dir/checkpoints */
    struct lj_run_lock lock;       /* on dir; root only */
    FILE *metrics;                 /* metrics.jsonl; root only */
    double begun_s;                /* of the command, set-up included */
    double started_s;              /* of this process's training */
    int64_t done;                  /* steps finished by this process */
    int64_t planned_bytes;         /* our memory of this rank at the end of set-up */
    double peak_gflops;            /* of a product on all threads of all ranks; 0: not measured */
    bool terminal;                 /* standard error is one: a bar instead of lines */
    struct lj_archive *eval_bank, *eval_query; /* labelled rows for the kNN; NULL: none */
};

/* directory.c: picks or makes the directory, locks it, opens log.txt; finds the checkpoint to continue from
 * ("" none).
 * Collective. */
int lj_run_open_dir(struct lj_run_state *run, char resume_from[LJ_PATH_MAX]);
/* Opens metrics.jsonl, without what a lost continuation wrote after step `first`; writes config.yaml.
 * Local (root). */
int lj_run_open_files(struct lj_run_state *run, int64_t first);

/* metrics.c: one object of metrics.jsonl; the progress bar of a terminal and, if asked,
 * the line of the log. Root only. */
void lj_run_log_step(struct lj_run_state *run, int64_t finished,
                     const struct lj_step_report *report);
void lj_run_log_evaluation(struct lj_run_state *run, int64_t finished, double top1, double balanced,
                           double effective_rank);
void lj_run_progress(struct lj_run_state *run, int64_t finished,
                     const struct lj_step_report *report, bool line);

/* evaluation.c: the kNN on a labelled archive. Collective. */
int lj_run_open_evaluation(struct lj_run_state *run);
int lj_run_evaluate(struct lj_run_state *run, int64_t finished);
void lj_run_close_evaluation(struct lj_run_state *run);

/* summary/: what a run tells at its start and end; timing.json. Collective. */
int lj_run_summary_start(struct lj_run_state *run, const char *isa);
int lj_run_summary_end(struct lj_run_state *run);

#endif
