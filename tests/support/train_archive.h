/* SPDX-License-Identifier: Apache-2.0 */
/* A small archive for tests that train. */
#ifndef LEJEPA_TEST_TRAIN_ARCHIVE_H
#define LEJEPA_TEST_TRAIN_ARCHIVE_H

#include <stdint.h>

/* Writes `images` (rows, channels, size, size) float32 of pseudo-random pixels, in chunks of 7
 * rows. Fails the test if it cannot. */
void lj_train_archive_write(const char *path, int64_t rows, int64_t channels, int64_t size);

#endif
