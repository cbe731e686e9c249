/* SPDX-License-Identifier: Apache-2.0 */
/* The lock on a run's directory, on file systems with locks and without. */
#include "run/lock.h"

#include "scratch_dir.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], path[128];
static bool without_locks;

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
        int status = lj_run_lock_take(&lock, dir, 0);
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

static void kill_holder(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void check_taken_and_released(void)
{
    struct lj_run_lock lock;
    cr_assert_eq(lj_run_lock_take(&lock, dir, 0), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(access(path, F_OK), 0);
    lj_run_lock_release(&lock);
    cr_assert_neq(access(path, F_OK), 0, "the lock is still there");
    lj_run_lock_release(&lock);
}

static void check_holder_lives_and_dies(void)
{
    char process[64];
    struct lj_run_lock lock;
    pid_t child = start_holder();
    snprintf(process, sizeof process, "process %d,", (int)child);
    cr_assert_eq(lj_run_lock_take(&lock, dir, 0.2), LJ_ERR_RESOURCE);
    cr_assert(strstr(lj_error_text(), process), "%s", lj_error_text());
    lj_run_lock_release(&lock);
    cr_assert_eq(access(path, F_OK), 0, "who does not hold the lock removed it");
    kill_holder(child);
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

static void leave(const char *text)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

/* Nothing is known of a process of another host, nor of one that wrote no name. */
Test(run_lock, of_another_host_without_locks, .init = begin, .fini = end, .timeout = 20)
{
    static const char *const texts[] = {
        "host elsewhere.invalid\nprocess 1\nticks 5\nstarted 2026-01-02 03:04:05\n", ""};
    struct lj_run_lock lock;
    for (int i = 0; i < 2; i++) {
        leave(texts[i]);
        without_locks = true;
        cr_assert_eq(lj_run_lock_take(&lock, dir, 0), LJ_ERR_RESOURCE);
        cr_assert(strstr(lj_error_text(), i ? "unknown"
                                            : "elsewhere.invalid, process 1, since "
                                              "2026-01-02 03:04:05"),
                  "%s", lj_error_text());
        cr_assert(strstr(lj_error_text(), "remove "), "%s", lj_error_text());
        without_locks = false; /* a lock on the file would have gone with its process */
        check_taken_and_released();
    }
}

/* A pid that now belongs to another process. */
Test(run_lock, of_a_pid_used_again, .init = begin, .fini = end, .timeout = 20)
{
    char host[128] = "", text[256];
    gethostname(host, sizeof host - 1);
    snprintf(text, sizeof text, "host %s\nprocess %d\nticks 1\nstarted then\n", host,
             (int)getpid());
    leave(text);
    without_locks = true;
    check_taken_and_released();
}

/* A holder that ends while another job waits. */
Test(run_lock, waits_for_one_that_is_ending, .init = begin, .fini = end, .timeout = 20)
{
    struct lj_run_lock lock;
    pid_t holder = start_holder(), killer = fork();
    if (killer == 0) {
        usleep(300 * 1000);
        kill(holder, SIGKILL);
        _exit(0);
    }
    cr_assert_eq(lj_run_lock_take(&lock, dir, 10), LJ_OK, "%s", lj_error_text());
    lj_run_lock_release(&lock);
    waitpid(holder, NULL, 0);
    waitpid(killer, NULL, 0);
}
