/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. optim: AdamW on this rank's shard of the parameters, the running average of
 * the weights, and the schedule of the learning rate. All functions are local. */
#ifndef LEJEPA_OPTIM_OPTIM_H
#define LEJEPA_OPTIM_OPTIM_H

#include "lejepa/config.h"

#include "base/base.h"
#include "nn/nn.h"

/* Linear warm-up from 1 % of the peak, then a cosine to the floor at the last step. */
struct lj_schedule {
    double peak;         /* learning rate at the end of the warm-up */
    double floor;        /* learning rate at the last step */
    double warmup_steps; /* may be a fraction; 0: none */
    int64_t steps;       /* of the whole run */
};
/* That of a run on `samples` selected samples: peak, floor, warm-up and length by the settings. */
struct lj_schedule lj_schedule_of(const struct lj_config *config, int64_t samples);
/* The learning rate of a step (0, 1, ...). */
double lj_schedule_at(const struct lj_schedule *schedule, int64_t step);

/* What happens to an element: trained with weight decay, trained without, or a
 * running statistic. */
enum lj_treatment { LJ_TREAT_DECAY, LJ_TREAT_NO_DECAY, LJ_TREAT_STATISTIC };
/* A range of consecutive elements of one treatment. */
struct lj_optim_range {
    int64_t shard;   /* its first element in the shard (gradient, moments) */
    int64_t weights; /* its first element in this rank's array of weights */
    int64_t count;   /* elements */
    double lr;       /* their learning rate, in units of that of the step */
    bool held;       /* its gradient is 0 in the first held_steps */
    enum lj_treatment treatment;
};

struct lj_optim_config {
    double beta1;              /* of the first moment */
    double beta2;              /* of the second moment */
    double eps;                /* added to the root of the second moment */
    double weight_decay;       /* multiplied by the learning rate */
    bool decay_matrices_only;  /* biases, norms, tokens and positions are not decayed */
    int encoder_buckets;       /* the first so many buckets are the encoder's */
    double encoder_lr;         /* its learning rate, in units of that of the step; 0: it, and its
                                  running statistics, stay as they are */
    int64_t held_steps;        /* in the first so many steps the gradient of the last buckets is 0;
                                  their moments, and so bias correction, begin behind them */
    int free_buckets;          /* the first so many buckets are not held */
    double statistic_momentum; /* weight of the newest batch statistic in the running one */
    int64_t lanes;             /* G: the statistics of all lanes are summed, and divided by this */
};

/* How this rank's shard of the parameters lies in memory. Each bucket of parameters has a shard on
 * this rank; the arrays that hold the shard have these one behind another. */
struct lj_shard_layout {
    int buckets;
    const int64_t *first;   /* (buckets) first element of the parameters in the bucket's shard */
    const int64_t *count;   /* (buckets) its elements; may be 0 */
    const int64_t *offset;  /* (buckets) where they begin in the gradient and in the moments */
    const int64_t *weights; /* (buckets) where they begin in this rank's array of weights */
    int64_t elements;       /* length of the shard: of the gradient and of each moment */
};

struct lj_optim;
/* Creates an optimiser with moments of zero. Local.
 *   optim   out  owned by the caller
 *   params  in   borrowed during the call, as shards and config are
 * Errors: LJ_ERR_RESOURCE. Memory: two floats for each element of the shard. */
int lj_optim_create(struct lj_optim **optim, const struct lj_params *params,
                    const struct lj_shard_layout *shards,
                    const struct lj_optim_config *config) LJ_MUST_USE;
void lj_optim_destroy(struct lj_optim *optim); /* accepts NULL */

/* Updates the running statistics r in this rank's shard: r <- r + momentum (mean over lanes - r).
 * Then sets their gradient to 0, and that of an encoder that stays as it is, so that a norm of the
 * gradient counts trained parameters only.
 * Local.
 *   weights   in/out  this rank's array of weights
 *   gradient  in/out  (shard) of a statistic: the sum of the lanes' values */
void lj_optim_statistics(struct lj_optim *optim, float *weights, float *gradient);

/* One update by AdamW of the trained parameters in this rank's shard. Local; OpenMP threads share
 * it.
 *   step      in      1 for the first update
 *   lr        in      learning rate
 *   scale     in      factor on the gradient, for clipping; 1: none
 *   weights   in/out  this rank's array of weights
 *   gradient  in/out  (shard) scaled in place */
void lj_optim_step(struct lj_optim *optim, int64_t step, double lr, double scale, float *weights,
                   float *gradient);

/* The decay of the running average in an update: `decay`, less in the first ones.
 *   step  in  0 for the first update */
double lj_average_decay(double decay, int64_t step);
/* The same of the average that is an objective's target: from `momentum` in the first step to 1 at
 * the end of `steps`, by half a cosine. */
double lj_target_decay(double momentum, int64_t step, int64_t steps);
/* One update of the running average of all parameters in this rank's shard, running statistics
 * included: average <- average + (1 - decay) (weights - average). It works element by element.
 * Local; OpenMP threads share it.
 *   weights  in      this rank's array of weights
 *   average  in/out  (shard) */
void lj_average_update(const struct lj_shard_layout *shards, double decay, const float *weights,
                       float *average);

/* Another held_steps than at creation, for a run that goes on. Local. */
void lj_optim_hold(struct lj_optim *optim, int64_t steps);

/* The first (which = 0) or second (1) moment, (shard), to be saved and restored. Owned by optim. */
float *lj_optim_moment(struct lj_optim *optim, int which);

#endif
