/* SPDX-License-Identifier: Apache-2.0 */
/* Settings with which `train` takes an archive as it is, from what a sample of it holds. */
#include "app/app.h"

#include <stdio.h>
#include <string.h>

enum { LARGE = 256, LARGE_TO = 224, PATCH = 8, PATCH_SMALL = 4, SMALL = 48 };

/* A size that patches divide: the stored one, or the nearest below it; large images become 224. */
static int64_t size_for(const struct lj_archive_info *info)
{
    int64_t size = lj_min_i64(info->stored_height, info->stored_width);
    if (size > LARGE)
        return LARGE_TO;
    int64_t patch = size < SMALL ? PATCH_SMALL : PATCH;
    return lj_max_i64(patch, size / patch * patch);
}

/* Do single bright pixels take most of the range of a channel? */
static bool has_long_tails(const struct lj_archive_info *info, const struct lj_pixel_sample *sample)
{
    for (int c = 0; c < info->channels; c++) {
        const double *q = sample->quantile[c];
        double low = q[LJ_PERCENT_1], high = q[LJ_PERCENT_99], body = high - low;
        if (q[LJ_LARGEST] > high + 4 * body || q[LJ_LEAST] < low - 4 * body)
            return true;
    }
    return false;
}

/* The largest power of two of samples that makes a batch, at most `usual`. */
static int64_t batch_for(int64_t selected, int64_t usual)
{
    while (usual > 1 && usual > selected)
        usual /= 2;
    return usual;
}

void lj_propose_config(struct lj_config *proposal, const struct lj_archive *archive,
                       const struct lj_pixel_sample *sample, const struct lj_config *given)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    bool bytes = strcmp(info->type, "u8") == 0 || strcmp(info->type, "i8") == 0;
    int64_t size = size_for(info);
    *proposal = *given;
    if (info->parts == 1)
        snprintf(proposal->data_images, sizeof proposal->data_images, "%s", info->images);
    if (!info->has_labels)
        snprintf(proposal->data_labels, sizeof proposal->data_labels, "none");
    else if (info->parts == 1 && !given->data_labels[0])
        snprintf(proposal->data_labels, sizeof proposal->data_labels, "%s", info->labels);
    if (given->data_axes == LJ_DATA_AXES_AUTO)
        LJ_CHECK(lj_config_set(proposal, "data.axes", info->axes) == LJ_OK, "%s", lj_error_text());
    if (given->data_size == 0 && (size != info->stored_height || size != info->stored_width))
        proposal->data_size = size;
    if (sample->nonfinite > 0)
        proposal->data_nan = LJ_DATA_NAN_ZERO;
    if (given->data_stretch == LJ_DATA_STRETCH_NONE && !bytes && has_long_tails(info, sample))
        proposal->data_stretch = LJ_DATA_STRETCH_PERCENTILE;
    proposal->batch_size = batch_for(info->selected, given->batch_size);
}
