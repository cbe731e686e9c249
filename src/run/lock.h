/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. One job at a time in a run's directory. */
#ifndef LEJEPA_RUN_LOCK_H
#define LEJEPA_RUN_LOCK_H

#include "store/store.h"

struct lj_run_lock {
    char path[LJ_PATH_MAX]; /* dir/lock; "" when not held */
    int file;
};

/* Takes the lock of dir, or waits up to patience_s for a holder that is just ending: the ranks of a
 * killed job outlive their launcher by a moment. Local.
 *   lock  out  given back by lj_run_lock_release
 * Errors: LJ_ERR_RESOURCE: held; the text names host, process and start. */
int lj_run_lock_take(struct lj_run_lock *lock, const char *dir, double patience_s) LJ_MUST_USE;
/* Removes the lock; nothing when it is not held. Local. */
void lj_run_lock_release(struct lj_run_lock *lock);

#endif
