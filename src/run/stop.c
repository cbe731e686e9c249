/* SPDX-License-Identifier: Apache-2.0 */
/* Files that ask to stop: DIR/STOP, which people make, and in a sweep DIR/sweep/STOP, by which its
 * groups of ranks tell each other, since no message passes between them. */
#include "run/signals.h"

#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void stop_path(char path[LJ_PATH_MAX], const char *dir, const char *below)
{
    snprintf(path, LJ_PATH_MAX, "%.4000s%s/STOP", dir, below);
}

static bool exists(const char *dir, const char *below)
{
    char path[LJ_PATH_MAX];
    stop_path(path, dir, below);
    return access(path, F_OK) == 0;
}

static void remove_file(const char *dir, const char *below)
{
    char path[LJ_PATH_MAX];
    stop_path(path, dir, below);
    if (unlink(path) != 0 && errno != ENOENT)
        lj_warn("%s: cannot be removed: %s; remove it, or it stops the next job", path,
                strerror(errno));
}

bool lj_stop_file(const char *dir)
{
    return exists(dir, "");
}

void lj_stop_file_remove(const char *dir)
{
    remove_file(dir, "");
}

bool lj_stop_sweep(const char *dir)
{
    return exists(dir, "") || exists(dir, "/sweep");
}

void lj_stop_sweep_ask(const char *dir)
{
    char path[LJ_PATH_MAX];
    stop_path(path, dir, "/sweep");
    int file = open(path, O_CREAT | O_WRONLY, 0666);
    if (file < 0)
        lj_warn("%s: cannot be made: %s; other groups of the sweep do not stop", path,
                strerror(errno));
    else
        close(file);
}

void lj_stop_sweep_remove(const char *dir)
{
    remove_file(dir, "");
    remove_file(dir, "/sweep");
}
