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

static int measure(struct lj_trainer *t, float *all, int64_t *bytes, double *rank)
{
    int64_t width = t->model->config.projector.out, first, end;
    for (int r = 0; r < t->comm->size; r++) {
        lj_lanes_of_rank(t->lanes, t->comm->size, r, &first, &end);
        bytes[r] = (end - first) * t->n * width * (int64_t)sizeof(float);
    }
    float *mine = all + t->first_lane * t->n * width;
    copy_projections(t, mine);
    lj_all_gather_bytes(t->comm, mine, all, bytes);
    struct lj_spectrum spectrum = {.eigenvalues = lj_alloc_array(width, sizeof(double), "guard")};
    int status = spectrum.eigenvalues ? lj_spectrum_of(all, t->config.batch_size, width, &spectrum)
                                      : LJ_ERR_RESOURCE;
    *rank = spectrum.effective_rank;
    lj_free(spectrum.eigenvalues);
    return status;
}

int lj_trainer_guard(struct lj_trainer *t, double least, bool now)
{
    if (least <= 0 || !now)
        return LJ_OK;
    double rank = 0;
    int64_t floats = t->config.batch_size * t->model->config.projector.out;
    float *all = lj_alloc_array(floats, sizeof *all, "guard");
    int64_t *bytes = lj_alloc_array(t->comm->size, sizeof *bytes, "guard");
    int status = lj_agree(t->comm, all && bytes ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = lj_agree(t->comm, measure(t, all, bytes, &rank));
    lj_free(all);
    lj_free(bytes);
    if (status == LJ_OK && rank < least)
        status = lj_fail(LJ_ERR_NUMERIC,
                         "step %lld: collapse: the projections' effective rank is %.2f, below "
                         "guard.collapse %g; %s or lower optim.lr",
                         (long long)t->step, rank, least, t->objective_kind->against_collapse);
    return status;
}
