/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds the lock on a run's directory, as the lock file says: host, process, job, and by the
 * time of its last change a sign of life. */
#include "run/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Room for a path beside the lock. */
enum { PATH_BYTES = 4096 };

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

/* The job by its scheduler, which calls it the same after a requeue. Tasks of an array are jobs of
 * their own: Slurm, PBS and Flux number them so, LSF and Grid Engine always set a second number. */
static void describe_job(char *job, size_t capacity)
{
    static const char *const names[][2] = {
        {"SLURM_JOB_ID", NULL}, {"PBS_JOBID", NULL},    {"LSB_JOBID", "LSB_JOBINDEX"},
        {"FLUX_JOB_ID", NULL},  {"COBALT_JOBID", NULL}, {"JOB_ID", "SGE_TASK_ID"}};
    snprintf(job, capacity, "none");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *id = getenv(names[i][0]);
        const char *task = names[i][1] ? getenv(names[i][1]) : NULL;
        if (!id || !id[0] || (names[i][1] && !task))
            continue;
        snprintf(job, capacity, "%s=%.100s%s%.20s", names[i][0], id, task ? "." : "",
                 task ? task : "");
        for (char *at = job; *at; at++) /* a word of the file, whatever the scheduler allows */
            if ((unsigned char)*at <= ' ')
                *at = '_';
        return;
    }
}

static void describe_self(struct lj_lock_holder *self)
{
    time_t now = time(NULL);
    struct tm local;
    *self = (struct lj_lock_holder){.pid = (long)getpid()};
    gethostname(self->host, sizeof self->host - 1);
    self->ticks = ticks_of(self->pid);
    strftime(self->started, sizeof self->started, "%Y-%m-%d %H:%M:%S", localtime_r(&now, &local));
    describe_job(self->job, sizeof self->job);
}

bool lj_lock_write_holder(int file)
{
    char text[1024];
    struct lj_lock_holder self;
    describe_self(&self);
    int length =
        snprintf(text, sizeof text, "host %s\nprocess %ld\nticks %llu\nstarted %s\njob %s\n",
                 self.host, self.pid, self.ticks, self.started, self.job);
    if (ftruncate(file, 0) != 0)
        return false;
    errno = ENOSPC; /* a short write sets no errno, and means this */
    return pwrite(file, text, (size_t)length, 0) == length;
}

void lj_lock_read_holder(int file, struct lj_lock_holder *holder)
{
    char text[1024] = "";
    *holder = (struct lj_lock_holder){.host = "unknown", .started = "just now"};
    if (pread(file, text, sizeof text - 1, 0) > 0)
        sscanf(text, "host %255s process %ld ticks %llu started %63[^\n] job %255s", holder->host,
               &holder->pid, &holder->ticks, holder->started, holder->job);
}

bool lj_lock_same_holder(const struct lj_lock_holder *a, const struct lj_lock_holder *b)
{
    return a->pid == b->pid && a->ticks == b->ticks && strcmp(a->host, b->host) == 0;
}

bool lj_lock_on_this_host(const struct lj_lock_holder *holder)
{
    struct lj_lock_holder self;
    describe_self(&self);
    return strcmp(holder->host, self.host) == 0;
}

bool lj_lock_of_this_job(const struct lj_lock_holder *holder)
{
    char job[sizeof holder->job];
    describe_job(job, sizeof job);
    return strcmp(job, "none") != 0 && strcmp(job, holder->job) == 0;
}

bool lj_lock_is_dead(const struct lj_lock_holder *holder)
{
    if (holder->pid == 0 || !lj_lock_on_this_host(holder))
        return false;
    bool gone = kill((pid_t)holder->pid, 0) != 0 && errno == ESRCH;
    return gone || ticks_of(holder->pid) != holder->ticks;
}

static double seconds_of(struct timespec time)
{
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

bool lj_lock_age(const char *path, int file, double *age_s, double *stamp)
{
    char beside[PATH_BYTES];
    struct stat lock, now;
    snprintf(beside, sizeof beside, "%.4000s.now.%ld", path, (long)getpid());
    int touched = open(beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (touched < 0)
        return false;
    bool known = futimens(touched, NULL) == 0 && fstat(touched, &now) == 0;
    close(touched);
    unlink(beside);
    known = known && fstat(file, &lock) == 0;
    if (known) {
        *stamp = seconds_of(lock.st_mtim);
        *age_s = seconds_of(now.st_mtim) - *stamp;
    }
    return known;
}
