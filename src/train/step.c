/* SPDX-License-Identifier: Apache-2.0 */
/* One optimisation step on the global batch.                               Collective over t->comm.
 *
 * next batch -> views -> encoder -> projector -> loss (the one small allreduce) -> backward
 * -> gradient reduction (overlapped with backward) -> AdamW -> new weights (which travel while the
 * next step's batch is waited for and its views are made)
 *
 * With memory.recompute=lanes the views are made lane by lane inside lj_pass_encode. A layer that
 * is normalised over the global batch, in the projector (projector.norm=batch) or in the encoder,
 * shares its statistics in further small allreduces: one in lj_pass_project or lj_pass_encode, and
 * one in lj_pass_backward; a predictor's and a target's share theirs likewise. */
#include "train/trainer.h"

#include <math.h>

int lj_trainer_step(struct lj_trainer *t, int64_t step, bool want_norm,
                    struct lj_step_report *report)
{
    t->step = step;
    report->lr = lj_schedule_at(&t->schedule, step);
    report->grad_norm = NAN;
    report->nonfinite = 0;
    int local = lj_trainer_next_batch(t); /* a failure travels with the small allreduce */

    lj_pass_views(t);                           /* V views of each sample, in pixels */
    lj_pass_weights(t);                         /* the last step's new weights have arrived */
    lj_pass_target(t, report);                  /* BYOL, DINO: targets by averaged weights */
    lj_pass_encode(t, report);                  /* embeddings (V, n, C) of each lane */
    lj_pass_project(t, report);                 /* projections (V, n, D) of each lane */
    lj_pass_loss(t);                            /* each lane's share of the objective's sums */
    LJ_TRY(lj_trainer_agree(t, local, report)); /* the one small allreduce */
    if (report->nonfinite > 0)
        return LJ_OK; /* on every rank alike: no update */

    lj_pass_loss_gradient(t);           /* at the projections, again lane by lane */
    lj_pass_backward(t, report);        /* finished buckets of gradients start moving */
    lj_pass_finish_gradient(t, report); /* this rank's shard of their sum has arrived */
    if (report->nonfinite > 0)
        return LJ_OK;

    lj_pass_update(t, want_norm, report); /* AdamW on the shard */
    lj_objective_advance(t->objective);   /* DINO: the centre of the next step's targets */
    lj_pass_gather(t);                    /* new weights start moving to everybody */
    return LJ_OK;
}
