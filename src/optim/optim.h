/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. optim: AdamW on this rank's shard of the parameters, and the learning rate's schedule. All local. */
#ifndef LEJEPA_OPTIM_OPTIM_H
#define LEJEPA_OPTIM_OPTIM_H

#include "base/base.h"
#include "nn/nn.h"

/* Linear warm-up from 1 % of the peak, then a cosine to the floor at the last step. */
struct lj_schedule {
    double peak, floor;
    double warmup_steps;
    int64_t steps; /* of the whole run */
};
/* Learning rate of step (0, 1, ...). */
double lj_schedule_at(const struct lj_schedule *schedule, int64_t step);

/* A run of elements that are treated alike. */
enum lj_treatment { LJ_TREAT_DECAY, LJ_TREAT_NO_DECAY, LJ_TREAT_STATISTIC };
struct lj_optim_range {
    int64_t shard, weights, count; /* first element in the shard and in the weights; length */
    enum lj_treatment treatment;
};

struct lj_optim_config {
    double beta1, beta2, eps, weight_decay;
    bool decay_matrices_only;  /* biases, norms, tokens and positions are not decayed */
    double statistic_momentum; /* 0.1: weight of the newest batch statistic */
    int64_t lanes;             /* G: a statistic's gradient is the sum over lanes */
};

struct lj_optim;
/* How a shard lies: its part of bucket b is elements [first[b], first[b] + count[b]) of the parameters and lies at
 * offset[b] of the shard and at weights[b] of this rank's array of weights; elements is the shard's
 * length. Borrowed until create returns. */
struct lj_shard_layout {
    int buckets;
    const int64_t *first, *count, *offset, *weights;
    int64_t elements;
};
int lj_optim_create(struct lj_optim **optim, const struct lj_params *params,
                    const struct lj_shard_layout *shards,
                    const struct lj_optim_config *config) LJ_MUST_USE;
void lj_optim_destroy(struct lj_optim *optim);

/* Running statistics: r <- r + momentum (mean over lanes - r); then their gradient is set to 0, so that
 * a norm counts trained parameters only.
 *   weights  in/out, my shards;  gradient  (shard) in/out */
void lj_optim_statistics(struct lj_optim *optim, float *weights, float *gradient);

/* One AdamW step (Loshchilov & Hutter 2019) of the trained parameters in my shards.
 *   step      in  1 for the first update
 *   lr        in  learning rate;  scale  in  factor on the gradient (clipping), 1 for none
 *   gradient  (shard) in/out: scaled in place */
void lj_optim_step(struct lj_optim *optim, int64_t step, double lr, double scale, float *weights,
                   float *gradient);

/* The moments (shard each), to be saved and restored: 0 first, 1 second. Owned by optim. */
float *lj_optim_moment(struct lj_optim *optim, int which);

#endif
