/* SPDX-License-Identifier: Apache-2.0 */
/* A command in a child process, whose parent outlives it. The child is forked before MPI and
 * threads are started: it inherits what the launcher gave its parent, as the child of a wrapper
 * script does, and is the rank; the parent only waits. */
#include "app/app.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_crash(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGABRT || number == SIGFPE ||
           number == SIGILL;
}

/* The child: dies with its parent, to which a launcher or a shell sends its signals. */
static int run_child(int (*program)(int argc, char **argv), int argc, char **argv, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        return 128 + SIGKILL;
    return program(argc, argv);
}

/* Ends this process by the signal that ended the child. */
static int end_alike(int number)
{
    signal(number, SIG_DFL);
    raise(number);
    return 128 + number;
}

static int wait_for(pid_t child, const struct lj_hdf5_note *note)
{
    int how = 0;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(how))
        return WEXITSTATUS(how);
    int number = WTERMSIG(how);
    if (!is_crash(number) || !note->inside || !note->file[0])
        return end_alike(number);
    char text[sizeof note->file + 128];
    snprintf(
        text, sizeof text,
        "the HDF5 library crashed (signal %d) while it looked at %s: the file is damaged; copy "
        "it again",
        number, note->file);
    lj_error_line(text);
    return -LJ_ERR_DATA;
}

int lj_run_apart(int (*program)(int argc, char **argv), int argc, char **argv)
{
    struct lj_hdf5_note *note =
        mmap(NULL, sizeof *note, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (note == MAP_FAILED)
        return program(argc, argv);
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        return program(argc, argv);
    if (child == 0) {
        lj_hdf5_note_in(note);
        return run_child(program, argc, argv, parent);
    }
    return wait_for(child, note);
}
