/* SPDX-License-Identifier: Apache-2.0 */
/* A file that appears whole or not at all: written under another name, synced, then renamed. */
#include "data/archive/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool write_all(int file, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(file, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        count -= (size_t)written;
    }
    return true;
}

static void sync_directory(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int directory = open(dirname(copy), O_RDONLY | O_DIRECTORY);
    if (directory < 0)
        return; /* the file is renamed already, and some file systems cannot open directories */
    fsync(directory);
    close(directory);
}

int lj_file_place(const char *path, const void *bytes, size_t count)
{
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.%ld.partial", path, (long)getpid());
    if (length >= (int)sizeof temporary)
        return lj_fail(LJ_ERR_RESOURCE, "%s: the name is too long", path);
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0)
        return lj_fail(LJ_ERR_RESOURCE, "cannot create %s: %s; choose another place", temporary,
                       strerror(errno));
    bool good = write_all(file, bytes, count) && fsync(file) == 0;
    int error = good ? 0 : errno;
    if (close(file) != 0 && good)
        error = errno;
    if (error == 0 && rename(temporary, path) != 0)
        error = errno;
    if (error == 0) {
        sync_directory(path);
        return LJ_OK;
    }
    unlink(temporary);
    return lj_fail(LJ_ERR_RESOURCE, "cannot write %s (%zu bytes): %s; nothing was left behind",
                   path, count, strerror(error));
}
