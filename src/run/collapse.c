/* SPDX-License-Identifier: Apache-2.0 */
/* Have the projections become one point? The effective rank does not tell: projections that shrink
 * keep theirs, and a healthy run can have a low one. The objective's own terms do. */
#include "run/run.h"
#include "run/state.h"

#include <math.h>

/* A fresh network's projections are small, and some steps at the full learning rate pass before
 * they have spread. */
enum { STEPS_IN_A_ROW = 100 };

double lj_run_collapse(const struct lj_run_state *run, const struct lj_step_report *report)
{
    const struct lj_objective_kind *objective = run->info.objective;
    return objective->collapse ? objective->collapse(run->config, report->term) : (double)NAN;
}

int lj_run_watch_collapse(struct lj_run_state *run, int64_t finished,
                          const struct lj_step_report *report)
{
    bool starting = (double)finished <= run->info.warmup_steps;
    bool shown = !starting && lj_run_collapse(run, report) >= LJ_COLLAPSED;
    run->collapsed_steps = shown ? run->collapsed_steps + 1 : 0;
    if (run->collapsed_steps != STEPS_IN_A_ROW)
        return LJ_OK;
    const char *advice = run->info.objective->against_collapse;
    if (run->config->guard_collapse > 0)
        return lj_fail(LJ_ERR_NUMERIC,
                       "step %lld: collapse: for %d steps the projections have been nearly one "
                       "point (guard.collapse); %s or lower optim.lr",
                       (long long)finished, STEPS_IN_A_ROW, advice);
    if (lj_comm_is_root(run->comm))
        lj_warn("step %lld: collapse: for %d steps the projections have been nearly one point, so "
                "that nothing is learnt; %s or lower optim.lr",
                (long long)finished, STEPS_IN_A_ROW, advice);
    return LJ_OK;
}
