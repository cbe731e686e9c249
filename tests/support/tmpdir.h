/* SPDX-License-Identifier: Apache-2.0 */
/* A test's own directory, under TMPDIR or /tmp. */
#ifndef LEJEPA_TEST_TMPDIR_H
#define LEJEPA_TEST_TMPDIR_H

enum { LJ_PATH_MAX = 4096 };

struct lj_tmpdir {
    char path[LJ_PATH_MAX]; /* "" once removed */
};

/* Makes an empty directory; fails the test if it cannot. */
void lj_tmpdir_make(struct lj_tmpdir *directory);
/* Removes it with all that is in it. */
void lj_tmpdir_remove(struct lj_tmpdir *directory);

/* Path of a file in it; valid until the fourth call after this one. */
const char *lj_tmpdir_file(const struct lj_tmpdir *directory, const char *name);
/* Writes text to a file in it and returns its path, valid likewise. */
const char *lj_tmpdir_write(const struct lj_tmpdir *directory, const char *name, const char *text);

#endif
