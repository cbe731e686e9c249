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

/* Starts the watchdog of this process: a thread that ends the job with exit code 7, after a line
 * with this rank, its step and its phase. It does so
 *   - when the rank worked and made no progress (a lane, a bucket of gradients, a chunk) for
 *     stall_s seconds;
 *   - when it waited for other ranks for stall_s (1 + t) seconds, t being the lanes (in `embed`,
 *     tiles) that another rank may have to compute meanwhile, one after the other, each in less
 *     than stall_s.
 * Local. For programs whose only job is this; a library would end its host's job, too.
 *   stall_s  in  seconds; 0: no watchdog
 * Errors: LJ_ERR_RESOURCE. */
LJ_API int lj_watchdog_start(int rank, double stall_s) LJ_MUST_USE;
/* Ends the thread; nothing if there is none. Local. */
LJ_API void lj_watchdog_stop(void);

#endif
