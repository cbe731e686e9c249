/* SPDX-License-Identifier: Apache-2.0 */
/* What others may know of a trainer. */
#include "train/trainer.h"

#include <xxhash.h>

struct lj_trainer_info lj_trainer_info(const struct lj_trainer *t)
{
    struct lj_trainer_info info = {.config = &t->config,
                                   .objective = t->objective_kind,
                                   .model = t->model,
                                   .classes = &t->classes,
                                   .mean = t->mean,
                                   .std = t->std,
                                   .lanes = t->lanes,
                                   .samples_per_lane = t->n,
                                   .views = {t->views[0], t->views[1]},
                                   .workers = t->workers,
                                   .recompute_bytes = t->recompute_bytes,
                                   .clock = t->clock,
                                   .ledger = (struct lj_ledger *)&t->ledger,
                                   .common_bytes = lj_gradsync_common_bytes(t->gradsync),
                                   .warmup_steps = t->schedule.warmup_steps,
                                   .lr_peak = t->schedule.peak,
                                   .lr_floor = t->schedule.floor,
                                   .first_step = t->first_step,
                                   .steps = t->steps,
                                   .averages = lj_averages(t)};
    for (int part = 0; part < LJ_PASS_KINDS; part++)
        info.plan[part] = t->plan[part];
    return info;
}

int64_t lj_trainer_first_step(const struct lj_trainer *t)
{
    return t->first_step;
}

int64_t lj_trainer_steps(const struct lj_trainer *t)
{
    return t->steps;
}

const char *lj_trainer_term(const struct lj_trainer *t, int i)
{
    bool exists = i >= 0 && i < lj_objective_terms(t->objective_kind);
    return exists ? t->objective_kind->term[i].name : NULL;
}

const float *lj_trainer_weights(struct lj_trainer *t)
{
    lj_pass_weights(t);
    return t->weights;
}

uint64_t lj_trainer_hash(struct lj_trainer *t)
{
    lj_pass_weights(t);
    int64_t elements = lj_gradsync_shard(t->gradsync)->weights_elements;
    return XXH3_64bits(t->weights, (size_t)elements * sizeof(float));
}

/* Of a view's forward pass through encoder and projector. */
static double projected_flops(const struct lj_trainer *t, int local)
{
    struct lj_shape view = lj_model_view(t->model, local), row = {1, {t->model->embedding}};
    return (double)lj_net_flops(t->model->net[LJ_NET_ENCODER], &view) +
           (double)lj_net_flops(t->model->net[LJ_NET_PROJECTOR], &row);
}

static double head_flops(const struct lj_trainer *t)
{
    const struct lj_net *net = t->model->net[LJ_NET_HEAD];
    struct lj_shape row = {1, {t->model->config.projector.out}};
    return net ? (double)lj_net_flops(net, &row) : 0;
}

double lj_trainer_step_flops(const struct lj_trainer *t)
{
    double sum = 0;
    for (int part = 0; part < 2; part++) {
        double views = (double)t->views[part], once = views > 0 ? projected_flops(t, part) : 0;
        double target = t->plan[LJ_PASS_TARGET] ? once : 0;
        target += t->plan[LJ_PASS_TARGET_HEAD] ? head_flops(t) : 0;
        sum += views * (3 * (once + head_flops(t)) + (part == LJ_PASS_GLOBAL ? target : 0));
    }
    return sum * (double)t->config.batch_size;
}
