/* SPDX-License-Identifier: Apache-2.0 */
/* Linear warm-up, then a cosine: PyTorch's LinearLR from 1 % on, followed by CosineAnnealingLR. */
#include "optim/optim.h"

#include <math.h>

double lj_schedule_at(const struct lj_schedule *s, int64_t step)
{
    double t = (double)step, rest = (double)s->steps - s->warmup_steps;
    if (t < s->warmup_steps)
        return s->peak * (0.01 + 0.99 * t / s->warmup_steps);
    if (rest <= 0)
        return s->peak;
    double done = fmin((t - s->warmup_steps) / rest, 1);
    return s->floor + (s->peak - s->floor) * 0.5 * (1 + cos(M_PI * done));
}
