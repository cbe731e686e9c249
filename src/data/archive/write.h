/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. Writes a training archive. Local; takes the HDF5 lock. */
#ifndef LEJEPA_DATA_ARCHIVE_WRITE_H
#define LEJEPA_DATA_ARCHIVE_WRITE_H

#include "base/base.h"

/* What goes into the file; all borrowed. */
struct lj_archive_content {
    int64_t rows;            /* images */
    int64_t height;          /* pixels */
    int64_t width;           /* pixels */
    const uint8_t *images;   /* (rows, height, width) */
    const int32_t *labels;   /* (rows) */
    const uint8_t *split;    /* (rows) */
    const char *description; /* attribute of the file: what this is */
    const char *source;      /* attribute: what it was made from */
    const char *licence;     /* attribute: text of the licence; "" none */
};

/* Writes `images` in chunks of 64 rows with shuffle and deflate, `labels`, `split` and the
 * attributes. Local; takes the HDF5 lock. The same content gives the same bytes: no times are
 * stored. The file is made in memory, written under a temporary name beside path, synced and
 * renamed; on failure nothing of it remains. Errors: LJ_ERR_RESOURCE. */
int lj_archive_write(const char *path, const struct lj_archive_content *content) LJ_MUST_USE;

#endif
