/* SPDX-License-Identifier: Apache-2.0 */
/* data.size: every image is resized to size x size when it is read, antialiased, by the operation
 * that makes views, too. */
#include "data/archive/archive.h"

bool lj_archive_resizes(const struct lj_archive_info *info)
{
    return info->height != info->stored_height || info->width != info->stored_width;
}

int64_t lj_archive_resize_scratch(const struct lj_archive_info *info)
{
    if (!lj_archive_resizes(info))
        return 0;
    return lj_image_resize_scratch(info->channels, info->stored_height, info->stored_width,
                                   info->height, info->width);
}

void lj_archive_resize(const struct lj_archive_info *info, float *image, const float *planes,
                       float *scratch)
{
    lj_image_resize(image, planes, info->channels, info->stored_height, info->stored_width, 0, 0,
                    info->stored_height, info->stored_width, info->height, info->width, scratch);
}
