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
#include <unistd.h>
#include <xxhash.h>

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

int lj_written_open(struct lj_written *written, const char *path, int64_t *rows)
{
    char temporary[LJ_PATH_MAX];
    LJ_TRY(lj_store_temporary(temporary, path));
    int stem = (int)strlen(temporary) - 4; /* without ".tmp" */
    if (snprintf(written->path, sizeof written->path, "%.*s.rows", stem, temporary) >= LJ_PATH_MAX)
        return lj_fail(LJ_ERR_RESOURCE, "%s: path too long; choose a shorter one", path);
    written->file = open(written->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (written->file < 0)
        return cannot_write(written, errno);
    if (flock(written->file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        lj_written_close(written, true);
        return lj_fail(LJ_ERR_RESOURCE,
                       "%s: another process is writing it; wait for it or choose another path",
                       path);
    }
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
