/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data; tests look at the distributions. Drawing a struct lj_view_plan, which is
 * everything random about one view but its noise. */
#ifndef LEJEPA_DATA_VIEW_PLAN_H
#define LEJEPA_DATA_VIEW_PLAN_H

#include "data/views/image.h"

/* Radius of the kernel of a blur, in pixels. Local. */
int64_t lj_view_blur_radius(const struct lj_view_recipe *recipe, double sigma);

/* Draws a view from its stream. Local.
 *   rng  in/out  the view's stream, at its beginning; afterwards it gives the noise */
void lj_view_plan(struct lj_view_plan *plan, const struct lj_view_recipe *recipe,
                  struct lj_rng *rng);

#endif
