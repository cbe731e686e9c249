/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. Who holds the lock on a run's directory: what the lock file says. All functions
 * are local. */
#ifndef LEJEPA_RUN_HOLDER_H
#define LEJEPA_RUN_HOLDER_H

#include "base/base.h"

/* Who holds a lock. */
struct lj_lock_holder {
    char host[256];           /* name of the host */
    char started[64];         /* date and time at which it took the lock */
    char job[256];            /* the scheduler's name of its job; "none"; "" in files of programs
                                 that do not renew their stamp */
    long pid;                 /* 0: not known yet */
    unsigned long long ticks; /* start of the process since boot, because pids are used again */
};

/* Writes this process into the open lock file. False: see errno. */
bool lj_lock_write_holder(int file);
/* Reads who holds the lock; pid is 0 if the holder has not written its name yet. */
void lj_lock_read_holder(int file, struct lj_lock_holder *holder);

/* Are these the same process? */
bool lj_lock_same_holder(const struct lj_lock_holder *a, const struct lj_lock_holder *b);
/* Does the holder run on this host? */
bool lj_lock_on_this_host(const struct lj_lock_holder *holder);
/* Does it belong to the same job of a scheduler as this process? */
bool lj_lock_of_this_job(const struct lj_lock_holder *holder);
/* Is it known to be dead, a process of this host that has ended? */
bool lj_lock_is_dead(const struct lj_lock_holder *holder);

/* How long ago the lock file was stamped, in seconds by the clock of its file system: compared with
 * a file that is touched beside it. Negative where a file system takes the time from its clients
 * and their clocks differ.
 *   stamp  out  the time of the stamp, to see whether it changes
 * False: not known, nothing can be written beside it. */
bool lj_lock_age(const char *path, int file, double *age_s, double *stamp);

#endif
