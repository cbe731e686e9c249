/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data; tests look at the distributions. Everything random about one
 * view but its noise. */
#ifndef LEJEPA_DATA_VIEW_PLAN_H
#define LEJEPA_DATA_VIEW_PLAN_H

#include "data/views/image.h"

enum lj_jitter { LJ_BRIGHTNESS, LJ_CONTRAST, LJ_SATURATION, LJ_HUE, LJ_JITTERS };

struct lj_view_plan {
    struct lj_image_box crop;         /* box of the image */
    bool jitter;                      /* change the colours, in `order` */
    bool grey;                        /* make it grey */
    bool blur;                        /* by sigma and radius */
    bool solarize;                    /* invert values from 0.5 on */
    bool flip_x;                      /* left to right */
    bool flip_y;                      /* top to bottom */
    enum lj_jitter order[LJ_JITTERS]; /* of the changes of colour */
    float factor[LJ_JITTERS];         /* of each; of hue: turns to add */
    double sigma;                     /* of the blur, pixels */
    int64_t radius;                   /* of the blur's kernel, pixels */
    int quarters;                     /* rotation by quarters * 90 degrees */
    float gain[LJ_CHANNELS_MAX];      /* of each channel, about its mean */
    float shift[LJ_CHANNELS_MAX];     /* in standard deviations of the channel */
    bool dropped[LJ_CHANNELS_MAX];    /* set to the channel's mean */
    double noise;                     /* sigma, in standard deviations of the channel */
};

/* Radius of the kernel of a blur, in pixels. Local. */
int64_t lj_view_blur_radius(const struct lj_view_recipe *recipe, double sigma);

/* Draws a view. Local.
 *   rng  in/out  the view's stream, at its beginning; afterwards it gives the noise */
void lj_view_plan(struct lj_view_plan *plan, const struct lj_view_recipe *recipe,
                  struct lj_rng *rng);

#endif
