/* SPDX-License-Identifier: Apache-2.0 */
/* Selected indices -> images. Consecutive rows of a chunk are read together; then each row is
 * converted, its blank pixels become NaN, and it is checked for NaN, stretched and resized. */
#include "data/archive/archive.h"

#include <string.h>

/* What the caller wants done with each row. */
struct request {
    struct lj_archive *archive; /* borrowed */
    bool plain;                 /* neither check for NaN nor stretch nor resize */
    int64_t floats;             /* of one image */
};

/* blank: in  a blank value that the row holds; NULL: none */
static int check_finite(const struct lj_archive *archive, int64_t row, const float *planes,
                        const double *blank)
{
    const struct lj_archive_info *info = &archive->header.info;
    bool integers = archive->header.element < LJ_ELEMENT_F32;
    if (archive->header.nan == LJ_DATA_NAN_ZERO || (integers && !blank) ||
        lj_all_finite(planes, info->channels * info->stored_height * info->stored_width))
        return LJ_OK;
    char name[2 * LJ_NAME_BYTES];
    lj_archive_name_row(archive, row, name, sizeof name);
    if (blank)
        return lj_fail(LJ_ERR_DATA,
                       "%s: holds pixels of %.10g, the blank value by %s; leave it out by "
                       "data.where, set data.nan=zero, or data.blank=none if it is a measurement",
                       name, *blank, lj_blank_origin(&archive->header));
    return lj_fail(LJ_ERR_DATA,
                   "%s: holds pixels that are not finite; leave it out by data.where, or set "
                   "data.nan=zero",
                   name);
}

static int read_row(const struct request *request, const struct lj_part *part, int64_t row,
                    const unsigned char *stored, struct lj_scratch *scratch, float *image)
{
    struct lj_archive *archive = request->archive;
    bool resizes = !request->plain && lj_archive_resizes(&archive->header.info);
    float *planes = resizes ? scratch->planes : image;
    lj_convert_row(&archive->header, stored, planes);
    int blank = lj_blank_mark(&archive->header, part, stored, planes);
    if (request->plain)
        return LJ_OK;
    LJ_TRY(check_finite(archive, row, planes, blank < 0 ? NULL : &part->blank[blank]));
    lj_stretch_planes(&archive->header, planes);
    if (resizes)
        lj_archive_resize(&archive->header.info, image, planes, scratch->resize);
    return LJ_OK;
}

/* How many selected indices from i on, below end and at most `most`, stand for consecutive rows. */
static int64_t consecutive_rows(const struct lj_archive *archive, int64_t i, int64_t end,
                                int64_t most)
{
    int64_t n = 1, row = lj_archive_row(archive, i);
    while (n < most && i + n < end && lj_archive_row(archive, i + n) == row + n)
        n++;
    return n;
}

static int read_consecutive(const struct request *request, int64_t i, int64_t n, float *images)
{
    struct lj_archive *archive = request->archive;
    int64_t row = lj_archive_row(archive, i), part = lj_archive_part_of(archive, row);
    struct lj_scratch *scratch = NULL;
    const unsigned char *stored = NULL;
    LJ_TRY(lj_rows_read(archive, part, row - archive->part[part].first_row, n, &scratch, &stored));
    int status = LJ_OK;
    for (int64_t k = 0; k < n && status == LJ_OK; k++)
        status = read_row(request, &archive->part[part], row + k,
                          stored + (size_t)k * lj_row_bytes(archive), scratch,
                          images + k * request->floats);
    lj_scratch_release(archive, scratch);
    return status;
}

static int read_all(const struct request *request, int64_t first, int64_t count, float *images)
{
    struct lj_archive *archive = request->archive;
    LJ_CHECK(first >= 0 && count >= 0 && first + count <= archive->header.info.selected,
             "samples %lld + %lld of %lld", (long long)first, (long long)count,
             (long long)archive->header.info.selected);
    for (int64_t i = first, n = 0; i < first + count; i += n) {
        int64_t row = lj_archive_row(archive, i);
        const struct lj_part *part = &archive->part[lj_archive_part_of(archive, row)];
        int64_t within = row - part->first_row;
        int64_t most = lj_rows_at_once(part, within, part->rows - within);
        n = consecutive_rows(archive, i, first + count, most);
        LJ_TRY(read_consecutive(request, i, n, images + (i - first) * request->floats));
    }
    return LJ_OK;
}

int lj_archive_read(struct lj_archive *archive, int64_t first, int64_t count, float *images)
{
    const struct lj_archive_info *info = &archive->header.info;
    struct request request = {.archive = archive,
                              .floats = info->channels * info->height * info->width};
    return read_all(&request, first, count, images);
}

int lj_archive_read_plain(struct lj_archive *archive, int64_t first, int64_t count, float *images)
{
    const struct lj_archive_info *info = &archive->header.info;
    struct request request = {.archive = archive,
                              .plain = true,
                              .floats = info->channels * info->stored_height * info->stored_width};
    return read_all(&request, first, count, images);
}
