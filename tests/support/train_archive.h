/* SPDX-License-Identifier: Apache-2.0 */
/* A small archive for tests that train. */
#ifndef LEJEPA_TEST_TRAIN_ARCHIVE_H
#define LEJEPA_TEST_TRAIN_ARCHIVE_H

#include "data/data.h"
#include "tmpdir.h"

#include <stdint.h>

/* Writes `images` (rows, channels, size, size) float32 of pseudo-random pixels, in chunks of 7
 * rows, and `labels` (rows) of three classes, 0, 3 and 12. Fails the test if it cannot. */
void lj_train_archive_write(const char *path, int64_t rows, int64_t channels, int64_t size);
/* Makes a directory with such an archive, of 100 images of 2 channels and 16 x 16 pixels, and opens
 * it. Collective.
 *   dir      out  the same on every rank; rank 0 removes it
 *   archive  out  owned by the caller */
void lj_train_archive_open(struct lj_comm *comm, struct lj_tmpdir *dir,
                           struct lj_archive **archive);

#endif
