/* SPDX-License-Identifier: Apache-2.0 */
/* Fewer rows of an open archive, as if data.where had selected no others. */
#include "data/archive/archive.h"

int lj_archive_narrow(struct lj_archive *archive, const int64_t *keep, int64_t count)
{
    struct lj_archive_info *info = &archive->header.info;
    int64_t *row = lj_alloc_array(count, sizeof *row, "archive");
    if (!row)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < count; i++) {
        row[i] = lj_archive_row(archive, keep[i]);
        if (archive->label) /* keep[i] >= i: what is read was not written yet */
            archive->label[i] = archive->label[keep[i]];
    }
    lj_free(archive->row);
    lj_free(archive->group);
    archive->row = row;
    archive->group = NULL;
    archive->have_statistics = false;
    archive->header.filtered = 1;
    info->selected = count;
    return lj_archive_make_groups(archive);
}
