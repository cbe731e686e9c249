/* SPDX-License-Identifier: Apache-2.0 */
/* Atomic publication of a file: fsync, rename, fsync of the directory (POSIX promises that rename
 * replaces atomically; only the second fsync makes it last through a power failure). */
#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Length of the directory part of path, its slash included; 0 when there is none. */
static int directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (int)(slash - path) + 1 : 0;
}

int lj_store_temporary(char temporary[LJ_PATH_MAX], const char *path)
{
    int directory = directory_length(path);
    int length = snprintf(temporary, LJ_PATH_MAX, "%.*s.%s.tmp", directory, path, path + directory);
    if (length >= LJ_PATH_MAX)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path longer than %d bytes; choose a shorter one", path,
                       LJ_PATH_MAX - 6);
    return LJ_OK;
}

int lj_store_close(FILE *file, bool good, const char *path)
{
    int reason = errno;
    if (file && fclose(file) != 0 && good) {
        good = false;
        reason = errno;
    }
    if (good)
        return LJ_OK;
    return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s; free space or choose another path",
                   path, strerror(reason));
}

static int sync_path(const char *path, int flags)
{
    int file = open(path, flags | O_CLOEXEC);
    if (file < 0)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be opened to sync it: %s", path,
                       strerror(errno));
    int failure = fsync(file) != 0 ? errno : 0;
    /* Some file systems cannot sync a directory and say so by EINVAL: nothing more can be done. */
    if (failure == EINVAL && (flags & O_DIRECTORY))
        failure = 0;
    if (close(file) != 0 && failure == 0)
        failure = errno;
    if (failure)
        return lj_fail(LJ_ERR_RESOURCE,
                       "%s: cannot be synced to disk: %s; free space or check the disk", path,
                       strerror(failure));
    return LJ_OK;
}

static int sync_directory_of(const char *path)
{
    char directory[LJ_PATH_MAX];
    int length = directory_length(path);
    if (length == 0)
        return sync_path(".", O_RDONLY | O_DIRECTORY);
    snprintf(directory, sizeof directory, "%.*s", length, path);
    return sync_path(directory, O_RDONLY | O_DIRECTORY);
}

int lj_store_sync(const char *path)
{
    return sync_path(path, O_RDWR);
}

int lj_store_publish(const char *temporary, const char *path, int64_t step)
{
    LJ_TRY(lj_fault("checkpoint-sync", step));
    LJ_TRY(lj_store_sync(temporary));
    LJ_TRY(lj_fault("checkpoint-rename", step));
    if (rename(temporary, path) != 0)
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be renamed to %s: %s", temporary, path,
                       strerror(errno));
    return sync_directory_of(path);
}

int lj_file_spare(const char *out, const char *input)
{
    struct stat written, read;
    if (stat(out, &written) != 0 || stat(input, &read) != 0 || written.st_dev != read.st_dev ||
        written.st_ino != read.st_ino)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG, "out=%s: is the file %s that is read; choose another name", out,
                   input);
}

static int write_bytes(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wbe");
    return lj_store_close(file, file && fwrite(bytes, 1, count, file) == count, path);
}

int lj_file_write(const char *path, const void *bytes, size_t count)
{
    char temporary[LJ_PATH_MAX];
    LJ_TRY(lj_store_temporary(temporary, path));
    int status = write_bytes(temporary, bytes, count);
    if (status == LJ_OK)
        status = lj_store_publish(temporary, path, -1);
    if (status != LJ_OK)
        unlink(temporary);
    return status;
}
