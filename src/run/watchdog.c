/* SPDX-License-Identifier: Apache-2.0 */
/* The watchdog: when a rank made no progress for guard.stall_s seconds, be it in set-up, a step, an
 * evaluation or a checkpoint, it says where it is, and then ends the job. It is a thread, because a
 * main thread that hangs in a collective call can say nothing. A rank that waits in MPI does not
 * see the others' work, which may be healthy and slow, so it waits as long as the healthy lanes or
 * tiles of the busiest rank can take: the rank that stands still speaks first. The writer of
 * checkpoints, which works beside training, is watched in the same way, by its own progress. */
#include "lejepa/run.h"

#include "run/signals.h"

#include "comm/comm.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

/* The first rank that notices ends the job, but only after a while, in which the others print
 * their lines, too: their last progress was at about the same time. It waits for grace_s, or a
 * tenth of guard.stall_s if that is longer. */
static const double grace_s = 2;

static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static bool running, ending;
static int own_rank;
static double limit_s;
static _Atomic int64_t fed_step;

/* Sleeps for some seconds, or until lj_watchdog_stop; true: the latter. */
static bool sleep_unless_ending(double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    double whole = (double)until.tv_nsec * 1e-9 + seconds;
    until.tv_sec += (time_t)whole;
    until.tv_nsec = (long)((whole - (double)(time_t)whole) * 1e9);
    pthread_mutex_lock(&lock);
    while (!ending && pthread_cond_timedwait(&wake, &lock, &until) == 0) {
    }
    bool ended = ending;
    pthread_mutex_unlock(&lock);
    return ended;
}

/* Seconds for which the main thread may still make no progress. */
static double left_s(void)
{
    double patience_s = limit_s * (1 + (double)lj_progress_turns());
    return lj_progress_s() + patience_s - lj_now_s();
}

/* The same for what goes on beside it. */
static double left_beside_s(void)
{
    double last_s = lj_progress_beside_s();
    return last_s > 0 ? last_s + limit_s - lj_now_s() : INFINITY;
}

static void say_where(enum lj_phase phase, double silent_s, const char *how)
{
    char step[32] = "";
    if (fed_step >= 0)
        snprintf(step, sizeof step, " at step %lld", (long long)fed_step);
    fprintf(stderr,
            "lejepa_mpi: error: rank %d: no progress for %.0f s%s, in phase '%s'%s; look "
            "for a slow or dead node or file system, or raise guard.stall_s\n",
            own_rank, silent_s, step, lj_phase_name(phase), how);
}

static void say_who_stands_still(double beside_s)
{
    if (beside_s <= 0)
        say_where(LJ_PHASE_CHECKPOINT, limit_s - beside_s, ", written beside training");
    else
        say_where(lj_phase_current(), lj_now_s() - lj_progress_s(),
                  lj_progress_turns() > 0 ? ", waiting for other ranks" : "");
}

static void *watch(void *unused)
{
    (void)unused;
    double beside_s;
    for (;;) {
        beside_s = left_beside_s();
        double left = fmin(left_s(), beside_s);
        if (left <= 0)
            break;
        /* Whether the rank waits may change meanwhile. */
        if (sleep_unless_ending(fmin(left, limit_s / 4)))
            return NULL;
    }
    say_who_stands_still(beside_s);
    if (!sleep_unless_ending(fmax(grace_s, limit_s / 10)))
        lj_comm_abort(-LJ_ERR_COMM);
    return NULL;
}

int lj_watchdog_start(int rank, double stall_s)
{
    own_rank = rank;
    limit_s = stall_s;
    lj_watchdog_feed(-1);
    if (stall_s <= 0)
        return LJ_OK;
    ending = false;
    sigset_t all, old; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    running = pthread_create(&thread, NULL, watch, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return running ? LJ_OK : lj_fail(LJ_ERR_RESOURCE, "the watchdog's thread cannot start");
}

void lj_watchdog_feed(int64_t step)
{
    fed_step = step;
    lj_progress();
}

void lj_watchdog_stop(void)
{
    if (!running)
        return;
    pthread_mutex_lock(&lock);
    ending = true;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    running = false;
}
