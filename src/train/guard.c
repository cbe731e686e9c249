/* SPDX-License-Identifier: Apache-2.0 */
/* The guard against collapse: the effective rank of the first view's projections of the global
 * batch. */
#include "train/trainer.h"

#include "eval/eval.h"

#include <string.h>

/* My lanes' projections of view 0, one lane after the other. */
static void copy_projections(struct lj_trainer *t, float *mine)
{
    const struct lj_plan *plan = t->plan[LJ_PASS_PROJECTOR];
    int64_t count = t->n * t->model->config.projector.out;
    for (int64_t k = 0; k < lj_my_lanes(t); k++) {
        struct lj_pass pass = lj_trainer_pass(t, LJ_PASS_PROJECTOR, k, 0);
        memcpy(mine + k * count, lj_plan_value(plan, &pass, lj_plan_net(plan)->count - 1),
               (size_t)count * sizeof *mine);
    }
}

/* The effective rank, the same on every rank. Collective. */
static int measure(struct lj_trainer *t, double *rank)
{
    struct lj_features x = {
        .rows = lj_my_lanes(t) * t->n, .width = t->model->config.projector.out, .block = t->n};
    float *mine = lj_alloc_array(x.rows * x.width, sizeof *mine, "guard");
    struct lj_spectrum spectrum = {.eigenvalues = lj_alloc_array(x.width, sizeof(double), "guard")};
    int status = lj_agree(t->comm, mine && spectrum.eigenvalues ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        copy_projections(t, mine);
        x.values = mine;
        status = lj_spectrum_of(t->comm, &x, &spectrum);
        *rank = spectrum.effective_rank;
    }
    lj_free(mine);
    lj_free(spectrum.eigenvalues);
    return status;
}

int lj_trainer_guard(struct lj_trainer *t, double least, bool now)
{
    if (least <= 0 || !now)
        return LJ_OK;
    double rank = 0;
    int status = measure(t, &rank);
    if (status == LJ_OK && rank < least)
        status = lj_fail(LJ_ERR_NUMERIC,
                         "step %lld: collapse: the projections' effective rank is %.2f, below "
                         "guard.collapse %g; %s or lower optim.lr",
                         (long long)t->step, rank, least, t->objective_kind->against_collapse);
    return status;
}
