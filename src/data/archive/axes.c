/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the axes. Said by data.axes, or by the shape. Four axes:
 *   the last at most 64 and below both before it, which are alike    (N, H, W, C)
 *   the second at most 64 and below both after it, which are alike   (N, C, H, W)
 * Three axes are images without channels, (N, H, W), unless by the same rule they may be one image,
 * (H, W, C) or (C, H, W). A shape alone cannot tell then. If several datasets are joined and their
 * first axes differ, these count images; else data.axes has to say it.
 * Alike: neither is more than four times the other. The rule that decided is told to the user. */
#include "data/archive/archive.h"

#include <stdio.h>
#include <string.h>

static bool alike(hsize_t a, hsize_t b)
{
    return a <= 4 * b && b <= 4 * a;
}

/* Is c the channels of images of h x w? */
static bool is_channels(hsize_t c, hsize_t h, hsize_t w)
{
    return c <= LJ_CHANNELS_MAX && c < h && c < w && alike(h, w);
}

static int decide_by_shape(struct lj_archive_header *header, const hsize_t *dim, int dims,
                           const char *shape, const char *where)
{
    bool last = dims == 4 && is_channels(dim[3], dim[1], dim[2]);
    bool second = dims == 4 && is_channels(dim[1], dim[2], dim[3]);
    char *reason = header->reason_text;
    size_t capacity = sizeof header->reason_text;
    if (dims == 3) {
        header->axes = LJ_DATA_AXES_NHW;
        snprintf(reason, capacity, "three axes: images without channels");
    } else if (last) {
        header->axes = LJ_DATA_AXES_NHWC;
        snprintf(reason, capacity,
                 "the last axis (%llu) is small and below both before it: channels",
                 (unsigned long long)dim[3]);
    } else if (second) {
        header->axes = LJ_DATA_AXES_NCHW;
        snprintf(reason, capacity,
                 "the second axis (%llu) is small and below both after it: channels",
                 (unsigned long long)dim[1]);
    } else {
        return lj_fail(LJ_ERR_DATA,
                       "%s: shape %s leaves open which axis holds the channels; say so by "
                       "data.axes=nhwc or data.axes=nchw",
                       where, shape);
    }
    return LJ_OK;
}

static int decide_by_user(struct lj_archive_header *header, enum lj_data_axes wanted, int dims,
                          const char *shape, const char *where)
{
    const char *letters = lj_data_axes_word(wanted); /* one for each axis */
    header->axes = wanted;
    if (dims != (int)strlen(letters))
        return lj_fail(LJ_ERR_DATA, "%s: data.axes=%s needs %zu axes, found shape %s", where,
                       letters, strlen(letters), shape);
    snprintf(header->reason_text, sizeof header->reason_text, "data.axes says so");
    return LJ_OK;
}

/* Length of the axis that a letter stands for; 1 without such an axis. */
static hsize_t axis_length(const char *letters, char letter, const hsize_t *dim)
{
    const char *at = strchr(letters, letter);
    return at ? dim[at - letters] : 1;
}

bool lj_axes_one_image(enum lj_data_axes axes)
{
    return axes == LJ_DATA_AXES_HWC || axes == LJ_DATA_AXES_CHW;
}

int lj_axes_check_rows(struct lj_archive_header *header, const hsize_t *dim, bool lengths_differ,
                       const char *where)
{
    bool last = is_channels(dim[2], dim[0], dim[1]), first = is_channels(dim[0], dim[1], dim[2]);
    char shape[256];
    lj_hdf5_shape_text(dim, 3, shape, sizeof shape);
    if (!last && !first)
        return LJ_OK;
    if (!lengths_differ)
        return lj_fail(
            LJ_ERR_DATA,
            "%s: shape %s may be %llu images of %llux%llu or one image of %llu channels; "
            "say so by data.axes=nhw or data.axes=%s",
            where, shape, (unsigned long long)dim[0], (unsigned long long)dim[1],
            (unsigned long long)dim[2], (unsigned long long)(last ? dim[2] : dim[0]),
            last ? "hwc" : "chw");
    snprintf(header->reason_text, sizeof header->reason_text,
             "three axes, the first of several lengths: images without channels");
    return LJ_OK;
}

int lj_axes_decide(struct lj_archive_header *header, enum lj_data_axes wanted, const hsize_t *dim,
                   int dims, const char *where)
{
    char shape[256];
    lj_hdf5_shape_text(dim, dims, shape, sizeof shape);
    for (int i = lj_axes_one_image(wanted) ? 0 : 1; i < dims; i++)
        if (dim[i] == 0 || dim[i] > 1 << 20)
            return lj_fail(LJ_ERR_DATA, "%s: expected images, found shape %s", where, shape);
    if (wanted == LJ_DATA_AXES_AUTO)
        LJ_TRY(decide_by_shape(header, dim, dims, shape, where));
    else
        LJ_TRY(decide_by_user(header, wanted, dims, shape, where));
    const char *letters = lj_data_axes_word(header->axes);
    hsize_t channels = axis_length(letters, 'c', dim);
    if (channels > LJ_CHANNELS_MAX)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected at most %d channels, found shape %s as %s; check "
                       "data.axes",
                       where, LJ_CHANNELS_MAX, shape, letters);
    header->info.channels = (int)channels;
    header->info.stored_height = (int64_t)axis_length(letters, 'h', dim);
    header->info.stored_width = (int64_t)axis_length(letters, 'w', dim);
    snprintf(header->axes_text, sizeof header->axes_text, "%s", letters);
    return LJ_OK;
}
