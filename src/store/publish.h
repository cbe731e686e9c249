/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store: files that appear whole or not at all. They are written under a temporary name
 * beside the final one, then published. */
#ifndef LEJEPA_STORE_PUBLISH_H
#define LEJEPA_STORE_PUBLISH_H

#include "store/store.h"

#include <stdio.h>

/* dir/.name.tmp for path = dir/name. Local. Errors: LJ_ERR_RESOURCE (too long). */
int lj_store_temporary(char temporary[LJ_PATH_MAX], const char *path) LJ_MUST_USE;

/* Closes a file that was written. Local.
 *   file  in  NULL: it could not be opened
 *   good  in  all was written; if not, errno tells why
 *   path  in  its name, for the message
 * Errors: LJ_ERR_RESOURCE. */
int lj_store_close(FILE *file, bool good, const char *path) LJ_MUST_USE;

/* fsync of a file. Local. Errors: LJ_ERR_RESOURCE. */
int lj_store_sync(const char *path) LJ_MUST_USE;

/* fsync of the temporary file, rename, fsync of the directory. A crash at any moment leaves either
 * the old file or the new one. Local.
 *   step  in  what the fault points checkpoint-sync and checkpoint-rename see; -1: no checkpoint
 * Errors: LJ_ERR_RESOURCE; the caller removes the temporary file. */
int lj_store_publish(const char *temporary, const char *path, int64_t step) LJ_MUST_USE;

#endif
