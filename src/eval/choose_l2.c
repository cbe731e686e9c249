/* SPDX-License-Identifier: Apache-2.0 */
/* The strength of a linear probe's L2 penalty, by the accuracy on a tenth of each class that is
 * held out of the training rows: test rows have no say. From strong to weak, each fit goes on from
 * where the one before it ended. */
#include "eval/probe.h"

/* Iterations of one fit: the choice needs predictions, not digits of the loss. */
enum { ITERATIONS = 300, SHARE = 10 };

const double lj_l2_grid[LJ_L2_GRID] = {1.0,  0.3,  0.1,  0.03, 0.01, 3e-3,
                                       1e-3, 3e-4, 1e-4, 3e-5, 1e-5};

int lj_probe_try_l2(struct lj_probe *probe, const uint8_t *known, int64_t right[LJ_L2_GRID])
{
    struct lj_probe_result result;
    int32_t *predicted = lj_alloc_array(probe->rows, sizeof *predicted, "linear probe");
    int status = lj_agree(probe->comm, predicted ? LJ_OK : LJ_ERR_RESOURCE);
    lj_probe_forget(probe);
    for (int g = 0; g < LJ_L2_GRID && status == LJ_OK; g++) {
        status = lj_probe_fit(probe, known, lj_l2_grid[g], ITERATIONS, &result);
        if (status != LJ_OK)
            break;
        lj_probe_predict(probe, probe->problem.x, predicted);
        right[g] = 0;
        for (int64_t i = 0; i < probe->rows; i++)
            right[g] += !known[i] && predicted[i] == probe->classes.member[i];
    }
    lj_free(predicted);
    return status;
}

/* A tenth of each class, rounded up; of a class of one row, none.
 *   known  (rows) out */
static int hold_out(const struct lj_probe *probe, int64_t seed, uint8_t *known, int64_t *held_out)
{
    int64_t *count = lj_alloc_array(probe->classes.count, sizeof *count, "linear probe");
    *held_out = 0;
    if (!count)
        return LJ_ERR_RESOURCE;
    lj_classes_count(&probe->classes, probe->rows, count);
    for (int64_t c = 0; c < probe->classes.count; c++) {
        count[c] = count[c] > 1 ? (count[c] + SHARE - 1) / SHARE : 0;
        *held_out += count[c];
    }
    int status = lj_classes_draw(&probe->classes, probe->rows, count, seed, 0, known);
    for (int64_t i = 0; i < probe->rows && status == LJ_OK; i++)
        known[i] = !known[i];
    lj_free(count);
    if (status == LJ_OK && *held_out == 0)
        return lj_fail(LJ_ERR_DATA, "linear probe: no class has two training rows, so that none "
                                    "can be held out to choose l2 by; give a number as l2");
    return status;
}

static int choose(struct lj_probe *probe, int64_t seed, uint8_t *known, struct lj_l2_choice *choice)
{
    int64_t right[LJ_L2_GRID];
    LJ_TRY(lj_agree(probe->comm, hold_out(probe, seed, known, &choice->held_out)));
    LJ_TRY(lj_probe_try_l2(probe, known, right));
    int best = 0;
    for (int g = 1; g < LJ_L2_GRID; g++)
        if (right[g] > right[best])
            best = g;
    choice->l2 = lj_l2_grid[best];
    choice->accuracy = (double)right[best] / (double)choice->held_out;
    choice->at_end = best == 0 || best == LJ_L2_GRID - 1;
    return LJ_OK;
}

int lj_linear_probe_l2(struct lj_comm *comm, const struct lj_features *train,
                       const int32_t *train_labels, int64_t seed, struct lj_l2_choice *choice)
{
    struct lj_probe probe;
    LJ_TRY(lj_probe_create(&probe, comm, train, train_labels));
    uint8_t *known = lj_alloc_array(probe.rows, sizeof *known, "linear probe");
    int status = lj_agree(comm, known ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = choose(&probe, seed, known, choice);
    lj_free(known);
    lj_probe_destroy(&probe);
    return status;
}
