/* SPDX-License-Identifier: Apache-2.0 */
/* An HDF5 file that appears whole or not at all (module store), for results of other modules:
 *
 *     LJ_TRY(lj_hdf5_create(&file, path));          takes the HDF5 lock
 *     bool good = H5Dwrite(... file.id ...) >= 0;
 *     return lj_hdf5_finish(&file, good);           closes, releases the lock, publishes or removes
 */
#ifndef LEJEPA_HDF5_FILE_H
#define LEJEPA_HDF5_FILE_H

#include "lejepa/store.h"

struct lj_hdf5_file {
    int64_t id; /* HDF5's hid_t */
    char path[LJ_PATH_MAX], temporary[LJ_PATH_MAX];
};

/* Creates the file under a temporary name beside path, and holds the HDF5 lock until finish. A full
 * disk is remembered, not reported, until then. Local. Errors: LJ_ERR_RESOURCE (lock released). */
LJ_API int lj_hdf5_create(struct lj_hdf5_file *file, const char *path) LJ_MUST_USE;

/* Closes; if good and nothing failed, fsync and rename to path; else the temporary file is removed.
 * Local. Errors: LJ_ERR_RESOURCE. */
LJ_API int lj_hdf5_finish(struct lj_hdf5_file *file, bool good) LJ_MUST_USE;

/* A text attribute (fixed-length UTF-8) of a file, group or dataset. Under the lock. */
LJ_API bool lj_hdf5_put_text(int64_t object, const char *name, const char *text) LJ_MUST_USE;

#endif
