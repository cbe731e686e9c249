/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store. HDF5 in a few words: attributes and files, as the checkpoint needs them.
 * Every function runs under the lock; those that return bool leave the message to the caller. */
#ifndef LEJEPA_STORE_HDF5_H
#define LEJEPA_STORE_HDF5_H

#include "base/base.h"
#include "store/store.h"

#include <hdf5.h>

#define LJ_CHECKPOINT_FORMAT "lejepa_mpi checkpoint"
#define LJ_CHECKPOINT_CHECKSUM                                              \
    "XXH3-64 of each dataset's bytes; on / of format_version, step, seed, " \
    "tensors, moments (int64), format, config, provenance (with NUL)"
enum { LJ_CHECKPOINT_VERSION = 1 };

/* The lock, with HDF5's own error printing off: failures become our messages. */
void lj_store_begin(void);
void lj_store_end(void);

/* File access: no file locks (they fail on many cluster file systems), everything closed with the
 * file, metadata with checksums (the 1.8 format), so that damage is found instead of followed. */
hid_t lj_store_access(void);

/* Creates a file through the driver of driver.c; negative on failure. Its writes never fail for
 * HDF5: ask lj_store_failure. */
hid_t lj_store_create(const char *path);
/* errno of the first failure of the file created last, also after it was closed; 0: none. */
int lj_store_failure(void);

bool lj_store_put_i64(hid_t object, const char *name, int64_t value);
bool lj_store_put_u64(hid_t object, const char *name, uint64_t value);
bool lj_store_put_text(hid_t object, const char *name, const char *text);
bool lj_store_get_i64(hid_t object, const char *name, int64_t *value);
bool lj_store_get_u64(hid_t object, const char *name, uint64_t *value);
/* *text from lj_alloc; NULL on failure. */
bool lj_store_get_text(hid_t object, const char *name, char **text);

/* The attributes of / that the head's checksum covers. */
struct lj_store_header {
    int64_t version, step, seed;
    int64_t tensors; /* datasets under /weights */
    int64_t moments; /* 1: the optimiser's state is there */
    const char *format, *config, *provenance;
};
uint64_t lj_store_header_hash(const struct lj_store_header *header);

#endif
