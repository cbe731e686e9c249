/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. IDX files of unsigned bytes (the format of MNIST and its successors), plain or
 * gzipped. Local. */
#ifndef LEJEPA_DATA_PACK_IDX_H
#define LEJEPA_DATA_PACK_IDX_H

#include "base/base.h"

enum { LJ_IDX_DIMS_MAX = 3 };

/* An open file. */
struct lj_idx {
    const char *path;               /* borrowed */
    void *stream;                   /* gzFile; NULL: closed */
    int dims;                       /* number of axes */
    int64_t shape[LJ_IDX_DIMS_MAX]; /* (dims) */
    int64_t item_bytes;             /* of one entry along the first axis */
    int64_t next;                   /* entry that lj_idx_read reads next */
};

/* Opens a file with `dims` axes and checks its header: magic bytes 0 0 8 dims, the shape,
 * and that a file of this length can hold it. Errors: LJ_ERR_DATA. The caller closes it
 * after success only. */
int lj_idx_open(struct lj_idx *idx, const char *path, int dims) LJ_MUST_USE;
/* Reads the next entry.
 *   item  out  (item_bytes)
 * Errors: LJ_ERR_DATA when the file ends or is damaged. */
int lj_idx_read(struct lj_idx *idx, uint8_t *item) LJ_MUST_USE;
/* Checks, after the last entry, that the file ends here and that the checksum of a gzipped one is
 * right. Errors: LJ_ERR_DATA. */
int lj_idx_end(struct lj_idx *idx) LJ_MUST_USE;
void lj_idx_close(struct lj_idx *idx);

#endif
