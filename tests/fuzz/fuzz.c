/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATHS_MAX = 8 };

static char paths[PATHS_MAX][256];
static int used;

static void remove_all(void)
{
    for (int i = 0; i < used; i++)
        unlink(paths[i]);
}

const char *fuzz_path(const char *name)
{
    const char *dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    char path[256];
    snprintf(path, sizeof path, "%s/lejepa-fuzz-%ld-%s", dir, (long)getpid(), name);
    for (int i = 0; i < used; i++)
        if (strcmp(paths[i], path) == 0)
            return paths[i];
    LJ_CHECK(used < PATHS_MAX, "too many paths");
    if (used == 0)
        atexit(remove_all);
    memcpy(paths[used], path, sizeof path);
    return paths[used++];
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    const char *path = fuzz_path(name);
    FILE *file = fopen(path, "wb");
    LJ_CHECK(file && fwrite(data, 1, size, file) == size && fclose(file) == 0, "%s", path);
    return path;
}

void fuzz_expect(int status)
{
    LJ_CHECK(status == LJ_OK || status == LJ_ERR_CONFIG || status == LJ_ERR_DATA ||
                 status == LJ_ERR_CHECKPOINT || status == LJ_ERR_RESOURCE,
             "status %d: %s", status, lj_error_text());
}

void fuzz_look(const void *memory, int64_t bytes)
{
    const volatile uint8_t *at = memory;
    for (int64_t i = 0; i < bytes; i++)
        (void)at[i];
}

uint8_t fuzz_byte(struct fuzz_bytes *bytes)
{
    if (bytes->left == 0)
        return 0;
    bytes->left--;
    return *bytes->at++;
}

int fuzz_below(struct fuzz_bytes *bytes, int count)
{
    return fuzz_byte(bytes) % count;
}
