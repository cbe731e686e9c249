/* SPDX-License-Identifier: Apache-2.0 */
/* Private to data. What the loader needs of the sampler beyond the public functions. */
#ifndef LEJEPA_DATA_SAMPLER_H
#define LEJEPA_DATA_SAMPLER_H

#include "data/data.h"

/* Where the sample at a position of a lane's stream lies among the indices of its window, as
 * lj_sampler_window lists them: 0 .. length - 1. Local; one thread at a time. */
int64_t lj_sampler_place(struct lj_sampler *sampler, int64_t lane, int64_t position);

#endif
