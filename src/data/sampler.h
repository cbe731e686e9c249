/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. What the loader needs of the sampler beyond the public functions. */
#ifndef LEJEPA_DATA_SAMPLER_H
#define LEJEPA_DATA_SAMPLER_H

#include "data/data.h"

/* Place, in the reading order of its window, of the position-th sample of a lane. */
int64_t lj_sampler_place(struct lj_sampler *sampler, int64_t lane, int64_t position);

#endif
