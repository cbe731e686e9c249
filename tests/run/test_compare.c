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

/* Of any objective, whichever is first, before there is a rung. */
Test(compare, what_one_objective_cannot_be_is_refused)
{
    config.dino_prototypes = 1;
    check_refused("all", "dino.prototypes=1");
    cr_assert_eq(plan("lejepa,vicreg", 1), LJ_OK, "%s", lj_error_text());
    lj_comparison_release(&comparison);
    config.dino_prototypes = 0;
    config.loss_lambda = 2;
    check_refused("vicreg,lejepa", "loss.lambda");
    config.loss_lambda = 0.05;
    config.train_average = 0.9;
    check_refused("lejepa,dino", "train.average");
    config.train_average = 0;
    config.views_global = 1;
    config.views_local = 0;
    check_refused("lejepa,simclr", "views.global");
    config.views_local = 1;
    config.projector_layers = 1;
    config.projector_norm = LJ_PROJECTOR_NORM_LANE;
    config.batch_lanes = 16;
    check_refused("lejepa,byol", "projector.norm=lane");
}

/* The fastest run ends after 20 s; another one has its second evaluation at 19 s, a third one none
 * before 21 s. */
Test(compare, equal_seconds_are_those_of_the_fastest_run)
{
    struct lj_run_point fast[] = {{5, 10, 0.3}, {10, 20, 0.4}};
    struct lj_run_point slow[] = {{5, 9.5, 0.5}, {10, 19, 0.6}, {15, 28.5, 0.7}};
    struct lj_run_point late[] = {{10, 21, 0.8}};
    cr_assert_eq(plan("lejepa,simclr,vicreg", 1), LJ_OK, "%s", lj_error_text());
    struct lj_compared *o = comparison.objective;
    o[0].goal = (struct lj_run_goal){.seconds = 28.5, .point = slow, .points = 3};
    o[1].goal = (struct lj_run_goal){.seconds = 21, .point = late, .points = 1};
    o[2].goal = (struct lj_run_goal){.seconds = 20, .point = fast, .points = 2};
    comparison.trained = 2;
    lj_comparison_judge(&comparison);
    cr_assert(comparison.within_s == 21 && o[0].found_within == 0.6 && o[1].found_within == 0.8);
    comparison.trained = 3;
    lj_comparison_judge(&comparison);
    cr_assert(comparison.within_s == 20 && o[0].found_within == 0.6 && o[2].found_within == 0.4);
    cr_assert(isnan(o[1].found_within), "%g", o[1].found_within);
}
