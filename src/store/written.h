/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store: how many rows of an unfinished file are on disk, in a small file beside it. All
 * functions are local. */
#ifndef LEJEPA_STORE_WRITTEN_H
#define LEJEPA_STORE_WRITTEN_H

#include "store/store.h"

/* dir/.name.rows for the file dir/name. */
struct lj_written {
    char path[LJ_PATH_MAX];
    int file; /* open and locked while the file is being written; -1: none */
};

/* Opens or makes it, and locks it against others that write the same file.
 *   rows  out  on disk when its last writer was killed; 0 when that is not known
 * Errors: LJ_ERR_RESOURCE: another process writes the file, or this one cannot be written. */
int lj_written_open(struct lj_written *written, const char *path, int64_t *rows) LJ_MUST_USE;
/* Notes that so many rows are on disk; a crash at any moment leaves this number, the last one, or
 * none. Errors: LJ_ERR_RESOURCE. */
int lj_written_set(struct lj_written *written, int64_t rows) LJ_MUST_USE;
/* Closes it, and removes it unless the unfinished file is kept. Nothing when there is none. */
void lj_written_close(struct lj_written *written, bool keep);

#endif
