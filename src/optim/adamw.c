/* SPDX-License-Identifier: Apache-2.0 */
/* AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019), as PyTorch computes it:
 *   w <- w (1 - lr decay)    m <- b1 m + (1 - b1) g    v <- b2 v + (1 - b2) g^2
 *   w <- w - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
 * where t counts steps from the first one that has a gradient.
 * It works element by element, so bits do not depend on which rank owns an element. */
#include "optim/optim.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

struct lj_optim {
    struct lj_optim_config config; /* a copy */
    struct lj_optim_range *range;  /* (ranges) owned */
    int ranges;                    /* of this rank's shard */
    int capacity;                  /* of range */
    float *moment[2];              /* (shard) each, owned */
};

/* Elements that a thread updates at a time: a multiple of a cache line. */
enum { CHUNK = 1 << 14 };

static enum lj_treatment treatment_of(const struct lj_optim *o, const struct lj_param *param)
{
    if (param->role == LJ_ROLE_STATISTIC)
        return LJ_TREAT_STATISTIC;
    return o->config.decay_matrices_only && !param->matrix ? LJ_TREAT_NO_DECAY : LJ_TREAT_DECAY;
}

/* Adds the range of a parameter that lies in this rank's shard of a bucket, if there is one. */
static void add_overlap(struct lj_optim *o, const struct lj_param *param,
                        const struct lj_shard_layout *shards, int bucket)
{
    int64_t first = shards->first[bucket], end = first + shards->count[bucket];
    int64_t low = lj_max_i64(first, param->offset);
    int64_t high = lj_min_i64(end, param->offset + param->count);
    if (low >= high)
        return;
    LJ_CHECK(o->ranges < o->capacity, "more ranges than tensors and shards allow");
    o->range[o->ranges++] =
        (struct lj_optim_range){.shard = shards->offset[bucket] + low - first,
                                .weights = shards->weights[bucket] + low - first,
                                .count = high - low,
                                .lr = bucket < o->config.encoder_buckets ? o->config.encoder_lr : 1,
                                .held = bucket >= o->config.free_buckets,
                                .treatment = treatment_of(o, param)};
}

static int build(struct lj_optim *o, const struct lj_params *params,
                 const struct lj_shard_layout *shards)
{
    int count = shards->buckets;
    o->capacity = params->count + count;
    o->range = lj_alloc_array(o->capacity, sizeof *o->range, "optimiser");
    for (int i = 0; i < 2; i++)
        o->moment[i] = lj_alloc_array(shards->elements, sizeof(float), "optimiser moments");
    if (!o->range || !o->moment[0] || !o->moment[1])
        return LJ_ERR_RESOURCE;
    for (int b = 0; b < count; b++)
        for (int p = 0; p < params->count; p++)
            add_overlap(o, &params->list[p], shards, b);
    return LJ_OK;
}

int lj_optim_create(struct lj_optim **optim, const struct lj_params *params,
                    const struct lj_shard_layout *shards, const struct lj_optim_config *config)
{
    struct lj_optim *o = lj_alloc(sizeof *o, "optimiser");
    if (!o)
        return LJ_ERR_RESOURCE;
    o->config = *config;
    int status = build(o, params, shards);
    if (status == LJ_OK)
        *optim = o;
    else
        lj_optim_destroy(o);
    return status;
}

void lj_optim_destroy(struct lj_optim *optim)
{
    if (!optim)
        return;
    lj_free(optim->range);
    lj_free(optim->moment[0]);
    lj_free(optim->moment[1]);
    lj_free(optim);
}

void lj_optim_statistics(struct lj_optim *optim, float *weights, float *gradient)
{
    float momentum = (float)optim->config.statistic_momentum;
    float share = 1.0f / (float)optim->config.lanes;
    for (int s = 0; s < optim->ranges; s++) {
        const struct lj_optim_range *part = &optim->range[s];
        if (part->lr == 0)
            memset(gradient + part->shard, 0, (size_t)part->count * sizeof *gradient);
        if (part->treatment != LJ_TREAT_STATISTIC || part->lr == 0)
            continue;
        float *running = weights + part->weights, *sum = gradient + part->shard;
        for (int64_t i = 0; i < part->count; i++) {
            running[i] += momentum * (sum[i] * share - running[i]);
            sum[i] = 0;
        }
    }
}

/* Updates elements [at, at + CHUNK) of a range, or as many as there are. */
static void step_chunk(struct lj_optim *o, const struct lj_optim_range *part, int64_t at,
                       const struct lj_adamw_factors *factors, float scale, float *weights,
                       float *gradient)
{
    int64_t count = lj_min_i64(CHUNK, part->count - at), shard = part->shard + at;
    float *g = gradient + shard;
    for (int64_t i = 0; scale != 1 && i < count; i++)
        g[i] *= scale;
    lj_kernels()->adamw(weights + part->weights + at, o->moment[0] + shard, o->moment[1] + shard, g,
                        count, factors);
}

/* All but learning rate and decay.
 *   t  in  1 for the first step with a gradient */
static struct lj_adamw_factors factors_of(const struct lj_optim_config *c, int64_t t)
{
    return (struct lj_adamw_factors){.beta1 = (float)c->beta1,
                                     .beta2 = (float)c->beta2,
                                     .eps = (float)c->eps,
                                     .correct1 = (float)(1 / (1 - pow(c->beta1, (double)t))),
                                     .correct2 = (float)(1 / (1 - pow(c->beta2, (double)t)))};
}

void lj_optim_step(struct lj_optim *optim, int64_t step, double lr, double scale, float *weights,
                   float *gradient)
{
    const struct lj_optim_config *c = &optim->config;
    for (int s = 0; s < optim->ranges; s++) {
        const struct lj_optim_range *part = &optim->range[s];
        if (part->treatment == LJ_TREAT_STATISTIC || part->lr == 0)
            continue;
        struct lj_adamw_factors factors =
            factors_of(c, lj_max_i64(step - (part->held ? c->held_steps : 0), 1));
        factors.lr = (float)(part->lr * lr);
        factors.decay = part->treatment == LJ_TREAT_DECAY ? (float)c->weight_decay : 0;
#pragma omp parallel for schedule(static) if (part->count > 4 * CHUNK)
        for (int64_t at = 0; at < part->count; at += CHUNK)
            step_chunk(optim, part, at, &factors, (float)scale, weights, gradient);
    }
}

void lj_optim_hold(struct lj_optim *optim, int64_t steps)
{
    optim->config.held_steps = steps;
}

float *lj_optim_moment(struct lj_optim *optim, int which)
{
    return optim->moment[which];
}
