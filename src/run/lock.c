/* SPDX-License-Identifier: Apache-2.0 */
/* The file `lock` in a run's directory, with the name of the job that holds it.
 *
 * Where the file system has locks (flock), the lock on that file decides: it goes when its process
 * goes, however it ends. Where there are none, the existence of the file decides, and one that a dead
 * process of this host left behind is set aside; of other hosts nothing is known, so the user is asked. */
#include "run/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A lock that is never still is given up after this: its file system cannot hold one. */
static const double changing_s = 5;
static const double pause_s = 0.05; /* between two looks at a lock that is held */

struct holder {
    char host[256], started[64];
    long pid;
    unsigned long long ticks; /* start of the process since boot: pids are used again */
};

enum outcome {
    TAKEN,
    HELD,
    CHANGED,
    FAILED
}; /* CHANGED: the file went away meanwhile, look again */

/* ---- who ------------------------------------------------------------------------------------------------------- */

/* The 22nd field of /proc/PID/stat, the 20th after the name in parentheses; 0: no such process. */
static unsigned long long ticks_of(long pid)
{
    char path[64], line[1024] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t length = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[length] = 0;
    const char *at = strrchr(line, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    unsigned long long ticks = 0;
    return at && sscanf(at, "%llu", &ticks) == 1 ? ticks : 0;
}

static void describe_self(struct holder *self)
{
    time_t now = time(NULL);
    struct tm local;
    *self = (struct holder){.pid = (long)getpid()};
    gethostname(self->host, sizeof self->host - 1);
    self->ticks = ticks_of(self->pid);
    strftime(self->started, sizeof self->started, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &local));
}

static bool write_holder(int file)
{
    char text[512];
    struct holder self;
    describe_self(&self);
    int length = snprintf(text, sizeof text, "host %s\nprocess %ld\nticks %llu\nstarted %s\n",
                          self.host, self.pid, self.ticks, self.started);
    if (ftruncate(file, 0) != 0)
        return false;
    errno = ENOSPC; /* what a short write means */
    return pwrite(file, text, (size_t)length, 0) == length;
}

/* A holder that has not written its name yet has pid 0. */
static void read_holder(int file, struct holder *holder)
{
    char text[512] = "";
    *holder = (struct holder){.host = "unknown", .started = "just now"};
    if (pread(file, text, sizeof text - 1, 0) > 0)
        sscanf(text, "host %255s process %ld ticks %llu started %63[^\n]", holder->host,
               &holder->pid, &holder->ticks, holder->started);
}

static bool on_this_host(const struct holder *holder)
{
    struct holder self;
    describe_self(&self);
    return strcmp(holder->host, self.host) == 0;
}

static bool is_dead(const struct holder *holder)
{
    if (holder->pid == 0 || !on_this_host(holder))
        return false;
    bool gone = kill((pid_t)holder->pid, 0) != 0 && errno == ESRCH;
    return gone || ticks_of(holder->pid) != holder->ticks;
}

/* ---- taking it ------------------------------------------------------------------------------------------------- */

/* Does path still name the open file? Its holder removes it at the end. */
static bool still_there(int file, const char *path)
{
    struct stat opened, named;
    return fstat(file, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

/* Sets aside the file of a dead holder. Of several jobs that found it dead one succeeds; another may
 * catch the file of the first instead, and puts it back. */
static bool set_aside(const char *path, const struct holder *dead)
{
    char aside[LJ_PATH_MAX];
    struct holder caught;
    snprintf(aside, sizeof aside, "%.4000s.%ld", path, (long)getpid());
    if (rename(path, aside) != 0)
        return errno == ENOENT;
    int file = open(aside, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        read_holder(file, &caught);
        close(file);
        bool living = caught.pid != dead->pid || caught.ticks != dead->ticks;
        if (living && link(aside, path) != 0 && rename(aside, path) != 0)
            lj_warn("%s: cannot be put back: %s", path, strerror(errno));
    }
    unlink(aside);
    return true;
}

/* No locks here: the file's existence is the lock. */
static enum outcome take_by_existence(const char *path, int file, bool made, struct holder *holder)
{
    if (made)
        return TAKEN;
    read_holder(file, holder);
    return is_dead(holder) && set_aside(path, holder) ? CHANGED : HELD;
}

static enum outcome take_open(const char *path, int file, bool made, struct holder *holder,
                              bool *has_locks)
{
    *has_locks = true;
    if (flock(file, LOCK_EX | LOCK_NB) == 0)
        return still_there(file, path) ? TAKEN : CHANGED;
    if (errno == EWOULDBLOCK) {
        read_holder(file, holder);
        return HELD;
    }
    *has_locks = false;
    return take_by_existence(path, file, made, holder);
}

static enum outcome try_once(struct lj_run_lock *lock, struct holder *holder, bool *has_locks)
{
    bool made = true;
    lock->file = open(lock->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (lock->file < 0 && errno == EEXIST) {
        made = false;
        lock->file = open(lock->path, O_RDWR | O_CLOEXEC);
        if (lock->file < 0 && errno == ENOENT)
            return CHANGED;
    }
    if (lock->file < 0)
        return FAILED;
    enum outcome outcome = take_open(lock->path, lock->file, made, holder, has_locks);
    if (outcome == TAKEN && !write_holder(lock->file))
        outcome = FAILED;
    int reason = errno;
    if (outcome == FAILED)
        unlink(lock->path);
    if (outcome != TAKEN)
        close(lock->file);
    errno = reason;
    return outcome;
}

static int refuse(const char *dir, const char *path, const struct holder *holder, bool has_locks)
{
    if (!has_locks && !on_this_host(holder))
        return lj_fail(LJ_ERR_RESOURCE,
                       "%s: is in use by a job on host %s, process %ld, since %s; wait for it or "
                       "choose another run.dir; if that job is gone (this file system has no "
                       "locks that would tell), remove %s",
                       dir, holder->host, holder->pid, holder->started, path);
    return lj_fail(LJ_ERR_RESOURCE,
                   "%s: is in use by a job on host %s, process %ld, since %s; wait for it, stop it "
                   "(touch %s/STOP) or choose another run.dir",
                   dir, holder->host, holder->pid, holder->started, dir);
}

int lj_run_lock_take(struct lj_run_lock *lock, const char *dir, double patience_s)
{
    const struct timespec pause = {.tv_nsec = (long)(pause_s * 1e9)};
    double until_s = lj_now_s() + patience_s;
    struct holder holder = {.pid = 0};
    bool has_locks = true;
    snprintf(lock->path, sizeof lock->path, "%.4000s/lock", dir);
    for (;;) {
        enum outcome outcome = try_once(lock, &holder, &has_locks);
        if (outcome == TAKEN)
            return LJ_OK;
        int status = LJ_OK;
        if (outcome == FAILED)
            status = lj_fail(LJ_ERR_RESOURCE,
                             "%s: cannot be written: %s; set run.dir to a place you may write to",
                             lock->path, strerror(errno));
        else if (lj_now_s() >= (outcome == HELD ? until_s : until_s + changing_s))
            status = refuse(dir, lock->path, &holder, has_locks);
        if (status != LJ_OK) {
            lock->path[0] = 0;
            return status;
        }
        nanosleep(&pause, NULL);
    }
}

void lj_run_lock_release(struct lj_run_lock *lock)
{
    if (!lock->path[0])
        return;
    if (still_there(lock->file, lock->path)) /* unless somebody removed it by hand */
        unlink(lock->path);
    close(lock->file);
    lock->path[0] = 0;
}
