/* SPDX-License-Identifier: Apache-2.0 */
/* A test's own directory, removed with everything in it. */
#ifndef TEST_SCRATCH_DIR_H
#define TEST_SCRATCH_DIR_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static inline int scratch_remove_one(const char *path, const struct stat *status, int kind,
                                     struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

/* Overwrites path with the new directory's; false when it cannot be made. */
static inline bool scratch_create(char path[64])
{
    snprintf(path, 64, "/tmp/lejepa_test_XXXXXX");
    return mkdtemp(path) != NULL;
}

static inline void scratch_destroy(const char *path)
{
    nftw(path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
