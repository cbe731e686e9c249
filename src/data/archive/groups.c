/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of rows that are best read together. Each part is cut into groups of part->group_rows
 * rows. They are counted through all parts, so that rows and groups follow from one another without
 * a table; those without a selected row are left out. */
#include "data/archive/archive.h"

/* Index of the part that a group, counted before any is left out, lies in. */
static int64_t part_of_group(const struct lj_archive *archive, int64_t group)
{
    int64_t low = 0, high = archive->header.info.parts;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (archive->part[middle].first_group <= group)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The first row of such a group. */
static int64_t row_of_group(const struct lj_archive *archive, int64_t group)
{
    const struct lj_part *part = &archive->part[part_of_group(archive, group)];
    return part->first_row + (group - part->first_group) * part->group_rows;
}

/* The group that a row lies in. */
static int64_t group_of_row(const struct lj_archive *archive, int64_t row)
{
    const struct lj_part *part = &archive->part[lj_archive_part_of(archive, row)];
    return part->first_group + (row - part->first_row) / part->group_rows;
}

int64_t lj_groups_of_part(const struct lj_part *part)
{
    return (part->rows + part->group_rows - 1) / part->group_rows;
}

/* How many groups there are before any is left out. */
static int64_t all_groups(const struct lj_archive *archive)
{
    const struct lj_part *last = &archive->part[archive->header.info.parts - 1];
    return last->first_group + lj_groups_of_part(last);
}

int lj_archive_make_groups(struct lj_archive *archive)
{
    int64_t all = all_groups(archive), selected = archive->header.info.selected;
    if (selected == archive->header.info.rows)
        return lj_subset_whole(&archive->groups, all);
    uint64_t *bits = lj_bits_alloc(all);
    if (!bits)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < selected;) {
        int64_t group = group_of_row(archive, lj_archive_row(archive, i));
        lj_bits_set(bits, group);
        int64_t next = group + 1 < all ? row_of_group(archive, group + 1) : archive->rows.all;
        i = lj_subset_before(&archive->rows, next);
    }
    return lj_subset_make(&archive->groups, all, bits);
}

static int64_t first_of_group(const void *data, int64_t group)
{
    const struct lj_archive *archive = data;
    if (group == archive->groups.members)
        return archive->header.info.selected;
    int64_t row = row_of_group(archive, lj_subset_member(&archive->groups, group));
    return lj_subset_before(&archive->rows, row);
}

struct lj_groups lj_archive_groups(const struct lj_archive *archive)
{
    return (struct lj_groups){archive->groups.members, first_of_group, archive};
}
