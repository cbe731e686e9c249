/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. What a run left in its directory, and the order of runs without labels. Local. */
#ifndef LEJEPA_APP_PAST_RUN_H
#define LEJEPA_APP_PAST_RUN_H

#include "app/app.h"

/* A run by its config.yaml and metrics.jsonl. */
struct lj_past_run {
    const char *dir; /* not owned */
    char model[64];  /* cut off if longer */
    double lambda, lr;
    double loss;                  /* mean of the logged steps of its last epoch */
    int64_t averaged;             /* how many they are */
    double score;                 /* loss / lambda^alpha */
    int64_t step, steps;          /* last logged, all of the run */
    double collapse;              /* of the last logged step, as in metrics.jsonl; NaN: not known */
    double knn_top1, linear_top1; /* of the last evaluation; NaN: none */
    int64_t layers;               /* eval.layers */
    bool averaged_weights;        /* evaluations are of the weights' running average */
    double probe_top1; /* linear_top1 in probe.json, which `probe json=1` printed; NaN: none */
};

/* Reads one.
 *   config  out  its config.yaml
 * Errors: LJ_ERR_DATA: there is no run, or none with a loss, or its loss has no score. */
int lj_past_run_read(struct lj_past_run *run, struct lj_config *config, const char *dir,
                     double alpha) LJ_MUST_USE;

/* Reads runs, orders them by score, lowest first, and prints them on standard output. Those that
 * cannot be read are warned of and left out.
 *   options  in  alpha=, force=, json=
 * Errors: LJ_ERR_CONFIG: their scores are not comparable, and force=0; LJ_ERR_DATA: none is left;
 * LJ_ERR_RESOURCE. */
int lj_rank_runs(const char *const *dir, int count, const struct lj_config *options) LJ_MUST_USE;

#endif
