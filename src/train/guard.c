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

/* Rank 0 computes, all hear: LAPACK on another processor may round to the other side of the limit,
 * and then some ranks would stop and the others wait for them. Collective. */
static int decide(struct lj_trainer *t, const float *all, int64_t width, double *rank)
{
    struct lj_spectrum spectrum = {0};
    int status = LJ_OK;
    lj_root_section_begin(t->comm);
    if (lj_comm_is_root(t->comm)) {
        spectrum.eigenvalues = lj_alloc_array(width, sizeof(double), "guard");
        status = spectrum.eigenvalues ? lj_spectrum_of(all, t->config.batch_size, width, &spectrum)
                                      : LJ_ERR_RESOURCE;
        lj_free(spectrum.eigenvalues);
    }
    LJ_TRY(lj_root_section_end(t->comm, status));
    *rank = spectrum.effective_rank;
    lj_broadcast(t->comm, rank, sizeof *rank, 0);
    return LJ_OK;
}

/* Collective. */
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
    return decide(t, all, width, rank);
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
        status = measure(t, all, bytes, &rank);
    lj_free(all);
    lj_free(bytes);
    if (status == LJ_OK && rank < least)
        status = lj_fail(LJ_ERR_NUMERIC,
                         "step %lld: collapse: the projections' effective rank is %.2f, below "
                         "guard.collapse %g; %s or lower optim.lr",
                         (long long)t->step, rank, least, t->objective_kind->against_collapse);
    return status;
}
