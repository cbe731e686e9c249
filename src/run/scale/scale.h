/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. A rung of a scaling study. */
#ifndef LEJEPA_RUN_SCALE_H
#define LEJEPA_RUN_SCALE_H

#include "run/run.h"
#include "train/train.h"

enum { LJ_SCALE_CHECKED = 2 }; /* steps whose bits are compared */

/* What two steps come to. All of it is compared, so it begins as zero bytes. */
struct lj_scale_bits {
    uint64_t weights; /* hash of all, after them */
    double term[LJ_SCALE_CHECKED][LJ_TERMS_MAX];
    double grad_norm[LJ_SCALE_CHECKED];
};
bool lj_scale_same(const struct lj_scale_bits *a, const struct lj_scale_bits *b);

/* A rung in the making; everything is borrowed. */
struct lj_scale_work {
    struct lj_comm *comm;           /* the ranks of the rung */
    const struct lj_config *config; /* with its batch */
    struct lj_archive *archive;
    struct lj_scale *scale;
    struct lj_scale_rung *rung;
};
/* ladder.c: seconds of all repeats of a rung together. Local. */
double lj_scale_repeats_s(const struct lj_scale *scale, const struct lj_scale_rung *rung);
/* predict.c: keeps how the parameters are cut into buckets, once. Local.
 * Errors: LJ_ERR_RESOURCE. */
int lj_scale_keep_buckets(struct lj_scale *scale, const struct lj_params *params) LJ_MUST_USE;

/* target.c: a whole run in out=/NAME. Collective over comm.
 *   left_s  in      its run.max_seconds; 0: no limit
 *   of_run  out     settings of the run; borrowed by nobody afterwards
 *   goal    in/out
 * Errors: those of lj_train; LJ_ERR_CONFIG: it was stopped. */
int lj_scale_run(struct lj_comm *comm, const struct lj_config *config, const char *name,
                 double left_s, struct lj_config *of_run, struct lj_run_goal *goal) LJ_MUST_USE;

/* exponents.c: bytes of an objective's step by its formula, from the run's size on. Local. */
void lj_compare_formula(struct lj_compared *compared, const struct lj_config *config, int ranks);
/* Bytes of an objective alone, measured, and how they grow. Collective.
 * Errors: LJ_ERR_CONFIG, LJ_ERR_RESOURCE; agreed. */
int lj_compare_alone(struct lj_compared *compared, struct lj_comm *comm,
                     const struct lj_config *config) LJ_MUST_USE;
/* sigreg_cost.c: times SIGReg on rank 0, in two seconds or so; the others wait. Collective.
 * Errors: LJ_ERR_RESOURCE; agreed. */
int lj_compare_sigreg(struct lj_comparison *comparison, struct lj_comm *comm,
                      const struct lj_config *config) LJ_MUST_USE;

/* Trains two steps. Collective over the rung.
 *   bits  out  on rank 0 of it
 * Errors: those of training; agreed. */
int lj_scale_reference(const struct lj_scale_work *work, struct lj_scale_bits *bits) LJ_MUST_USE;
/* Trains and measures. Collective over the rung.
 *   bits  out  of the first two steps, on rank 0
 * Errors: those of training; agreed. */
int lj_scale_rung(const struct lj_scale_work *work, struct lj_scale_bits *bits) LJ_MUST_USE;

#endif
