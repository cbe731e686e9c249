/* SPDX-License-Identifier: Apache-2.0 */
/* Which objectives a comparison is of, and what their formulas say. */
#include "run/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static struct lj_config config;
static struct lj_comparison comparison;

static int plan(const char *objectives, int size)
{
    snprintf(config.arg_objectives, sizeof config.arg_objectives, "%s", objectives);
    return lj_comparison_plan(&comparison, &config, size);
}

static void set_up(void)
{
    lj_config_defaults(&config);
    config.batch_size = 64;
}

static void tear_down(void)
{
    lj_comparison_release(&comparison);
}

TestSuite(compare, .init = set_up, .fini = tear_down);

static void check_refused(const char *objectives, const char *word)
{
    cr_assert_eq(plan(objectives, 1), LJ_ERR_CONFIG, "%s", objectives);
    cr_assert(strstr(lj_error_text(), word), "%s: %s", objectives, lj_error_text());
    lj_comparison_release(&comparison);
}

Test(compare, all_are_those_without_labels)
{
    cr_assert_eq(plan("all", 2), LJ_OK, "%s", lj_error_text());
    int wanted = 0;
    for (int i = 0; lj_objective_at(i); i++)
        wanted += !(lj_objective_at(i)->needs & LJ_NEED_LABELS);
    cr_assert_eq(comparison.count, wanted);
    for (int k = 0; k < comparison.count; k++)
        cr_assert(comparison.objective[k].kind != &lj_objective_supervised);
}

Test(compare, those_named_in_their_order)
{
    cr_assert_eq(plan("vicreg,lejepa", 1), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(comparison.count, 2);
    cr_assert(comparison.objective[0].kind == &lj_objective_vicreg);
    cr_assert(comparison.objective[1].kind == &lj_objective_lejepa);
}

Test(compare, names_what_is_heuristic)
{
    cr_assert_eq(plan("all", 1), LJ_OK, "%s", lj_error_text());
    for (int k = 0; k < comparison.count; k++)
        cr_assert(comparison.objective[k].kind->heuristics, "%s",
                  comparison.objective[k].kind->name);
}

Test(compare, lejepa_does_not_grow_and_others_do)
{
    cr_assert_eq(plan("lejepa,simclr,vicreg", 2), LJ_OK, "%s", lj_error_text());
    for (int along = 0; along < LJ_GROWTHS; along++)
        cr_assert(fabs(comparison.objective[0].by_formula[along].exponent) < 1e-9);
    const struct lj_power *simclr = comparison.objective[1].by_formula;
    cr_assert(simclr[LJ_GROWTH_N].exponent > 0.98 && simclr[LJ_GROWTH_N].high < 1.02);
    cr_assert(simclr[LJ_GROWTH_P].exponent < -0.8);
    const struct lj_power *vicreg = comparison.objective[2].by_formula;
    cr_assert(vicreg[LJ_GROWTH_D].low > 1.9 && vicreg[LJ_GROWTH_D].high < 2.05);
    cr_assert(fabs(vicreg[LJ_GROWTH_N].exponent) < 1e-9);
}

Test(compare, what_cannot_be_is_refused)
{
    check_refused("supervised", "labels");
    check_refused("lejepa,lejepa", "twice");
    check_refused("lejepa,", "not known");
    check_refused("moco", "not known");
    snprintf(config.arg_predict, sizeof config.arg_predict, "64");
    check_refused("all", "predict");
    config.arg_predict[0] = 0;
    config.eval_every = 10;
    check_refused("all", "out=");
}
