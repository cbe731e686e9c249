/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store: what the files on checkpoints share. The layout of a checkpoint
 * is in store.h. */
#ifndef LEJEPA_STORE_CHECKPOINT_H
#define LEJEPA_STORE_CHECKPOINT_H

#include "store/store.h"

#include <hdf5.h>

/* The attributes of / that say what the file is. They have a checksum of their own,
 * in attribute xxh3. */
struct lj_checkpoint_attributes {
    int64_t step, seed;
    int64_t tensors;   /* datasets under /weights */
    int64_t moments;   /* 1: the optimiser's state is there */
    int64_t average;   /* 1: a running average of the weights is there */
    int64_t objective; /* datasets under /objective */
    const char *config, *provenance;
};

/* attributes.c: writes them, with format, version and checksum. Under the HDF5 lock. */
bool lj_checkpoint_put_attributes(hid_t file,
                                  const struct lj_checkpoint_attributes *attributes) LJ_MUST_USE;

/* attributes.c: reads them and checks format, version and checksum. The texts are the
 * caller's to free, after a failure, too. Under the HDF5 lock. Errors: LJ_ERR_CHECKPOINT,
 * with path in the text. */
int lj_checkpoint_get_attributes(hid_t file, const char *path,
                                 struct lj_checkpoint_attributes *attributes, char **config,
                                 char **provenance) LJ_MUST_USE;

/* The message that a part of a checkpoint (what, then its name) is not there or not right. */
int lj_checkpoint_damaged(const char *path, const char *what, const char *name) LJ_MUST_USE;

/* directory.c: removes what is older than the `keep` newest good checkpoints of dir, never that of
 * step `newest`, which was just written, and the temporary files of writers that were killed.
 * Damaged ones that are not so old stay, and do not count. Those of which it is not yet known are
 * verified, if anything older would be removed. What is damaged or cannot be removed is warned
 * about. Local. */
void lj_checkpoint_rotate(const char *dir, int64_t newest, int keep);

#endif
