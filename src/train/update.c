/* SPDX-License-Identifier: Apache-2.0 */
/* From summed gradients to new weights: each rank updates its shard of the parameters, wherever
 * lanes are. */
#include "train/trainer.h"

void lj_pass_finish_gradient(struct lj_trainer *t, struct lj_step_report *report)
{
    int64_t nonfinite = 0;
    lj_gradsync_finish(t->gradsync, &nonfinite);
    report->nonfinite += nonfinite;
}

void lj_pass_update(struct lj_trainer *t, bool want_norm, struct lj_step_report *report)
{
    float *gradient = lj_gradsync_shard(t->gradsync)->gradient;
    double clip = t->config.optim_clip, scale = 1;
    lj_phase_begin(LJ_PHASE_OPTIMISER);
    lj_optim_statistics(t->optim, t->weights, gradient);
    if (want_norm || clip > 0)
        report->grad_norm = lj_gradsync_norm(t->gradsync);
    if (clip > 0 && report->grad_norm > clip)
        scale = clip / report->grad_norm;
    lj_optim_step(t->optim, t->step + 1, report->lr, scale, t->weights, gradient);
    lj_trainer_update_average(t);
    lj_phase_end();
}

void lj_trainer_pack_weights(struct lj_trainer *t)
{
    if (t->packed)
        lj_params_pack(&t->model->params, t->bf16, t->weights, t->packed, t->workers);
    if (t->target && t->target_packed)
        lj_params_pack(&t->model->params, t->bf16, t->target, t->target_packed, t->workers);
}

void lj_pass_gather(struct lj_trainer *t)
{
    lj_phase_begin(LJ_PHASE_WEIGHT_COMM);
    lj_gradsync_gather_start(t->gradsync, t->weights);
    t->gathers = true;
    lj_phase_end();
}

void lj_pass_weights(struct lj_trainer *t)
{
    if (!t->gathers)
        return;
    lj_phase_begin(LJ_PHASE_WEIGHT_COMM);
    lj_gradsync_gather_finish(t->gradsync);
    lj_phase_end();
    lj_trainer_update_target(t); /* these compute: they are no communication's time */
    lj_trainer_pack_weights(t);
    t->gathers = false;
}
