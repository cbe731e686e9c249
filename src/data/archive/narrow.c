/* SPDX-License-Identifier: Apache-2.0 */
/* Fewer rows of an open archive, as if data.where had selected no others. */
#include "data/archive/archive.h"

/* Makes the subsets of rows and groups, which are those of keep, in place of the old ones. */
static int narrow_rows(struct lj_archive *archive, const int64_t *keep, int64_t count)
{
    uint64_t *bits = lj_bits_alloc(archive->rows.all);
    if (!bits)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < count; i++)
        lj_bits_set(bits, lj_archive_row(archive, keep[i]));
    lj_subset_free(&archive->rows);
    lj_subset_free(&archive->groups);
    archive->header.info.selected = count;
    LJ_TRY(lj_subset_make(&archive->rows, archive->header.info.rows, bits));
    return lj_archive_make_groups(archive);
}

static int narrow_labels(struct lj_archive *archive, const int64_t *keep, int64_t count)
{
    int32_t *label = lj_alloc_array(count, sizeof *label, "archive");
    if (!label)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < count; i++)
        label[i] = archive->label[keep[i]];
    lj_free(archive->label);
    archive->label = label;
    return LJ_OK;
}

int lj_archive_narrow(struct lj_archive *archive, const int64_t *keep, int64_t count)
{
    if (archive->label)
        LJ_TRY(narrow_labels(archive, keep, count));
    archive->have_statistics = false;
    return narrow_rows(archive, keep, count);
}
