/* SPDX-License-Identifier: Apache-2.0 */
/* The file `lock` in a run's directory, which names the job that uses the directory.
 *
 * Among processes of one host the lock of the system on that file (flock) decides. The system
 * releases it when its process ends, however it ends. Where the file system has no locks, the
 * existence of the file decides; a file left behind by a dead process of this host is removed.
 *
 * Between hosts a lock of the system proves nothing: mounts of Lustre (localflock) and NFS
 * (local_lock) keep it from the others. So a holder renews the time of the file's last change, its
 * stamp, as a sign of life. A job that finds the file of another host waits. When the stamp
 * changes, the holder lives and the job ends; when it does not for a long time, the holder is dead
 * and its file is removed. The same job of a scheduler need not wait: it was started again
 * elsewhere. */
#include "run/lock.h"

#include "run/holder.h"
#include "run/signals.h"

#include "comm/comm.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How much longer than the patience to try if the file changes at every try: it then never will be
 * held on this file system. */
static const double changing_s = 5;
/* A file without a name in it is being written, or its writer died; the latter after this time. */
static const double unnamed_s = 5;
/* Between two tries: where the holder may be ending, and where it is on another host. */
static const double pause_s = 0.05, pause_foreign_s = 1;

enum outcome {
    TAKEN,
    HELD,    /* by somebody else */
    UNSURE,  /* a process of another host holds it, or has died */
    CHANGED, /* the file was removed or replaced meanwhile: try again */
    FAILED   /* the file cannot be written; see errno */
};

/* What one try found of another holder. */
struct found {
    struct lj_lock_holder holder;
    bool aged; /* age_s and stamp are known */
    double age_s, stamp;
};

/* How long the same stamp of the same holder has been seen. */
struct watch {
    struct found found;
    double since_s; /* by lj_now_s; 0: nothing is watched */
};

/* ---- judging a holder -------------------------------------------------------------------- */

/* Does path still name the open file? A holder that ends removes it. */
static bool still_there(int file, const char *path)
{
    struct stat opened, named;
    return fstat(file, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

/* Removes the lock file of a dead holder, by renaming it first. Several jobs may find the
 * holder dead at the same time: one renames the dead holder's file; another may then rename
 * the file that the first one has created meanwhile, sees by its contents that it is
 * another, and puts it back. */
static bool set_aside(const char *path, const struct lj_lock_holder *dead)
{
    char aside[LJ_PATH_MAX];
    struct lj_lock_holder caught;
    snprintf(aside, sizeof aside, "%.4000s.%ld", path, (long)getpid());
    if (rename(path, aside) != 0)
        return errno == ENOENT;
    int file = open(aside, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        lj_lock_read_holder(file, &caught);
        close(file);
        bool living = !lj_lock_same_holder(&caught, dead);
        if (living && link(aside, path) != 0 && rename(aside, path) != 0)
            lj_warn("%s: cannot be put back: %s", path, strerror(errno));
    }
    unlink(aside);
    return true;
}

static bool same_stamp(const struct watch *watch, const struct found *found)
{
    return found->stamp == watch->found.stamp;
}

static bool same_holder(const struct watch *watch, const struct found *found)
{
    return watch->since_s > 0 && lj_lock_same_holder(&watch->found.holder, &found->holder);
}

/* Has the holder given no sign of life for so long, by the file system's clock or by ours? The
 * latter helps when the stamp lies in the future. */
static bool is_silent(const struct watch *watch, const struct found *found, double long_s)
{
    return found->age_s >= long_s || (same_holder(watch, found) && same_stamp(watch, found) &&
                                      lj_now_s() - watch->since_s >= long_s);
}

/* Judges a holder that is on another host or has written no name.
 *   locked  in  it has the system's lock on the file */
static enum outcome judge_foreign(const struct lj_run_lock *lock, struct found *found,
                                  const struct watch *watch, double stale_s, bool locked)
{
    found->aged = lj_lock_age(lock->path, lock->file, &found->age_s, &found->stamp);
    if (!found->aged)
        return HELD;
    bool unnamed = found->holder.pid == 0;
    bool silent = is_silent(watch, found, unnamed ? unnamed_s : stale_s);
    if (locked)
        return silent ? HELD : UNSURE;
    if (silent || lj_lock_of_this_job(&found->holder))
        return set_aside(lock->path, &found->holder) ? CHANGED : HELD;
    return UNSURE;
}

/* Judges a file that was there before, when the system gave its lock. */
static enum outcome judge_unlocked(const struct lj_run_lock *lock, struct found *found,
                                   const struct watch *watch, double stale_s)
{
    const struct lj_lock_holder *holder = &found->holder;
    bool dead = lj_lock_on_this_host(holder); /* else the system would have refused */
    bool stamps = holder->job[0] || holder->pid == 0;
    return dead || !stamps ? TAKEN : judge_foreign(lock, found, watch, stale_s, false);
}

/* Judges a file that was there before, on a file system without locks. */
static enum outcome judge_existing(const struct lj_run_lock *lock, struct found *found,
                                   const struct watch *watch, double stale_s)
{
    const struct lj_lock_holder *holder = &found->holder;
    if (lj_lock_is_dead(holder))
        return set_aside(lock->path, holder) ? CHANGED : HELD;
    bool unknown = lj_lock_on_this_host(holder) || !holder->job[0];
    return unknown ? HELD : judge_foreign(lock, found, watch, stale_s, false);
}

/* ---- taking it --------------------------------------------------------------------------- */

static enum outcome take_open(const struct lj_run_lock *lock, bool made, struct found *found,
                              const struct watch *watch, double stale_s)
{
    bool locked = flock(lock->file, LOCK_EX | LOCK_NB) == 0, has_locks = locked;
    has_locks = has_locks || errno == EWOULDBLOCK;
    if (locked && !still_there(lock->file, lock->path))
        return CHANGED;
    if (made && (locked || !has_locks))
        return TAKEN;
    lj_lock_read_holder(lock->file, &found->holder);
    if (locked)
        return judge_unlocked(lock, found, watch, stale_s);
    if (!has_locks)
        return judge_existing(lock, found, watch, stale_s);
    bool foreign = found->holder.job[0] && !lj_lock_on_this_host(&found->holder);
    return foreign ? judge_foreign(lock, found, watch, stale_s, true) : HELD;
}

/* Writes this process into the file. Between hosts the file may have been set aside meanwhile by a
 * job that read the dead holder's name. */
static enum outcome name_self(const struct lj_run_lock *lock)
{
    if (!lj_lock_write_holder(lock->file))
        return FAILED;
    return still_there(lock->file, lock->path) ? TAKEN : CHANGED;
}

static enum outcome try_once(struct lj_run_lock *lock, struct found *found,
                             const struct watch *watch, double stale_s)
{
    bool made = true;
    *found = (struct found){.holder = {.host = "unknown", .started = "just now"}};
    lock->file = open(lock->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (lock->file < 0 && errno == EEXIST) {
        made = false;
        lock->file = open(lock->path, O_RDWR | O_CLOEXEC);
        if (lock->file < 0 && errno == ENOENT)
            return CHANGED;
    }
    if (lock->file < 0)
        return FAILED;
    enum outcome outcome = take_open(lock, made, found, watch, stale_s);
    if (outcome == TAKEN)
        outcome = name_self(lock);
    int reason = errno;
    if (outcome == FAILED)
        unlink(lock->path);
    if (outcome != TAKEN)
        close(lock->file);
    errno = reason;
    return outcome;
}

static int refuse(const struct lj_run_lock *lock, const char *dir, const struct found *found)
{
    const struct lj_lock_holder *holder = &found->holder;
    char age[64] = "", gone[LJ_PATH_MAX + 64] = "";
    double age_s, stamp;
    int file = open(lock->path, O_RDONLY | O_CLOEXEC);
    if (file >= 0 && holder->job[0] && lj_lock_age(lock->path, file, &age_s, &stamp))
        snprintf(age, sizeof age, " (last sign of life %.0f s ago)", fmax(age_s, 0));
    if (file >= 0)
        close(file);
    if (!lj_lock_on_this_host(holder))
        snprintf(gone, sizeof gone, "; if that job is gone, remove %s", lock->path);
    return lj_fail(LJ_ERR_RESOURCE,
                   "%s: is in use by a job on host %s, process %ld, since %s%s; wait for it, stop "
                   "it (touch %s/STOP) or choose another run.dir%s",
                   dir, holder->host, holder->pid, holder->started, age, dir, gone);
}

/* Goes on watching a holder on another host, or begins to. Fails when it lives. */
static int watch_holder(const struct lj_run_lock *lock, const char *dir, struct watch *watch,
                        const struct found *found, double stale_s)
{
    const struct lj_lock_holder *holder = &found->holder;
    if (same_holder(watch, found))
        return same_stamp(watch, found) ? LJ_OK : refuse(lock, dir, found);
    *watch = (struct watch){.found = *found, .since_s = lj_now_s()};
    if (holder->pid != 0)
        lj_say("%s: was locked by a job on host %s, process %ld, since %s, whose last sign of life "
               "is %.0f s old; waiting until it gives another, or none for %.0f s; if that job is "
               "gone, remove %s",
               dir, holder->host, holder->pid, holder->started, fmax(found->age_s, 0), stale_s,
               lock->path);
    return LJ_OK;
}

static void sleep_for(double seconds)
{
    const struct timespec pause = {.tv_sec = (time_t)seconds,
                                   .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&pause, NULL);
}

/* Tries until the lock is taken or there is no hope. */
static int take(struct lj_run_lock *lock, const char *dir, const struct lj_lock_times *times)
{
    double until_s = lj_now_s() + times->patience_s;
    struct watch watch = {.since_s = 0};
    for (;;) {
        struct found found;
        enum outcome outcome = try_once(lock, &found, &watch, times->stale_s);
        if (outcome == TAKEN)
            return LJ_OK;
        if (outcome == FAILED)
            return lj_fail(LJ_ERR_RESOURCE,
                           "%s: cannot be written: %s; set run.dir to a place you may write to",
                           lock->path, strerror(errno));
        if (outcome == UNSURE)
            LJ_TRY(watch_holder(lock, dir, &watch, &found, times->stale_s));
        else if (lj_now_s() >= (outcome == HELD ? until_s : until_s + changing_s))
            return refuse(lock, dir, &found);
        if (lj_signals_stop())
            return lj_fail(LJ_STOPPED,
                           "stopped on request while waiting for the lock on %s; resubmit with "
                           "this run.dir to continue",
                           dir);
        lj_progress();
        sleep_for(outcome == UNSURE ? fmin(pause_foreign_s, times->renew_s / 2) : pause_s);
    }
}

/* ---- holding it -------------------------------------------------------------------------- */

/* Sleeps for renew_s, or until the lock is released; true: the latter. */
static bool sleep_unless_ending(struct lj_run_lock *lock)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + (int64_t)(1e9 * lock->renew_s);
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    pthread_mutex_lock(&lock->mutex);
    while (!lock->ending && pthread_cond_timedwait(&lock->wake, &lock->mutex, &until) == 0) {
    }
    bool ending = lock->ending;
    pthread_mutex_unlock(&lock->mutex);
    return ending;
}

/* Ends the job if another one has the lock now, as after this process stood still for long: two
 * jobs would write the same files. */
static void check_still_ours(const struct lj_run_lock *lock, const struct lj_lock_holder *self)
{
    struct lj_lock_holder holder;
    int file = open(lock->path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return; /* removed by hand, or out of reach for now */
    lj_lock_read_holder(file, &holder);
    close(file);
    if (holder.pid == 0 || lj_lock_same_holder(&holder, self))
        return;
    fprintf(stderr,
            "lejepa_mpi: error: %s: was taken by a job on host %s, process %ld, at %s, when this "
            "one had given no sign of life for long or its lock was removed; this job ends\n",
            lock->path, holder.host, holder.pid, holder.started);
    lj_comm_abort(-LJ_ERR_RESOURCE);
}

static void *renew(void *data)
{
    struct lj_run_lock *lock = data;
    struct lj_lock_holder self;
    lj_lock_read_holder(lock->file, &self);
    for (bool warned = false; !sleep_unless_ending(lock);) {
        check_still_ours(lock, &self);
        if (futimens(lock->file, NULL) == 0 || warned)
            continue;
        lj_warn("%s: its time cannot be renewed: %s; jobs on other hosts may take this one for "
                "dead",
                lock->path, strerror(errno));
        warned = true;
    }
    return NULL;
}

static int start_renewing(struct lj_run_lock *lock, double renew_s)
{
    pthread_condattr_t attributes;
    lock->renew_s = renew_s;
    lock->ending = false;
    pthread_mutex_init(&lock->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&lock->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    sigset_t all, old; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&lock->thread, NULL, renew, lock);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error == 0)
        return LJ_OK;
    pthread_cond_destroy(&lock->wake);
    pthread_mutex_destroy(&lock->mutex);
    unlink(lock->path);
    close(lock->file);
    return lj_fail(LJ_ERR_RESOURCE, "%s: the thread that renews it cannot start: %s", lock->path,
                   strerror(error));
}

int lj_run_lock_take(struct lj_run_lock *lock, const char *dir, const struct lj_lock_times *times)
{
    snprintf(lock->path, sizeof lock->path, "%.4000s/lock", dir);
    int status = take(lock, dir, times);
    if (status == LJ_OK)
        status = start_renewing(lock, times->renew_s);
    if (status != LJ_OK)
        lock->path[0] = 0;
    return status;
}

void lj_run_lock_release(struct lj_run_lock *lock)
{
    if (!lock->path[0])
        return;
    pthread_mutex_lock(&lock->mutex);
    lock->ending = true;
    pthread_cond_signal(&lock->wake);
    pthread_mutex_unlock(&lock->mutex);
    pthread_join(lock->thread, NULL);
    pthread_cond_destroy(&lock->wake);
    pthread_mutex_destroy(&lock->mutex);
    if (still_there(lock->file, lock->path)) /* unless somebody removed it by hand */
        unlink(lock->path);
    close(lock->file);
    lock->path[0] = 0;
}
