/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary directories. */
#include "tmpdir.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void lj_tmpdir_make(struct lj_tmpdir *directory)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory->path, sizeof directory->path, "%s/lejepa-test-XXXXXX",
             base && base[0] ? base : "/tmp");
    cr_assert_not_null(mkdtemp(directory->path), "%s: %s", directory->path, strerror(errno));
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

void lj_tmpdir_remove(struct lj_tmpdir *directory)
{
    cr_assert_eq(nftw(directory->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0, "%s: %s",
                 directory->path, strerror(errno));
    directory->path[0] = 0;
}

const char *lj_tmpdir_file(const struct lj_tmpdir *directory, const char *name)
{
    static char paths[4][LJ_PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    int length = snprintf(path, LJ_PATH_MAX, "%s/%s", directory->path, name);
    cr_assert(length > 0 && length < LJ_PATH_MAX, "%s: name too long", name);
    return path;
}

const char *lj_tmpdir_write(const struct lj_tmpdir *directory, const char *name, const char *text)
{
    const char *path = lj_tmpdir_file(directory, name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "%s: %s", path, strerror(errno));
    cr_assert_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    cr_assert_eq(fclose(file), 0);
    return path;
}
