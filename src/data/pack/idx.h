/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. IDX files (the format of MNIST and its successors), plain or gzipped, unsigned bytes. Local. */
#ifndef LEJEPA_DATA_PACK_IDX_H
#define LEJEPA_DATA_PACK_IDX_H

#include "base/base.h"

enum { LJ_IDX_DIMS_MAX = 3 };

struct lj_idx {
    const char *path; /* borrowed */
    void *stream;     /* gzFile */
    int dims;
    int64_t shape[LJ_IDX_DIMS_MAX];
    int64_t item_bytes; /* of one entry of the first axis */
    int64_t next;       /* entry that lj_idx_read gives next */
};

/* Opens the file and checks its header: magic 0 0 8 dims, shape, and that the file can hold it.
 * Errors: LJ_ERR_DATA. The caller closes after success only. */
int lj_idx_open(struct lj_idx *idx, const char *path, int dims) LJ_MUST_USE;
/* The next entry; (item_bytes) to item. Errors: LJ_ERR_DATA when the file ends or is damaged. */
int lj_idx_read(struct lj_idx *idx, uint8_t *item) LJ_MUST_USE;
/* After the last entry: the file must end here, and for .gz its checksum must hold. */
int lj_idx_end(struct lj_idx *idx) LJ_MUST_USE;
void lj_idx_close(struct lj_idx *idx);

#endif
