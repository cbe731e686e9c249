/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. The trainer: pretraining of an encoder, one step at a time, in a program of one's own.
 * What surrounds training in `lejepa_mpi train` (run directory, log, signals, evaluation) is run.h.
 *
 *     struct lj_config *config = ...;            on the heap: it is large
 *     struct lj_archive_options options = lj_archive_options_of(config);
 *     struct lj_trainer *trainer = NULL;
 *     struct lj_archive *archive = NULL;
 *     const char *level = "";
 *     int status = lj_runtime_agree(comm, &level);
 *     if (status == LJ_OK)
 *         status = lj_runtime_resolve_precision(config);
 *     if (status == LJ_OK)
 *         status = lj_archive_open(&archive, comm, &options);
 *     if (status == LJ_OK)
 *         status = lj_trainer_create(&trainer, comm, config, archive, NULL);
 *     int64_t step = status == LJ_OK ? lj_trainer_first_step(trainer) : 0;
 *     int64_t end = status == LJ_OK ? lj_trainer_steps(trainer) : 0;
 *     for (; status == LJ_OK && step < end; step++) {
 *         struct lj_step_report report = {0};
 *         status = lj_trainer_step(trainer, step, false, &report);
 *         printf("%lld %s %g\n", (long long)step, lj_trainer_term(trainer, 0), report.term[0]);
 *     }
 *     if (status == LJ_OK)
 *         status = lj_trainer_checkpoint(trainer, "checkpoints", end);     the directory exists
 *     lj_trainer_destroy(trainer);
 *     lj_archive_close(archive); */
#ifndef LEJEPA_TRAIN_H
#define LEJEPA_TRAIN_H

#include "lejepa/comm.h"
#include "lejepa/config.h"
#include "lejepa/data.h"
#include "lejepa/loss.h"

struct lj_trainer;

/* What one step reports; the same values on every rank. */
struct lj_step_report {
    double term[LJ_TERMS_MAX]; /* [0] the loss, then its parts, as lj_trainer_term names them */
    int64_t stop, save;        /* in: this rank asks for it (0, 1); out: how many ranks do */
    double lr;
    double grad_norm;  /* NaN unless asked for or clipping */
    int64_t nonfinite; /* values not finite or out of range; > 0: no update was made */
};

/* Builds everything for training on archive: model, plans, memory, objective, reductions,
 * optimiser, loader. Weights are initial, or, with resume_from (a checkpoint, or a directory of
 * checkpoints: its newest good one; may be NULL), exactly those of the checkpoint, and the first
 * step is the one after it. Collective over comm; comm and archive are borrowed.
 *   config   in   copied; all ranks pass the same
 *   archive  in   of an objective that needs labels, opened with them, on comm; it keeps only its
 *                 rows that have one
 *   trainer  out  owned by the caller
 * Errors: config (objective, lanes, sizes), data (fewer samples than a batch), checkpoint, memory:
 * the same on every rank. */
LJ_API int lj_trainer_create(struct lj_trainer **trainer, struct lj_comm *comm,
                             const struct lj_config *config, struct lj_archive *archive,
                             const char *resume_from) LJ_MUST_USE;
/* Accepts NULL, but then on all ranks. Collective. */
LJ_API void lj_trainer_destroy(struct lj_trainer *trainer);

/* The steps of the run: from the first (0, or the one after the checkpoint's) to `steps` - 1.
 * Local. */
LJ_API int64_t lj_trainer_first_step(const struct lj_trainer *trainer);
LJ_API int64_t lj_trainer_steps(const struct lj_trainer *trainer);

/* One optimisation step on the global batch. Collective; steps in order from the first.
 *   want_norm  in      also compute the gradient's norm (one more small collective)
 *   report     in/out  stop and save in; everything out
 * Errors: agreed on every rank. */
LJ_API int lj_trainer_step(struct lj_trainer *trainer, int64_t step, bool want_norm,
                           struct lj_step_report *report) LJ_MUST_USE;

/* Name of term i of the objective ("loss", ...); NULL when it has no such term. Local. */
LJ_API const char *lj_trainer_term(const struct lj_trainer *trainer, int i);

/* XXH3 of all weights; equal on all ranks that have lanes and on the root (the others keep only
 * shards), and on any number of ranks. Collective in effect: waits for new weights that are on
 * their way. */
LJ_API uint64_t lj_trainer_hash(struct lj_trainer *trainer);

/* Writes the checkpoint of `finished` steps into the directory dir, as step-%09lld.h5, and removes
 * the oldest beyond checkpoint.keep. Collective. Errors: LJ_ERR_CHECKPOINT, LJ_ERR_RESOURCE: on
 * every rank. */
LJ_API int lj_trainer_checkpoint(struct lj_trainer *trainer, const char *dir,
                                 int64_t finished) LJ_MUST_USE;

#endif
