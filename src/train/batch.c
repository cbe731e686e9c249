/* SPDX-License-Identifier: Apache-2.0 */
/* The batch of a step, what the small allreduce says about it, and which sample a nonfinite value
 * came from. */
#include "train/trainer.h"

#include <math.h>

/* Lets new weights move while the loader works: MPI moves them only inside its calls. */
static void wait_for_batch(struct lj_trainer *t)
{
    const double at_once_s = 1e-4;
    while (lj_gradsync_gathering(t->gradsync) && !lj_loader_wait(t->loader, t->step, at_once_s))
        lj_gradsync_progress(t->gradsync);
}

int lj_trainer_next_batch(struct lj_trainer *t)
{
    int status = lj_fault("step", t->step);
    if (status == LJ_OK)
        status = lj_trainer_write_on(t); /* an earlier step's checkpoint */
    lj_phase_begin(LJ_PHASE_WAIT_DATA);
    if (status == LJ_OK && t->loader) {
        wait_for_batch(t);
        status = lj_loader_next(t->loader, t->step, &t->batch);
        if (status == LJ_OK && t->labels)
            lj_trainer_take_labels(t);
    }
    lj_phase_end();
    t->failed = status != LJ_OK;
    return status;
}

/* Of the step's views, which are all made by now. */
static void count_redraws(struct lj_trainer *t)
{
    t->redrawn.step = 0;
    for (int64_t k = 0; k < lj_my_lanes(t); k++)
        t->redrawn.step += t->redraws[k];
    t->redrawn.all += t->redrawn.step;
}

struct lj_redraws lj_trainer_redraws(struct lj_trainer *t)
{
    int64_t sums[] = {t->redrawn.step, t->redrawn.all};
    lj_phase_begin(LJ_PHASE_SMALL_ALLREDUCE);
    lj_sum_exact(t->comm, t->redraws_ledger, sums, 2);
    lj_phase_end();
    return (struct lj_redraws){.step = sums[0], .all = sums[1]};
}

int lj_trainer_agree(struct lj_trainer *t, int local, struct lj_step_report *report)
{
    struct lj_step_message message = {.stop = report->stop, .save = report->save};
    count_redraws(t);
    lj_phase_begin(LJ_PHASE_SMALL_ALLREDUCE);
    int status = lj_objective_reduce(t->objective, local, &message, report->term);
    lj_phase_end();
    LJ_TRY(status);
    report->stop = message.stop;
    report->save = message.save;
    report->nonfinite += message.nonfinite;
    return LJ_OK;
}

/* Row of (rows, width) that holds a value not finite; -1: none. */
static int64_t find_nonfinite(const float *values, int64_t rows, int64_t width)
{
    for (int64_t i = 0; i < rows * width; i++)
        if (!isfinite(values[i]))
            return i / width;
    return -1;
}

/* Row (views x n) of my lane k whose projection is not finite; -1: none. */
static int64_t find_projection(struct lj_trainer *t, int64_t k)
{
    const struct lj_plan *plan = t->plan[LJ_PASS_PROJECTOR];
    struct lj_pass pass = lj_trainer_pass(t, LJ_PASS_PROJECTOR, k, 0);
    return find_nonfinite(lj_plan_value(plan, &pass, lj_plan_net(plan)->count - 1),
                          lj_plan_images(plan), t->model->config.projector.out);
}

/* Likewise of what the target has made of the global views. */
static int64_t find_averaged(struct lj_trainer *t, int64_t k)
{
    int64_t floats = t->averaged ? lj_averaged_floats(t) : 0, rows = t->views[0] * t->n;
    return floats > 0 ? find_nonfinite(t->averaged + k * floats, rows, floats / rows) : -1;
}

/* Names the first of my samples and views that `find` finds.
 *   whose  in  what of them is not finite
 * Collective. */
static int name_first(struct lj_trainer *t, int64_t (*find)(struct lj_trainer *, int64_t),
                      const char *whose)
{
    int status = LJ_OK;
    for (int64_t k = 0; status == LJ_OK && k < lj_my_lanes(t); k++) {
        int64_t row = find(t, k);
        if (row < 0)
            continue;
        char name[1024];
        const struct lj_draw *draw = &t->batch.draws[k * t->n + row % t->n];
        lj_archive_name_row(t->archive, lj_archive_row(t->archive, draw->index), name, sizeof name);
        status = lj_fail(LJ_ERR_NUMERIC,
                         "step %lld: %s of %s, view %lld, is not finite; lower optim.lr "
                         "or set optim.clip, and look at this sample",
                         (long long)t->step, whose, name, (long long)(row / t->n));
    }
    return lj_agree(t->comm, status);
}

int lj_trainer_name_culprit(struct lj_trainer *t)
{
    LJ_TRY(name_first(t, find_projection, "the projection"));
    LJ_TRY(name_first(t, find_averaged, "the target's output (by averaged weights)"));
    /* only sums or gradients were not finite: everybody knows that */
    return lj_fail(LJ_ERR_NUMERIC,
                   "step %lld: the gradient is not finite or out of range; lower optim.lr or "
                   "set optim.clip",
                   (long long)t->step);
}
