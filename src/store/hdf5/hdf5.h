/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store: HDF5 in a few words. Files opened for reading, result files that appear
 * whole or not at all, attributes. HDF5 runs in one thread at a time, under a lock; a function
 * that needs the lock held says "under the lock". Functions that return bool leave the message
 * to the caller. */
#ifndef LEJEPA_STORE_HDF5_H
#define LEJEPA_STORE_HDF5_H

#include "store/store.h"

#include <hdf5.h>

/* ---- open.c ------------------------------------------------------------------------------ */

/* Takes the lock, and turns HDF5's own error printing off: its failures become our messages. */
void lj_hdf5_begin(void);
void lj_hdf5_end(void);

/* How every file of ours is opened: without file locks, which fail on many cluster file
 * systems, and so that closing the file closes all that was opened in it. Negative on failure.
 * Under the lock. */
hid_t lj_hdf5_access(void);

/* Opens a file for reading only and holds the lock until lj_hdf5_close. Negative when it cannot be
 * opened: then the lock is free. Local. */
hid_t lj_hdf5_open(const char *path);
void lj_hdf5_close(hid_t file);

/* ---- driver.c ---------------------------------------------------------------------------- */

/* Creates a file through a driver of our own; negative on failure. To HDF5 its writes never fail:
 * ask lj_hdf5_driver_failure. Under the lock, one file at a time. */
hid_t lj_hdf5_driver_create(const char *path);
/* Opens a file for going on writing it, likewise. Under the lock, one file at a time. */
hid_t lj_hdf5_driver_open(const char *path);
/* errno of the first failure of the file created or opened last, also after it was closed; 0:
 * none. */
int lj_hdf5_driver_failure(void);

/* ---- attribute.c ------------------------------------------------------------------------- */

/* Scalar attributes of a file, group or dataset; texts are UTF-8 of fixed length.
 * Under the lock. */
bool lj_hdf5_put_i64(hid_t object, const char *name, int64_t value) LJ_MUST_USE;
bool lj_hdf5_put_u64(hid_t object, const char *name, uint64_t value) LJ_MUST_USE;
bool lj_hdf5_put_text(hid_t object, const char *name, const char *text) LJ_MUST_USE;
bool lj_hdf5_get_i64(hid_t object, const char *name, int64_t *value) LJ_MUST_USE;
bool lj_hdf5_get_u64(hid_t object, const char *name, uint64_t *value) LJ_MUST_USE;
/* *text from lj_alloc; NULL on failure. */
bool lj_hdf5_get_text(hid_t object, const char *name, char **text) LJ_MUST_USE;

/* ---- result.c ---------------------------------------------------------------------------- */

/* A file of results that appears whole or not at all:
 *
 *     LJ_TRY(lj_result_create(&file, path));       takes the lock
 *     bool good = H5Dwrite(... file.id ...) >= 0;
 *     return lj_result_finish(&file, good);        closes, releases the lock, publishes or removes
 *
 * A file written in parts releases the lock in between, so that archives can be read meanwhile:
 *     status = lj_result_pause(&file, good);  ...  lj_result_resume(&file);
 * No other file may be created before it is finished. */
struct lj_result {
    hid_t id;
    char path[LJ_PATH_MAX], temporary[LJ_PATH_MAX];
};

/* Creates the file under a temporary name beside path, and holds the lock until finish. A full disk
 * is remembered, not reported, until then. Local. Errors: LJ_ERR_RESOURCE (lock released). */
int lj_result_create(struct lj_result *file, const char *path) LJ_MUST_USE;

/* Opens for writing what a killed process left of the file, and holds the lock until finish or
 * leave. False: there is nothing that HDF5 can open (lock free). Local. */
bool lj_result_open_left(struct lj_result *file, const char *path);

/* Releases the lock while the file stays open. Local. Errors: LJ_ERR_RESOURCE when not good, or
 * when the disk has refused something so far: finish with good false then (lock released, too). */
int lj_result_pause(struct lj_result *file, bool good) LJ_MUST_USE;
/* Takes the lock again, for more writing or for finish. Local. */
void lj_result_resume(struct lj_result *file);

/* Sends what was written so far to disk: it will be there after a crash. Releases the lock as
 * lj_result_pause does. Local. Errors: LJ_ERR_RESOURCE. */
int lj_result_sync(struct lj_result *file) LJ_MUST_USE;

/* Closes the file under its temporary name and releases the lock. Local. */
void lj_result_leave(struct lj_result *file);

/* Closes the file and releases the lock; if good and nothing failed, the file gets its name, else
 * it is removed. Local. Errors: LJ_ERR_RESOURCE. */
int lj_result_finish(struct lj_result *file, bool good) LJ_MUST_USE;

#endif
