/* SPDX-License-Identifier: Apache-2.0 */
/* The note beside an unfinished file: "rows N xxh3 H", H of the text before it, so that a note that
 * was not written whole does not count. */
#include "store/written.h"

#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

/* How long to wait for another writer, and between two tries: ranks of a killed embed live a moment
 * longer than their launcher. */
static const double patience_s = 5;
static const struct timespec pause_between = {.tv_nsec = 50000000};

/* The note as text of always the same length, which returns. */
static int note_text(char text[80], int64_t rows)
{
    int length = snprintf(text, 80, "rows %019lld", (long long)rows);
    unsigned long long hash = XXH3_64bits(text, (size_t)length);
    return length + snprintf(text + length, 80 - (size_t)length, " xxh3 %016llx\n", hash);
}

static int64_t read_note(int file)
{
    char found[80] = "", expected[80];
    long long rows = 0;
    if (pread(file, found, sizeof found - 1, 0) <= 0 || sscanf(found, "rows %lld", &rows) != 1)
        return 0;
    note_text(expected, rows);
    return strcmp(found, expected) == 0 ? rows : 0;
}

static int cannot_write(const struct lj_written *written, int reason)
{
    return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written: %s; free space or choose another path",
                   written->path, strerror(reason));
}

/* Opens the note and locks it against other writers. Negative: see errno; EWOULDBLOCK: another one
 * has it. Where the file system has no locks, none is taken. */
static int open_locked(const char *path)
{
    double until_s = lj_now_s() + patience_s;
    for (;;) {
        struct stat info;
        int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (file < 0)
            return -1;
        bool held = flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (!held && fstat(file, &info) == 0 && info.st_nlink > 0)
            return file;
        close(file); /* a note without a name was that of a writer who has ended */
        errno = EWOULDBLOCK;
        if (lj_now_s() >= until_s)
            return -1;
        lj_progress();
        nanosleep(&pause_between, NULL);
    }
}

int lj_written_open(struct lj_written *written, const char *path, int64_t *rows)
{
    char temporary[LJ_PATH_MAX];
    LJ_TRY(lj_store_temporary(temporary, path));
    int stem = (int)strlen(temporary) - 4; /* without ".tmp" */
    if (snprintf(written->path, sizeof written->path, "%.*s.rows", stem, temporary) >= LJ_PATH_MAX)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path too long; choose a shorter one", path);
    written->file = open_locked(written->path);
    if (written->file < 0 && errno == EWOULDBLOCK)
        return lj_fail(LJ_ERR_RESOURCE,
                       "%s: another process is writing it; wait for it or choose another path",
                       path);
    if (written->file < 0)
        return cannot_write(written, errno);
    *rows = read_note(written->file);
    return LJ_OK;
}

int lj_written_set(struct lj_written *written, int64_t rows)
{
    char text[80];
    int length = note_text(text, rows);
    errno = ENOSPC; /* a short write sets no errno, and means this */
    if (pwrite(written->file, text, (size_t)length, 0) == length && fdatasync(written->file) == 0)
        return LJ_OK;
    return cannot_write(written, errno);
}

void lj_written_close(struct lj_written *written, bool keep)
{
    if (written->file < 0)
        return;
    if (!keep)
        unlink(written->path);
    close(written->file);
    written->file = -1;
}
