/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. Everything random about one view but its noise. Private to data; visible so that tests can look at
 * the distribution of crops. */
#ifndef LEJEPA_DATA_VIEW_PLAN_H
#define LEJEPA_DATA_VIEW_PLAN_H

#include "data/views/image.h"

enum lj_jitter { LJ_BRIGHTNESS, LJ_CONTRAST, LJ_SATURATION, LJ_HUE, LJ_JITTERS };

struct lj_view_plan {
    struct lj_image_box crop;
    bool jitter, grey, blur, solarize, flip_x, flip_y;
    enum lj_jitter order[LJ_JITTERS];
    float factor[LJ_JITTERS]; /* by enum lj_jitter */
    double sigma;             /* of the blur, pixels */
    int64_t radius;
    int quarters;                  /* rotation by quarters * 90 degrees */
    float gain[LJ_CHANNELS_MAX];   /* of each channel, about its mean */
    float shift[LJ_CHANNELS_MAX];  /* in standard deviations of the channel */
    bool dropped[LJ_CHANNELS_MAX]; /* set to the channel's mean */
    double noise;                  /* sigma, in standard deviations of the channel */
};

/* Of the blur's kernel, in pixels. Local. */
int64_t lj_view_blur_radius(const struct lj_view_recipe *recipe, double sigma);

/* Draws a view from a stream at its beginning; what the stream gives next is the noise. Local. */
void lj_view_plan(struct lj_view_plan *plan, const struct lj_view_recipe *recipe,
                  struct lj_rng *rng);

#endif
