/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. train: the trainer alone. Creation, the step and checkpoints are
 * lejepa/train.h; here is what whoever runs and watches a trainer needs besides. */
#ifndef LEJEPA_TRAIN_TRAIN_H
#define LEJEPA_TRAIN_TRAIN_H

#include "lejepa/train.h"

#include "comm/comm.h"
#include "data/data.h"
#include "loss/loss.h"
#include "models/models.h"

/* The passes of a lane: the encoder on its global and on its local views, the projector on all, and
 * the head behind it, a predictor or prototypes. The target of an objective, an average of the
 * weights, has the encoder's pass on global views, and passes of its own of the projector and of
 * prototypes. */
enum lj_pass_kind {
    LJ_PASS_GLOBAL,
    LJ_PASS_LOCAL,
    LJ_PASS_PROJECTOR,
    LJ_PASS_HEAD,
    LJ_PASS_TARGET,
    LJ_PASS_TARGET_HEAD,
    LJ_PASS_KINDS
};

/* About the size of a bucket of gradients: large enough for the network, small enough that the
 * first moves early and a lane's share stays in the cache. */
enum { LJ_BUCKET_BYTES = 4 << 20 };

/* What the labels of the training rows came to, where the objective needs them. */
struct lj_trainer_labels {
    int64_t classes;    /* 0: the objective needs no labels */
    int32_t *label;     /* (classes) of each class, ascending */
    int64_t *rows;      /* (classes) that have it */
    int64_t unlabelled; /* rows that have none, and do not train */
    uint64_t hash;      /* of the rows that train and their labels */
};

/* What a trainer is made of and where it begins. Everything is borrowed from the trainer. */
struct lj_trainer_info {
    const struct lj_config *config; /* with automatic values resolved */
    const struct lj_objective_kind *objective;
    const struct lj_model *model;
    const struct lj_trainer_labels *classes;
    const float *mean, *std; /* (channels) of the pixels */
    int64_t lanes;           /* of the global batch */
    int64_t samples_per_lane;
    int64_t views[2];                          /* of a sample: global, local */
    int workers;                               /* lanes worked on at once */
    const struct lj_plan *plan[LJ_PASS_KINDS]; /* NULL: this run has no such pass */
    bool averages;                             /* keeps a running average of the weights */
    /* By memory.recompute: bytes that activations and sums of gradients set aside take on this rank
     * with that setting; 0: none, or the encoder cannot be trained so. */
    const int64_t *recompute_bytes;
    struct lj_layer_clock *const *clock; /* (workers) of (kinds of layers) */
    struct lj_ledger *ledger;
    int64_t common_bytes; /* memory by which ranks of this node exchange; 0: ranks exchange */
    double warmup_steps, lr_peak, lr_floor;
    int64_t first_step; /* 0, or the one after the checkpoint's */
    int64_t steps;      /* of the whole run */
};
/* Resolves the settings of what only some objectives have: a predictor, an average of their own.
 * Local. Errors: LJ_ERR_CONFIG: they are set, and the objective has no use for them. */
int lj_trainer_resolve_objective(struct lj_config *config) LJ_MUST_USE;
/* Does the objective of a configuration need labels? Then the trainer's archive is to be opened
 * with them. Local. */
bool lj_trainer_needs_labels(const struct lj_config *config);
/* Leaves the rows of an archive that have a label, if the objective needs labels and the archive
 * has some. A trainer does so by itself; before trainers on some of comm's ranks, all must have.
 * Collective. Errors: those of lj_archive_narrow; agreed. */
int lj_trainer_leave_labelled(struct lj_archive *archive, struct lj_comm *comm,
                              const struct lj_config *config) LJ_MUST_USE;

/* The lanes of a configuration's global batch. Local.
 *   ranks  in  that shall train
 * Errors: LJ_ERR_CONFIG: batch.size, batch.lanes and ranks do not go together. */
int lj_trainer_lanes(const struct lj_config *config, int ranks, int64_t *lanes) LJ_MUST_USE;

/* Bytes that training takes on the one rank of a run, as they are planned before it begins; batches
 * of images and the objective's sums come on top. */
struct lj_trainer_memory {
    int64_t state; /* weights, packed ones too, moments, gradient, and the copies of a checkpoint */
    int64_t lane;  /* activations and scratch of a lane that is worked on */
};
/* Plans one lane, and allocates nothing that is planned. Local.
 *   model    in   of LJ_BUCKET_BYTES; its parameters' packed forms get their places
 *   config   in   resolved, precision too
 *   samples  in   of the lane
 * Errors: LJ_ERR_CONFIG: memory.recompute and the encoder do not go together; LJ_ERR_RESOURCE. */
int lj_trainer_memory(struct lj_trainer_memory *memory, struct lj_model *model,
                      const struct lj_config *config, int64_t samples) LJ_MUST_USE;

/* Local. */
struct lj_trainer_info lj_trainer_info(const struct lj_trainer *trainer);
/* The weights after the last step, on ranks with lanes and on the root all of them; borrowed, and
 * valid until the next step. Collective in effect: waits for those that are on their way. */
const float *lj_trainer_weights(struct lj_trainer *trainer);
/* Exchanges the weights and their running average, where the trainer keeps one (train.average):
 * once before an evaluation, of the average then, and once behind it. No step in between.
 * Collective. */
void lj_trainer_swap_average(struct lj_trainer *trainer);
/* FLOP of one step: 3 x 2 x forward multiply-adds of encoder, projector and what is behind it,
 * attention included, and 2 x those of the target's passes. Local. */
double lj_trainer_step_flops(const struct lj_trainer *trainer);

/* Crops of views that saw nothing and were drawn again (views.redraw). */
struct lj_redraws {
    int64_t step; /* in the last step */
    int64_t all;  /* in all steps since the trainer was created */
};
/* Sums over all ranks, by one small allreduce. Collective. */
struct lj_redraws lj_trainer_redraws(struct lj_trainer *trainer);

/* After a step that was not finite: names a sample and view whose projection is not finite, or
 * else what the target has made of it. Collective. Errors: always LJ_ERR_NUMERIC. */
int lj_trainer_name_culprit(struct lj_trainer *trainer);
/* After a step: LJ_ERR_NUMERIC when the projections' effective rank is below `least`; does nothing
 * unless `now` and least > 0. Collective. */
int lj_trainer_guard(struct lj_trainer *trainer, double least, bool now);

/* lj_trainer_checkpoint in two halves. Begin waits for the checkpoint before, if one is being
 * written, takes a snapshot, and has it written by a thread while training goes on; a failure of
 * that thread is a failure of the next step, or of finish, which waits for it. Collective.
 * Errors: LJ_ERR_RESOURCE; agreed. */
int lj_trainer_checkpoint_begin(struct lj_trainer *trainer, const char *dir,
                                int64_t finished) LJ_MUST_USE;
int lj_trainer_checkpoint_finish(struct lj_trainer *trainer) LJ_MUST_USE;
/* Seconds that the writing of the checkpoint begun last took; 0: it is not on disk yet, or this is
 * not the root. Local. */
double lj_trainer_checkpoint_seconds(struct lj_trainer *trainer);
/* Bytes of a snapshot. Local. */
int64_t lj_trainer_snapshot_bytes(const struct lj_trainer *trainer);

/* Replaces the weights by those of a file, before the first step; the log and later checkpoints say
 * which. A file without a projector leaves the projector its own; a classifier is always new.
 * Collective: rank 0 reads.
 *   where  in  safetensors file (timm's names), checkpoint, or run directory: its newest checkpoint
 *   adapt  in  a safetensors file may be of images of other channels or of another size, and is
 *              adapted as lj_safetensors_read_adapted says
 * Errors: LJ_ERR_CHECKPOINT: a tensor is missing, has another shape or is not finite; agreed. */
int lj_trainer_load_weights(struct lj_trainer *trainer, const char *where, bool adapt) LJ_MUST_USE;

/* Replaces mean and std (channels) of the pixels, before the first step. Local; all ranks pass the
 * same. */
void lj_trainer_normalise_by(struct lj_trainer *trainer, const float *mean, const float *std);

/* The command `selftest`: trains a small model on config's archive on sub-communicators of 1 .. P
 * ranks and compares hashes of weights and losses. Collective over comm. Errors: LJ_ERR_BUG when
 * they differ. */
int lj_selftest(struct lj_comm *comm, const struct lj_config *config) LJ_MUST_USE;

#endif
