/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. One job at a time in a run's directory. */
#ifndef LEJEPA_RUN_LOCK_H
#define LEJEPA_RUN_LOCK_H

#include "store/store.h"

struct lj_run_lock {
    char path[LJ_PATH_MAX]; /* dir/lock; "" when not held */
    int file;               /* open while held */
};

/* Takes the lock of a directory. Local.
 *   lock        out  given back by lj_run_lock_release
 *   patience_s  in   how long to wait for another holder: the ranks of a killed job live a moment
 *                    longer than their launcher
 * Errors: LJ_ERR_RESOURCE: held by another job (the text names its host, process and
 * start), or not writable. */
int lj_run_lock_take(struct lj_run_lock *lock, const char *dir, double patience_s) LJ_MUST_USE;
/* Releases the lock and removes its file; nothing when it is not held. Local. */
void lj_run_lock_release(struct lj_run_lock *lock);

#endif
