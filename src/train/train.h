/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. train: pretraining of an encoder: set-up, the step, and the run around it.
 *
 *     lj_train(world, &config)                        the whole command
 *
 *     lj_trainer_create(&t, comm, &config, ...)       or shard by shard (self-test, benchmarks)
 *     lj_trainer_step(t, step, &report)
 *     lj_trainer_hash(t)
 */
#ifndef LEJEPA_TRAIN_H
#define LEJEPA_TRAIN_H

#include "comm/comm.h"
#include "lejepa/config.h"
#include "data/data.h"
#include "loss/loss.h"
#include "models/models.h"

struct lj_trainer;

/* What one step reports; the same values on every rank. */
struct lj_step_report {
    struct lj_lejepa_terms loss; /* stop and save are also inputs: this rank's requests */
    double lr;
    double grad_norm;  /* NaN unless asked for or clipping */
    int64_t nonfinite; /* values not finite or out of range; > 0: no update was made */
};

/* Agrees on the lowest ISA level of all ranks, forces it on the libraries and returns it. Collective;
 * before the first product. */
int lj_agree_on_kernels(struct lj_comm *comm, const char **name) LJ_MUST_USE;
/* After it: precision "auto" becomes what the agreed level can do. Local.
 * Errors: LJ_ERR_CONFIG (bf16 below level avx512bf16). */
int lj_resolve_precision(struct lj_config *config) LJ_MUST_USE;

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

/* One optimisation step on the global batch. Collective; steps in order from lj_trainer_first_step.
 *   want_norm  in  also compute the gradient's norm (one more small collective)
 * Errors: agreed on every rank. */
int lj_trainer_step(struct lj_trainer *trainer, int64_t step, bool want_norm,
                    struct lj_step_report *report) LJ_MUST_USE;

int64_t lj_trainer_first_step(const struct lj_trainer *trainer); /* 0, or after resuming */
int64_t lj_trainer_steps(const struct lj_trainer *trainer);      /* of the whole run */
struct lj_ledger *lj_trainer_ledger(struct lj_trainer *trainer);
/* XXH3 of all weights; equal on all ranks that have lanes and on the root (the others keep only shards).
 * Local. */
uint64_t lj_trainer_hash(const struct lj_trainer *trainer);
/* FLOP of one step by DESIGN's count: 3 x forward multiply-adds x 2 of encoder and projector. */
double lj_trainer_step_flops(const struct lj_trainer *trainer);
/* Replaces the encoder's weights by those of a safetensors file (timm's names); the projector keeps its
 * own. Collective. Errors: LJ_ERR_CHECKPOINT. */
int lj_trainer_load_weights(struct lj_trainer *trainer, const char *path) LJ_MUST_USE;

/* Writes the checkpoint of `finished` steps into dir. Collective. */
int lj_trainer_checkpoint(struct lj_trainer *trainer, const char *dir,
                          int64_t finished) LJ_MUST_USE;

/* The command `train`: run directory, resuming, logging, evaluation, checkpoints, signals. Collective.
 * Returns LJ_OK, LJ_STOPPED, or an agreed error already described by lj_error_text. */
int lj_train(struct lj_comm *comm, struct lj_config *config) LJ_MUST_USE;

/* The command `selftest`: trains a small model on config's archive on sub-communicators of 1 .. P ranks
 * and compares hashes of weights and losses. Collective over comm. Errors: LJ_ERR_BUG when they differ. */
int lj_selftest(struct lj_comm *comm, const struct lj_config *config) LJ_MUST_USE;

#endif
