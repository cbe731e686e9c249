/* SPDX-License-Identifier: Apache-2.0 */
/* Private to store: where the rows of a file of embeddings come from, in the file. */
#ifndef LEJEPA_STORE_EMBEDDINGS_H
#define LEJEPA_STORE_EMBEDDINGS_H

#include "store/hdf5/hdf5.h"

/* Writes the group /parts, if there are parts. Under the lock; the caller asks the driver what
 * failed. */
bool lj_embeddings_put_source(hid_t file, const struct lj_embeddings_layout *layout) LJ_MUST_USE;

/* Reads /parts and what provenance says of the archive; what is absent stays NULL or 0. Under the
 * lock. Errors: LJ_ERR_DATA (a part of it is missing or makes no sense), LJ_ERR_RESOURCE; what was
 * read is to be freed then, too. */
int lj_embeddings_get_source(hid_t file, const char *path,
                             struct lj_embeddings_source *source) LJ_MUST_USE;

#endif
