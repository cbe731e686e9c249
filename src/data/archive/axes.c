/* SPDX-License-Identifier: Apache-2.0 */
/* The order of the axes. Said by data.axes, or by the shape:
 *   three axes                                                       (N, H, W)
 *   the last at most 64 and below both before it, which are alike    (N, H, W, C)
 *   the second at most 64 and below both after it, which are alike   (N, C, H, W)
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

int lj_axes_decide(struct lj_archive_header *header, enum lj_data_axes wanted, const hsize_t *dim,
                   int dims, const char *where)
{
    char shape[256];
    lj_hdf5_shape_text(dim, dims, shape, sizeof shape);
    for (int i = 1; i < dims; i++)
        if (dim[i] == 0 || dim[i] > 1 << 20)
            return lj_fail(LJ_ERR_DATA, "%s: expected images, found shape %s", where, shape);
    if (wanted == LJ_DATA_AXES_AUTO)
        LJ_TRY(decide_by_shape(header, dim, dims, shape, where));
    else
        LJ_TRY(decide_by_user(header, wanted, dims, shape, where));
    int channel_axis = header->axes == LJ_DATA_AXES_NHWC ? 3 : 1,
        height_axis = header->axes == LJ_DATA_AXES_NCHW ? 2 : 1;
    hsize_t channels = header->axes == LJ_DATA_AXES_NHW ? 1 : dim[channel_axis];
    if (channels > LJ_CHANNELS_MAX)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected at most %d channels, found shape %s as %s; check "
                       "data.axes",
                       where, LJ_CHANNELS_MAX, shape, lj_data_axes_word(header->axes));
    header->info.channels = (int)channels;
    header->info.stored_height = (int64_t)dim[height_axis];
    header->info.stored_width = (int64_t)dim[height_axis + 1];
    snprintf(header->axes_text, sizeof header->axes_text, "%s", lj_data_axes_word(header->axes));
    return LJ_OK;
}
