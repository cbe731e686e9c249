/* SPDX-License-Identifier: Apache-2.0 */
/* One optimisation step on the global batch.                                Collective over t->comm.
 *
 * next batch -> views -> encoder -> projector -> LeJEPA loss (the one small allreduce) -> backward
 * -> gradient reduction (overlapped with backward) -> AdamW -> new weights */
#include "train/trainer.h"

#include <math.h>

/* The shard of summed gradients becomes new weights, wherever lanes are. */
static void update(struct lj_trainer *t, bool want_norm, struct lj_step_report *report)
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
    lj_phase_end();
    lj_phase_begin(LJ_PHASE_WEIGHT_COMM);
    lj_gradsync_gather(t->gradsync, t->weights);
    lj_trainer_pack_weights(t);
    lj_phase_end();
}

int lj_trainer_step(struct lj_trainer *t, int64_t step, bool want_norm,
                    struct lj_step_report *report)
{
    int64_t nonfinite = 0;
    report->grad_norm = NAN;
    report->lr = lj_schedule_at(&t->schedule, step);
    t->step = step;
    int local = lj_trainer_next_batch(t); /* a failure travels with the reduction */

    lj_pass_encode(t);              /* embeddings (V, n, C) of each lane */
    lj_pass_project(t, &nonfinite); /* projections (V, n, D) */
    lj_lejepa_begin(t->loss, step);
    lj_pass_loss(t);
    LJ_TRY(lj_trainer_agree(t, local, nonfinite, report)); /* the one small allreduce */
    if (report->nonfinite > 0)
        return LJ_OK; /* on every rank alike: no update */

    lj_pass_loss_gradient(t);
    lj_pass_backward(t, &nonfinite); /* finished buckets start moving */
    lj_gradsync_finish(t->gradsync, &report->nonfinite);
    report->nonfinite += nonfinite;
    if (report->nonfinite == 0)
        update(t, want_norm, report);
    return LJ_OK;
}
