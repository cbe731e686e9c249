/* SPDX-License-Identifier: Apache-2.0 */
/* Predictions of a scaling study, from times that are made up: what ranks compute follows from the
 * baseline, communication is added, and a sentence says what takes most. */
#include "run/run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT = LJ_SHARD_ALIGN, STEPS = 10, REPEATS = 5 };

static struct lj_scale scale; /* too large for the stack */
static struct lj_config config;

/* Seconds of a step on one rank, 0.1 in all. */
static const struct {
    enum lj_phase phase;
    double seconds;
} one_rank[] = {
    {LJ_PHASE_WAIT_DATA, 0.004}, {LJ_PHASE_VIEWS, 0.01},  {LJ_PHASE_FORWARD, 0.03},
    {LJ_PHASE_PROJECTOR, 0.002}, {LJ_PHASE_LOSS, 0.004},  {LJ_PHASE_BACKWARD, 0.04},
    {LJ_PHASE_OPTIMISER, 0.006}, {LJ_PHASE_OTHER, 0.004},
};
static const double by_lane_s = 0.086;

static void fill_rung(struct lj_scale_rung *rung, bool strong, int ranks, int64_t lanes)
{
    double slower = strong ? 1 : (double)lanes / 8;
    *rung = (struct lj_scale_rung){
        .strong = strong, .ranks = ranks, .lanes = lanes, .batch = 8 * lanes, .workers = 1};
    for (size_t i = 0; i < sizeof one_rank / sizeof *one_rank; i++)
        rung->phase[one_rank[i].phase].max = one_rank[i].seconds * slower * STEPS * REPEATS;
    for (int k = 0; k < REPEATS; k++)
        rung->repeat_s[k] = 0.1 * slower;
    struct lj_ledger_entry *sigreg = lj_ledger_entry(&rung->ledger, "sigreg", "MPI_Allreduce");
    sigreg->predicted_bytes_per_call = 1 << 20;
    sigreg->calls = STEPS * REPEATS;
}

/* Rungs of 1, 2 and 4 ranks, 8 lanes (strong) or 2 a rank (weak). */
static void make_study(const char *predict)
{
    int64_t *bounds = lj_alloc_array(3, sizeof *bounds, "test");
    memset(&scale, 0, sizeof scale);
    memset(&config, 0, sizeof config);
    strcpy(config.arg_predict, predict);
    for (int k = 0; k < 3; k++) {
        fill_rung(&scale.rung[k], true, 1 << k, 8);
        fill_rung(&scale.rung[3 + k], false, 1 << k, 2 << k);
    }
    bounds[1] = 64 * UNIT;
    bounds[2] = 128 * UNIT;
    scale.rungs = scale.measured = 6;
    scale.steps = STEPS;
    scale.repeats = REPEATS;
    scale.buckets = 2;
    scale.bounds = bounds;
    lj_scale_judge(&scale);
}

static const struct lj_network two_nodes = {.ranks = 4, .nodes = 2, .per_node = 2, .blocks = true};

static void foresee(const struct lj_network_model *model)
{
    cr_assert_eq(lj_scale_foresee(&scale, &config, &two_nodes, model), LJ_OK, "%s",
                 lj_error_text());
}

static void assert_near(double x, double expected, const char *what)
{
    cr_assert(fabs(x - expected) <= 1e-9 * fabs(expected), "%s: %g, not %g", what, x, expected);
}

/* A network that takes no time: what is left is what ranks compute. */
static const struct lj_network_model no_time = {.samples = 1,
                                                .link = {{.measured = true}, {.measured = true}}};

Test(predict, ranks_share_lanes_and_parameters)
{
    make_study("");
    foresee(&no_time);
    assert_near(scale.rung[0].prediction.step_s, 0.1, "the baseline");
    for (int k = 0; k < 3; k++) {
        const struct lj_scale_prediction *p = &scale.rung[k].prediction;
        int ranks = 1 << k;
        assert_near(p->arithmetic_s, by_lane_s / ranks, "arithmetic");
        assert_near(p->data_s, 0.004 / ranks, "data");
        assert_near(p->update_s, 0.006 / ranks, "update");
        assert_near(p->rest_s, 0.004, "the rest");
        assert_near(p->step_s, (by_lane_s + 0.010) / ranks + 0.004, "the step");
        assert_near(p->efficiency, 0.1 / ranks / p->step_s, "efficiency");
        cr_assert(strstr(p->bound, "bound by arithmetic"), "%s", p->bound);
    }
    /* A rank has 2 lanes on each weak rung, as the baseline has. */
    assert_near(scale.rung[5].prediction.arithmetic_s, by_lane_s / 4, "weak");
    cr_assert_eq(scale.foreseen_count, 0);
    lj_scale_release(&scale);
}

/* One slow repeat: means are of all repeats, a step is their median. */
Test(predict, a_slow_repeat_does_not_count_for_what_is_exposed)
{
    make_study("");
    struct lj_scale_rung *rung = &scale.rung[1];
    rung->repeat_s[REPEATS - 1] = 10;
    rung->exposed_share = 0.9;
    lj_scale_judge(&scale);
    assert_near(rung->step_s, 0.1, "the median");
    assert_near(rung->exposed_s, 0.09, "what is exposed of it");
    lj_scale_release(&scale);
}

Test(predict, what_is_gathered_is_not_predicted)
{
    make_study("64");
    for (int k = 0; k < scale.rungs; k++)
        lj_ledger_entry(&scale.rung[k].ledger, "projections", "MPI_Allgatherv")->calls = 1;
    foresee(&no_time);
    cr_assert(isnan(scale.rung[1].prediction.step_s) && isnan(scale.foreseen[0].prediction.step_s));
    cr_assert(strstr(scale.foreseen[0].prediction.bound, "not predicted"));
    lj_scale_release(&scale);
}

Test(predict, more_ranks_than_lanes_gain_nothing)
{
    make_study("8,64");
    foresee(&no_time);
    cr_assert_eq(scale.foreseen_count, 4);
    /* From the largest rung, whose times are those of rank 1 here: 2 lanes took all of them. */
    const struct lj_scale_foreseen *f = scale.foreseen;
    cr_assert(f[0].strong && f[0].ranks == 8 && f[0].lanes == 8 && f[0].nodes == 4);
    assert_near(f[0].prediction.arithmetic_s, by_lane_s / 2, "a lane a rank");
    assert_near(f[1].prediction.arithmetic_s, by_lane_s / 2, "no more than a lane");
    assert_near(f[1].prediction.update_s, 0.006 * 4 / 64, "update");
    cr_assert(strstr(f[1].prediction.bound, "56 of 64 ranks have no lane"), "%s",
              f[1].prediction.bound);
    cr_assert(!f[3].strong && f[3].ranks == 64 && f[3].lanes == 128 && f[3].batch == 1024);
    cr_assert(!f[3].guesses_network);
    lj_scale_release(&scale);
}

Test(predict, communication_is_added_and_named)
{
    struct lj_network_model slow = no_time;
    slow.link[LJ_LEVEL_NETWORK].full_G = 1e-6;
    make_study("64");
    foresee(&slow);
    assert_near(scale.rung[1].prediction.cost.exposed_s, 0, "inside a node");
    const struct lj_scale_prediction *p = &scale.rung[2].prediction;
    assert_near(p->step_s,
                p->arithmetic_s + p->data_s + p->update_s + p->rest_s + p->cost.exposed_s,
                "the step");
    cr_assert_gt(p->cost.exposed_s, 0.1);
    cr_assert(strstr(p->bound, "bound by gathering new weights between nodes") ||
                  strstr(p->bound, "bound by moving gradients between nodes"),
              "%s", p->bound);
    struct lj_network_model late = no_time;
    late.sum[LJ_LEVEL_NETWORK].round_s = 1;
    foresee(&late);
    cr_assert(strstr(scale.rung[2].prediction.bound, "bound by the latency of the allreduce"), "%s",
              scale.rung[2].prediction.bound);
    lj_scale_release(&scale);
}

static double exposed_of(const struct lj_scale_prediction *p, const char *name)
{
    for (int i = 0; i < p->cost.count; i++)
        if (strcmp(p->cost.entry[i].name, name) == 0)
            return p->cost.entry[i].exposed_s;
    cr_assert(false, "nothing is said of %s", name);
    return NAN;
}

/* Four ranks have two lanes each, one rank eight. */
Test(predict, weights_do_not_travel_behind_views_that_are_made_lane_by_lane)
{
    struct lj_network_model slow = no_time;
    slow.link[LJ_LEVEL_NETWORK].full_G = 1e-6;
    make_study("8");
    foresee(&slow);
    struct lj_scale_prediction at_once = scale.rung[2].prediction;
    struct lj_scale_prediction a_lane = scale.foreseen[0].prediction;
    config.memory_recompute = LJ_MEMORY_RECOMPUTE_LANES;
    foresee(&slow);
    const struct lj_scale_prediction *p = &scale.rung[2].prediction;
    assert_near(exposed_of(p, "weights"), exposed_of(&at_once, "weights") + 0.01 * 2 / 8,
                "weights");
    cr_assert_gt(exposed_of(p, "gradient"), exposed_of(&at_once, "gradient"));
    assert_near(scale.foreseen[0].prediction.cost.exposed_s, a_lane.cost.exposed_s,
                "a lane a rank");
    lj_scale_release(&scale);
}

Test(predict, without_a_network_only_one_rank_is_predicted)
{
    make_study("");
    foresee(&(struct lj_network_model){0});
    assert_near(scale.rung[0].prediction.step_s, 0.1, "one rank");
    cr_assert(isnan(scale.rung[1].prediction.step_s));
    lj_scale_release(&scale);
    make_study("64,1");
    cr_assert_eq(lj_scale_check_predict(&config, 4), LJ_ERR_CONFIG);
    cr_assert(strstr(lj_error_text(), "predict=64,1"), "%s", lj_error_text());
    strcpy(config.arg_predict, "1024");
    cr_assert_eq(lj_scale_check_predict(&config, 4), LJ_OK);
    cr_assert_eq(lj_scale_check_predict(&config, 1), LJ_ERR_CONFIG);
    strcpy(config.arg_predict, "70000");
    cr_assert_eq(lj_scale_check_predict(&config, 4), LJ_ERR_CONFIG);
    lj_scale_release(&scale);
}
