/* SPDX-License-Identifier: Apache-2.0 */
/* Fewer rows of an open archive, as if data.where had selected no others. Tables that the ranks of
 * a node have in common stay as they are; a rank makes its own. */
#include "data/archive/archive.h"

/* Makes the subset of the rows that keep names. */
static int narrow_rows(const struct lj_archive *archive, const int64_t *keep, int64_t count,
                       struct lj_subset *rows)
{
    uint64_t *bits = lj_bits_alloc(archive->rows.all);
    if (!bits)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < count; i++)
        lj_bits_set(bits, lj_archive_row(archive, keep[i]));
    return lj_subset_make(rows, archive->rows.all, bits);
}

/* Makes the labels of those rows; NULL without labels. */
static int narrow_labels(const struct lj_archive *archive, const int64_t *keep, int64_t count,
                         int32_t **label)
{
    *label = NULL;
    if (!archive->label)
        return LJ_OK;
    *label = lj_alloc_array(count, sizeof **label, "archive index");
    for (int64_t i = 0; *label && i < count; i++)
        (*label)[i] = archive->label[keep[i]];
    return *label ? LJ_OK : LJ_ERR_RESOURCE;
}

int lj_archive_narrow(struct lj_archive *archive, const int64_t *keep, int64_t count)
{
    struct lj_subset rows = {0};
    int32_t *label = NULL;
    LJ_TRY(narrow_rows(archive, keep, count, &rows));
    int status = narrow_labels(archive, keep, count, &label);
    if (status != LJ_OK) {
        lj_subset_free(&rows);
        return status;
    }
    if (archive->narrowed) {
        lj_free(archive->label);
        lj_subset_free(&archive->rows);
        lj_subset_free(&archive->groups);
    }
    archive->narrowed = true;
    archive->rows = rows;
    archive->groups = (struct lj_subset){0};
    archive->label = label;
    archive->header.info.selected = count;
    archive->have_statistics = false;
    return lj_archive_make_groups(archive);
}
