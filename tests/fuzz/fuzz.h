/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share. A target defines LLVMFuzzerTestOneInput, as libFuzzer asks for.
 * Built with -Dfuzz=true (clang) libFuzzer drives it; in other builds replay.c does. */
#ifndef LEJEPA_TESTS_FUZZ_H
#define LEJEPA_TESTS_FUZZ_H

#include "base/base.h"

#include <stdint.h>

/* The target: looks at one input; returns 0. A mistake ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A path of this process for files that the code under test opens by name, in memory if there
 * is /dev/shm. Removed at exit. Static storage. */
const char *fuzz_path(const char *name);
/* Writes the input to that path. */
const char *fuzz_file(const char *name, const uint8_t *data, size_t size);

/* An input may bring success, or an error of configuration, data, checkpoint or resources; any
 * other status ends the process. */
void fuzz_expect(int status);

/* Reads memory, so that a sanitizer sees it if it is not to be read. */
void fuzz_look(const void *memory, int64_t bytes);

/* ---- bytes of the input as decisions ----------------------------------------------------- */

struct fuzz_bytes {
    const uint8_t *at;
    size_t left;
};
/* The next byte; 0 at the end. */
uint8_t fuzz_byte(struct fuzz_bytes *bytes);
/* A number below `count`, which is at most 256. */
int fuzz_below(struct fuzz_bytes *bytes, int count);

#endif
