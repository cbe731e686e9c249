/* SPDX-License-Identifier: Apache-2.0 */
/* Linear warm-up, then a cosine: PyTorch's LinearLR from 1 % on, followed by CosineAnnealingLR. */
#include "optim/optim.h"

#include <math.h>

struct lj_schedule lj_schedule_of(const struct lj_config *c, int64_t samples)
{
    double epoch = (double)samples / (double)c->batch_size; /* steps */
    int64_t steps = c->train_steps
                        ? c->train_steps
                        : (int64_t)ceil(c->train_epochs * (double)samples / (double)c->batch_size);
    return (struct lj_schedule){.peak = c->optim_lr,
                                .floor =
                                    c->optim_lr_floor < 0 ? c->optim_lr / 1000 : c->optim_lr_floor,
                                .warmup_steps = fmin(c->optim_warmup_epochs * epoch, (double)steps),
                                .steps = steps};
}

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
