/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. A whole training run: what `lejepa_mpi train` does. */
#ifndef LEJEPA_RUN_H
#define LEJEPA_RUN_H

#include "lejepa/comm.h"
#include "lejepa/config.h"

/* Run directory, resuming, training, logging, evaluation, checkpoints and signals, as the
 * configuration says. Collective over comm.
 *   config  in/out  automatic values are resolved, run.dir is filled in
 * Returns LJ_OK, LJ_STOPPED (ended early as asked, with a checkpoint), or an error, the same on
 * every rank, which lj_error_text describes. */
LJ_API int lj_train(struct lj_comm *comm, struct lj_config *config) LJ_MUST_USE;

#endif
