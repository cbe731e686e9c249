/* SPDX-License-Identifier: Apache-2.0 */
/* The lock on a run's directory, on file systems with locks and without, and where locks are those
 * of one host. */
#include "run/lock.h"

#include "scratch_dir.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char dir[64], path[128];
static bool without_locks;
/* Stamps every 0.1 s, and death after 1 s without one. */
static const struct lj_lock_times at_once = {.renew_s = 0.1, .stale_s = 1};

/* Stands before the C library's: a file system without locks. */
LJ_API int flock(int file, int operation)
{
    if (!without_locks)
        return (int)syscall(SYS_flock, file, operation);
    errno = ENOLCK;
    return -1;
}

static void begin(void)
{
    cr_assert(scratch_create(dir));
    snprintf(path, sizeof path, "%s/lock", dir);
}

static void end(void)
{
    scratch_destroy(dir);
}

/* A process that takes the lock and waits to be killed; returns once it holds it. */
static pid_t start_holder(void)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct lj_run_lock lock;
        int status = lj_run_lock_take(&lock, dir, &at_once);
        if (write(ready[1], status == LJ_OK ? "y" : "n", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, 'y', "the holder did not get the lock");
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void kill_child(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void check_taken_and_released(void)
{
    struct lj_run_lock lock;
    cr_assert_eq(lj_run_lock_take(&lock, dir, &at_once), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(access(path, F_OK), 0);
    lj_run_lock_release(&lock);
    cr_assert_neq(access(path, F_OK), 0, "the lock is still there");
    lj_run_lock_release(&lock);
}

static void check_holder_lives_and_dies(void)
{
    char process[64];
    struct lj_run_lock lock;
    struct lj_lock_times soon = at_once;
    soon.patience_s = 0.2;
    pid_t child = start_holder();
    snprintf(process, sizeof process, "process %d,", (int)child);
    cr_assert_eq(lj_run_lock_take(&lock, dir, &soon), LJ_ERR_RESOURCE);
    cr_assert(strstr(lj_error_text(), process), "%s", lj_error_text());
    lj_run_lock_release(&lock);
    cr_assert_eq(access(path, F_OK), 0, "who does not hold the lock removed it");
    kill_child(child);
    cr_assert_eq(access(path, F_OK), 0, "a killed holder cannot tidy up");
    check_taken_and_released();
}

Test(run_lock, where_files_can_be_locked, .init = begin, .fini = end, .timeout = 20)
{
    check_taken_and_released();
    check_holder_lives_and_dies();
}

Test(run_lock, where_they_cannot, .init = begin, .fini = end, .timeout = 20)
{
    without_locks = true;
    check_taken_and_released();
    check_holder_lives_and_dies();
}

/* Leaves a lock file that was stamped so many seconds ago. */
static void leave(const char *text, double age_s)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= (time_t)age_s;
    times[1] = times[0];
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static const char foreign[] =
    "host elsewhere.invalid\nprocess 1\nticks 5\nstarted 2026-01-02 03:04:05\njob none\n";

/* Takes the lock by these times, beside a child that renews the stamp every 50 ms for so many
 * times. Returns how long it took, negative when it was refused. */
static double take_beside_renewals(const struct lj_lock_times *times, int renewals)
{
    struct lj_run_lock lock;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < renewals; i++) {
            usleep(50 * 1000);
            utimensat(AT_FDCWD, path, NULL, 0);
        }
        _exit(0);
    }
    double begun_s = lj_now_s();
    int status = lj_run_lock_take(&lock, dir, times);
    double took_s = lj_now_s() - begun_s;
    kill_child(child);
    if (status != LJ_OK) {
        cr_assert_eq(status, LJ_ERR_RESOURCE);
        return -took_s;
    }
    lj_run_lock_release(&lock);
    return took_s;
}

/* Nothing is known of a process of another host that gives no signs of life, nor of one that wrote
 * no name. */
Test(run_lock, of_another_host_without_locks, .init = begin, .fini = end, .timeout = 20)
{
    static const char *const texts[] = {
        "host elsewhere.invalid\nprocess 1\nticks 5\nstarted 2026-01-02 03:04:05\n", ""};
    struct lj_run_lock lock;
    for (int i = 0; i < 2; i++) {
        leave(texts[i], 100);
        without_locks = true;
        cr_assert_eq(lj_run_lock_take(&lock, dir, &at_once), LJ_ERR_RESOURCE);
        cr_assert(strstr(lj_error_text(), i ? "unknown"
                                            : "elsewhere.invalid, process 1, since "
                                              "2026-01-02 03:04:05"),
                  "%s", lj_error_text());
        cr_assert(strstr(lj_error_text(), "remove "), "%s", lj_error_text());
        without_locks = false; /* a lock on the file would have gone with its process */
        check_taken_and_released();
    }
}

/* Where locks are those of one host, or are none, the stamp tells. */
Test(run_lock, of_another_host_by_its_stamp, .init = begin, .fini = end, .timeout = 60)
{
    static const struct lj_lock_times times = {.renew_s = 0.1, .stale_s = 2};
    for (int i = 0; i < 2; i++) {
        without_locks = i;
        leave(foreign, 3);
        double took_s = take_beside_renewals(&times, 0);
        cr_assert(took_s >= 0 && took_s < 1.9, "silent for long: %g s", took_s);
        leave(foreign, 0);
        took_s = take_beside_renewals(&times, 100);
        cr_assert(took_s < 0 && took_s > -5, "renewed: %g s", took_s);
        cr_assert(strstr(lj_error_text(), "elsewhere.invalid, process 1, since 2026-01-02 03:04:05 "
                                          "(last sign of life "),
                  "%s", lj_error_text());
        cr_assert(strstr(lj_error_text(), "remove "), "%s", lj_error_text());
        leave(foreign, 0);
        took_s = take_beside_renewals(&times, 0);
        cr_assert(took_s >= 1.9, "taken %g s after the last sign of life", took_s);
        leave(foreign, -1000); /* from a host whose clock is ahead */
        took_s = take_beside_renewals(&times, 0);
        cr_assert(took_s >= 1.9 && took_s < 10, "stamp in the future: %g s", took_s);
    }
}

/* A job that its scheduler started again elsewhere does not wait; another job does. */
Test(run_lock, of_the_same_job, .init = begin, .fini = end, .timeout = 20)
{
    static const struct lj_lock_times times = {.renew_s = 0.1, .stale_s = 1000};
    char text[512];
    unsetenv("SLURM_JOB_ID");
    setenv("LSB_JOBID", "77", true);
    setenv("LSB_JOBINDEX", "3", true);
    for (int i = 0; i < 2; i++) {
        without_locks = i;
        snprintf(text, sizeof text, "%.*sjob LSB_JOBID=77.3\n",
                 (int)(strstr(foreign, "job") - foreign), foreign);
        leave(text, 0);
        double took_s = take_beside_renewals(&times, 100);
        cr_assert(took_s >= 0 && took_s < 5, "%g s", took_s);
        text[strlen(text) - 2] = '4'; /* another task of the array */
        leave(text, 0);
        cr_assert(take_beside_renewals(&times, 100) < 0);
    }
}

static double stamp(void)
{
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    return (double)info.st_mtim.tv_sec + 1e-9 * (double)info.st_mtim.tv_nsec;
}

/* A holder gives signs of life, and ends when another job has the lock. */
Test(run_lock, is_renewed_or_lost, .init = begin, .fini = end, .timeout = 20)
{
    pid_t child = start_holder();
    double first = stamp();
    for (int i = 0; i < 50 && stamp() <= first; i++)
        usleep(100 * 1000);
    cr_assert(stamp() > first, "no sign of life in fifty times its interval");
    cr_assert_eq(unlink(path), 0);
    usleep(300 * 1000);
    cr_assert_eq(waitpid(child, NULL, WNOHANG), 0, "removal by hand ended the job");
    leave(foreign, 0);
    int ended = 0;
    cr_assert_eq(waitpid(child, &ended, 0), child);
    cr_assert(WIFEXITED(ended) && WEXITSTATUS(ended) == -LJ_ERR_RESOURCE, "status %#x", ended);
}

/* A pid that now belongs to another process. */
Test(run_lock, of_a_pid_used_again, .init = begin, .fini = end, .timeout = 20)
{
    char host[128] = "", text[256];
    gethostname(host, sizeof host - 1);
    snprintf(text, sizeof text, "host %s\nprocess %d\nticks 1\nstarted then\n", host,
             (int)getpid());
    leave(text, 0);
    without_locks = true;
    check_taken_and_released();
}

/* A holder that ends while another job waits. */
Test(run_lock, waits_for_one_that_is_ending, .init = begin, .fini = end, .timeout = 20)
{
    struct lj_run_lock lock;
    struct lj_lock_times patient = at_once;
    patient.patience_s = 10;
    pid_t holder = start_holder(), killer = fork();
    if (killer == 0) {
        usleep(300 * 1000);
        kill(holder, SIGKILL);
        _exit(0);
    }
    cr_assert_eq(lj_run_lock_take(&lock, dir, &patient), LJ_OK, "%s", lj_error_text());
    lj_run_lock_release(&lock);
    waitpid(holder, NULL, 0);
    waitpid(killer, NULL, 0);
}
