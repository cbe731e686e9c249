/* SPDX-License-Identifier: Apache-2.0 */
/* The file `lock` in a run's directory, which names the job that uses the directory.
 *
 * If the file system has locks (flock), the lock on that file decides. The system releases it when
 * its process ends, however it ends. If there are no locks, the existence of the file decides. A
 * file left behind by a dead process of this host is removed; whether a process of another host
 * lives cannot be found out, so the message asks the user to look. */
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

/* How much longer than the patience to try if the file changes at every try: it then never will be
 * held on this file system. */
static const double changing_s = 5;
static const double pause_s = 0.05; /* between two tries */

/* Who holds a lock. */
struct holder {
    char host[256];           /* name of the host */
    char started[64];         /* date and time at which it took the lock */
    long pid;                 /* 0: not known yet */
    unsigned long long ticks; /* start of the process since boot, because pids are used again */
};

enum outcome {
    TAKEN,
    HELD,    /* by somebody else */
    CHANGED, /* the file was removed or replaced meanwhile: try again */
    FAILED   /* the file cannot be written; see errno */
};

/* ---- who --------------------------------------------------------------------------------- */

/* When a process started, in ticks since boot: field 22 of /proc/PID/stat, the 20th behind the name
 * in parentheses. 0: no such process. */
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
    errno = ENOSPC; /* a short write sets no errno, and means this */
    return pwrite(file, text, (size_t)length, 0) == length;
}

/* Reads who holds the lock; pid is 0 if the holder has not written its name yet. */
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

/* ---- taking it --------------------------------------------------------------------------- */

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

/* For file systems without locks: the one who created the file holds it. */
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
