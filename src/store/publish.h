/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store. Files that appear whole or not at all: written under a temporary name beside the final one, then
 * published. */
#ifndef LEJEPA_STORE_FILES_H
#define LEJEPA_STORE_FILES_H

#include "store/store.h"

/* dir/.name.tmp for path = dir/name. Errors: LJ_ERR_RESOURCE (too long). */
int lj_store_temporary(char temporary[LJ_PATH_MAX], const char *path) LJ_MUST_USE;

/* fsync of the temporary file, rename, fsync of the directory. A crash at any moment leaves either
 * the old file or the new one. The fault points checkpoint-sync and checkpoint-rename see `step`.
 * Errors: LJ_ERR_RESOURCE; the caller removes the temporary file. */
int lj_store_publish(const char *temporary, const char *path, int64_t step) LJ_MUST_USE;

/* Path of the checkpoint of a step. */
int lj_checkpoint_path(char path[LJ_PATH_MAX], const char *dir, int64_t step) LJ_MUST_USE;

/* Removes all but the `keep` newest checkpoints of dir, never that of `newest`, and what killed
 * writers left behind. What cannot be removed is warned about. */
void lj_checkpoint_rotate(const char *dir, int64_t newest, int keep);

#endif
