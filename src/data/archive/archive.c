/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked of an open archive: facts, parts, rows and their names. */
#include "data/archive/archive.h"

#include <stdio.h>
#include <string.h>

const char *lj_part_file(const struct lj_archive *archive, const struct lj_part *part)
{
    return archive->texts + part->file;
}

const char *lj_part_dataset(const struct lj_archive *archive, const struct lj_part *part)
{
    return archive->texts + part->dataset;
}

const char *lj_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

int64_t lj_archive_part_of(const struct lj_archive *archive, int64_t row)
{
    int64_t low = 0, high = archive->header.info.parts;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (archive->part[middle].first_row <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

size_t lj_row_bytes(const struct lj_archive *archive)
{
    const struct lj_archive_info *info = &archive->header.info;
    return (size_t)(info->channels * info->stored_height * info->stored_width) *
           lj_element_bytes(archive->header.element);
}

double lj_pixel_divisor(const char *type, double full_scale)
{
    if (full_scale > 0)
        return full_scale;
    return strcmp(type, "u8") == 0 ? 255 : strcmp(type, "i8") == 0 ? 127 : 1;
}

double lj_pixel_full_scale(const char *type, double full_scale)
{
    static const struct {
        const char *type;
        double full_scale;
    } wide[] = {{"u16", UINT16_MAX}, {"i16", INT16_MAX},          {"u32", UINT32_MAX},
                {"i32", INT32_MAX},  {"u64", (double)UINT64_MAX}, {"i64", (double)INT64_MAX}};
    for (size_t i = 0; full_scale == 0 && i < sizeof wide / sizeof *wide; i++)
        if (strcmp(type, wide[i].type) == 0)
            return wide[i].full_scale;
    return 1;
}

const struct lj_archive_info *lj_archive_info(const struct lj_archive *archive)
{
    return &archive->header.info;
}

void lj_archive_describe(const struct lj_archive *archive, char *text, size_t capacity)
{
    const struct lj_archive_info *info = &archive->header.info;
    char labels[64] = "; no labels", selected[64] = "";
    if (info->has_labels)
        snprintf(labels, sizeof labels, "; %lld classes", (long long)info->classes);
    else if (archive->header.skip_labels)
        labels[0] = 0;
    if (info->selected != info->rows)
        snprintf(selected, sizeof selected, " (%lld selected)", (long long)info->selected);
    snprintf(text, capacity,
             "%lld images%s of %d channels, %lldx%lld, %s, in %d dataset%s %s; axes %s: %s; %s%s",
             (long long)info->rows, selected, info->channels, (long long)info->stored_height,
             (long long)info->stored_width, info->type, info->parts, info->parts == 1 ? "" : "s",
             info->images, info->axes, info->axes_reason, info->storage, labels);
}

int lj_archive_datasets(const struct lj_archive *archive, struct lj_archive_dataset *list,
                        int capacity)
{
    int count = 0;
    for (int p = 0; p < archive->header.info.parts; p++) {
        const char *name = lj_part_dataset(archive, &archive->part[p]);
        int i = 0;
        while (i < count && strcmp(list[i].name, name) != 0)
            i++;
        if (i == capacity)
            continue;
        if (i == count)
            list[count++] = (struct lj_archive_dataset){.name = name};
        list[i].rows += archive->part[p].rows;
        list[i].files++;
    }
    return count;
}

void lj_archive_part(const struct lj_archive *archive, int64_t i, struct lj_archive_part *part)
{
    const struct lj_part *p = &archive->part[i];
    *part = (struct lj_archive_part){.file = lj_part_file(archive, p),
                                     .dataset = lj_part_dataset(archive, p),
                                     .first_row = p->first_row,
                                     .rows = p->rows,
                                     .fingerprint = p->fingerprint};
}

int64_t lj_archive_row(const struct lj_archive *archive, int64_t i)
{
    return lj_subset_member(&archive->rows, i);
}

void lj_archive_name_row(const struct lj_archive *archive, int64_t row, char *text, size_t capacity)
{
    const struct lj_part *part = &archive->part[lj_archive_part_of(archive, row)];
    snprintf(text, capacity, "%s:%s row %lld", lj_part_file(archive, part),
             lj_part_dataset(archive, part), (long long)(row - part->first_row));
}

bool lj_stretch_has_limits(enum lj_data_stretch stretch)
{
    return stretch == LJ_DATA_STRETCH_ASINH || stretch == LJ_DATA_STRETCH_PERCENTILE;
}

const struct lj_limits *lj_archive_limits(const struct lj_archive *archive)
{
    return lj_stretch_has_limits(archive->header.stretch) ? &archive->header.limits : NULL;
}

void lj_archive_set_limits(struct lj_archive *archive, const struct lj_limits *limits)
{
    archive->header.limits = *limits;
    archive->have_statistics = false;
}

bool lj_archive_selects(const struct lj_archive *archive, int64_t row)
{
    return lj_subset_before(&archive->rows, row + 1) > lj_subset_before(&archive->rows, row);
}

struct lj_archive_options lj_archive_options_of(const struct lj_config *c)
{
    return (struct lj_archive_options){.files = c->data_archive,
                                       .images = c->data_images,
                                       .labels = c->data_labels,
                                       .where = c->data_where,
                                       .unlabelled = &c->data_unlabelled,
                                       .axes = c->data_axes,
                                       .stretch = c->data_stretch,
                                       .stretch_scale = c->data_stretch_scale,
                                       .nan = c->data_nan,
                                       .blank = c->data_blank,
                                       .size = c->data_size,
                                       .full_scale = c->data_full_scale};
}
