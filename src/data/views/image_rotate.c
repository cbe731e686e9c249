/* SPDX-License-Identifier: Apache-2.0 */
/* Crop, resize and rotation by any angle. First the box's surroundings, as far as they come into
 * the rotated view, are resized with antialiasing by the scale of the view; then positions of that
 * are interpolated, bilinear. So the corners of a view hold what lies there in the image. Where the
 * image ends it is reflected: a border of one colour would show the angle, and be all that views
 * of one angle have in common. */
#include "data/views/image.h"

#include "kernels/kernels.h"

#include <math.h>

/* The surroundings are at most twice as large as the view, along each axis. */
int64_t lj_image_rotate_scratch(int64_t height, int64_t width, int64_t size)
{
    return 4 * size * size + 2 * lj_image_resize_scratch(1, height, width, size, size);
}

/* The pixels from first to end of `pixels` that lie within `reach` of the centre. */
static void surround(double centre, double reach, int64_t pixels, int64_t *first, int64_t *count)
{
    *first = lj_max_i64((int64_t)floor(centre - reach), 0);
    *count = lj_min_i64((int64_t)ceil(centre + reach), pixels) - *first;
}

/* Positions along an axis: of the box's pixels from `low` on, `length` long, in surroundings of
 * `count` pixels from `first` on that were resized to `resized`.
 *   along, across  in  how far a step right and a step down in the view goes along the axis */
static void map_axis(float position[3], int64_t low, int64_t length, int64_t first, int64_t count,
                     int64_t resized, int64_t size, double along, double across)
{
    double zoom = (double)resized / (double)count, step = (double)length / (double)size;
    double centre = (double)(low - first) + (double)length / 2;
    double corner = -((double)size - 1) / 2 * (along + across) * step;
    position[0] = (float)(zoom * (centre + corner) - 0.5);
    position[1] = (float)(zoom * along * step);
    position[2] = (float)(zoom * across * step);
}

/* Pixels that surroundings of `count` pixels are resized to: at the view's scale, rounded up. */
static int64_t resized_pixels(int64_t count, int64_t length, int64_t size)
{
    return lj_min_i64((count * size + length - 1) / length, 2 * size);
}

void lj_image_surroundings(struct lj_image_box *around, const struct lj_image_box *box,
                           double degrees, int64_t height, int64_t width)
{
    const double radians = degrees * 0.017453292519943295;
    double reach = (fabs(cos(radians)) + fabs(sin(radians))) / 2;
    surround((double)box->top + (double)box->height / 2, reach * (double)box->height, height,
             &around->top, &around->height);
    surround((double)box->left + (double)box->width / 2, reach * (double)box->width, width,
             &around->left, &around->width);
}

void lj_image_resize_rotated(float *out, const float *image, int channels, int64_t height,
                             int64_t width, const struct lj_image_box *box, int64_t size,
                             double degrees, float *scratch)
{
    const double radians = degrees * 0.017453292519943295, c = cos(radians), s = sin(radians);
    struct lj_image_box around;
    lj_image_surroundings(&around, box, degrees, height, width);
    struct lj_rotation rotation = {.height = resized_pixels(around.height, box->height, size),
                                   .width = resized_pixels(around.width, box->width, size)};
    map_axis(rotation.row, box->top, box->height, around.top, around.height, rotation.height, size,
             s, c);
    map_axis(rotation.column, box->left, box->width, around.left, around.width, rotation.width,
             size, c, -s);
    float *plane = scratch, *rest = scratch + 4 * size * size;
    for (int k = 0; k < channels; k++) {
        lj_image_resize(plane, image + k * height * width, 1, height, width, around.top,
                        around.left, around.height, around.width, rotation.height, rotation.width,
                        rest);
        lj_kernels()->rotate(out + k * size * size, plane, &rotation, size, size);
    }
}
