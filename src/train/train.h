/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. train: pretraining of an encoder: set-up, the step, checkpoints.
 *
 *     lj_trainer_create(&t, comm, &config, ...)
 *     lj_trainer_step(t, step, &report)
 *     lj_trainer_hash(t)
 */
#ifndef LEJEPA_TRAIN_TRAIN_H
#define LEJEPA_TRAIN_TRAIN_H

#include "lejepa/config.h"

#include "comm/comm.h"
#include "data/data.h"
#include "loss/loss.h"
#include "models/models.h"

struct lj_trainer;

/* The passes of a lane: the encoder on its global and on its local views, the projector on all. */
enum lj_pass_kind { LJ_PASS_GLOBAL, LJ_PASS_LOCAL, LJ_PASS_PROJECTOR, LJ_PASS_KINDS };

/* What one step reports; the same values on every rank. */
struct lj_step_report {
    struct lj_lejepa_terms loss; /* stop and save are also inputs: this rank's requests */
    double lr;
    double grad_norm;  /* NaN unless asked for or clipping */
    int64_t nonfinite; /* values not finite or out of range; > 0: no update was made */
};

/* Builds everything for training on archive: model, plans, memory, loss, reductions, optimiser, loader.
 * Weights are initial, or, with resume_from (a checkpoint's path, may be NULL), exactly those of the
 * checkpoint, and the first step is the one after it. Collective over comm; the archive is borrowed.
 *   trainer  out  owned by the caller
 * Errors: config (lanes, sizes), data (fewer samples than a batch), checkpoint, memory: the same on
 * every rank. */
int lj_trainer_create(struct lj_trainer **trainer, struct lj_comm *comm,
                      const struct lj_config *config, struct lj_archive *archive,
                      const char *resume_from) LJ_MUST_USE;
void lj_trainer_destroy(struct lj_trainer *trainer);

/* One optimisation step on the global batch. Collective; steps in order from info.first_step.
 *   want_norm  in  also compute the gradient's norm (one more small collective)
 * Errors: agreed on every rank. */
int lj_trainer_step(struct lj_trainer *trainer, int64_t step, bool want_norm,
                    struct lj_step_report *report) LJ_MUST_USE;

/* What a trainer is made of and where it begins, for whoever runs and watches it. Everything is borrowed
 * from the trainer. */
struct lj_trainer_info {
    const struct lj_config *config; /* with automatic values resolved */
    const struct lj_model *model;
    const float *weights;            /* on ranks with lanes and on the root all of them */
    const float *mean, *std;         /* (channels) of the pixels */
    int64_t lanes, samples_per_lane; /* of the global batch */
    int64_t views[2];                /* of a sample: global, local */
    int workers;                     /* lanes worked on at once */
    const struct lj_plan
        *plan[3]; /* encoder on global views, on local views (NULL without), projector */
    struct lj_layer_clock *const *clock; /* (workers) of (kinds of layers) */
    struct lj_ledger *ledger;
    double warmup_steps, lr_peak, lr_floor;
    int64_t first_step; /* 0, or the one after the checkpoint's */
    int64_t steps;      /* of the whole run */
};
/* Local. */
struct lj_trainer_info lj_trainer_info(const struct lj_trainer *trainer);
/* XXH3 of all weights; equal on all ranks that have lanes and on the root (the others keep only shards).
 * Local. */
uint64_t lj_trainer_hash(const struct lj_trainer *trainer);
/* FLOP of one step by DESIGN's count: 3 x forward multiply-adds x 2 of encoder and projector. Local. */
double lj_trainer_step_flops(const struct lj_trainer *trainer);

/* After a step that was not finite: names a sample and view whose projection is not finite. Collective.
 * Errors: always LJ_ERR_NUMERIC. */
int lj_trainer_name_culprit(struct lj_trainer *trainer);
/* After a step: LJ_ERR_NUMERIC when the projections' effective rank is below `least`; does nothing unless
 * `now` and least > 0. Collective. */
int lj_trainer_guard(struct lj_trainer *trainer, double least, bool now);

/* Replaces the encoder's weights by those of a safetensors file (timm's names); the projector keeps its
 * own. Collective. Errors: LJ_ERR_CHECKPOINT. */
int lj_trainer_load_weights(struct lj_trainer *trainer, const char *path) LJ_MUST_USE;

/* Writes the checkpoint of `finished` steps into dir. Collective. */
int lj_trainer_checkpoint(struct lj_trainer *trainer, const char *dir,
                          int64_t finished) LJ_MUST_USE;

/* The command `selftest`: trains a small model on config's archive on sub-communicators of 1 .. P ranks
 * and compares hashes of weights and losses. Collective over comm. Errors: LJ_ERR_BUG when they differ. */
int lj_selftest(struct lj_comm *comm, const struct lj_config *config) LJ_MUST_USE;

#endif
