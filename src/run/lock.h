/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. One job at a time in a run's directory. */
#ifndef LEJEPA_RUN_LOCK_H
#define LEJEPA_RUN_LOCK_H

#include "store/store.h"

#include <pthread.h>

/* How long things take, seconds. */
struct lj_lock_times {
    double patience_s; /* wait for a holder that is ending: the ranks of a killed job live a moment
                          longer than their launcher */
    double renew_s;    /* between two stamps of a holder */
    double stale_s;    /* a holder on another host is dead when it has not renewed its stamp for so
                          long */
};

struct lj_run_lock {
    char path[LJ_PATH_MAX]; /* dir/lock; "" when not held */
    int file;               /* open while held */
    double renew_s;
    pthread_t thread; /* renews the stamp while the lock is held */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool ending; /* under mutex: the thread shall end */
};

/* Takes the lock of a directory, and renews its stamp until it is released. Waits for a holder on
 * another host until it is seen to renew its stamp, or has not for stale_s. Local.
 *   lock   out  given back by lj_run_lock_release; stays where it is until then
 *   times  in   copied
 * Errors: LJ_ERR_RESOURCE: held by another job (the text names its host, process, start and last
 * sign of life), or not writable. LJ_STOPPED: a signal asked to stop meanwhile. */
int lj_run_lock_take(struct lj_run_lock *lock, const char *dir,
                     const struct lj_lock_times *times) LJ_MUST_USE;
/* Releases the lock and removes its file; nothing when it is not held. Local. */
void lj_run_lock_release(struct lj_run_lock *lock);

#endif
