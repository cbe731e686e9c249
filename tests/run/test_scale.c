/* SPDX-License-Identifier: Apache-2.0 */
/* The rungs of a scaling study, what is made of their times, and the comparison of bits. */
#include "run/scale/scale.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct lj_config config;
static struct lj_scale scale;

/* Settings of a batch, its lanes, and ranks=. */
static int plan(int64_t batch, int64_t lanes, const char *ranks, enum lj_arg_mode mode, int size)
{
    lj_config_defaults(&config);
    config.batch_size = batch;
    config.batch_lanes = lanes;
    config.arg_mode = mode;
    snprintf(config.arg_ranks, sizeof config.arg_ranks, "%s", ranks);
    return lj_scale_plan(&scale, &config, size);
}

static void check_rung(int k, bool strong, int ranks, int64_t batch, int64_t lanes)
{
    const struct lj_scale_rung *r = &scale.rung[k];
    cr_assert(r->strong == strong && r->ranks == ranks && r->batch == batch && r->lanes == lanes,
              "rung %d: %s, %d ranks, batch %lld, %lld lanes", k, r->strong ? "strong" : "weak",
              r->ranks, (long long)r->batch, (long long)r->lanes);
}

static void check_refused(int status, const char *word)
{
    cr_assert_eq(status, LJ_ERR_CONFIG);
    cr_assert(strstr(lj_error_text(), word), "%s", lj_error_text());
}

Test(scale, rungs_are_powers_of_two_and_all_ranks)
{
    cr_assert_eq(plan(96, 0, "", LJ_ARG_MODE_BOTH, 6), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(scale.rungs, 8);
    const int ranks[] = {1, 2, 4, 6};
    for (int i = 0; i < 4; i++) {
        check_rung(i, true, ranks[i], 96, 12);
        check_rung(4 + i, false, ranks[i], 16 * ranks[i], 2 * ranks[i]);
    }
}

Test(scale, rungs_have_the_lanes_that_are_given)
{
    cr_assert_eq(plan(96, 4, "2,4", LJ_ARG_MODE_WEAK, 5), LJ_OK, "%s", lj_error_text());
    cr_assert_eq(scale.rungs, 2);
    check_rung(0, false, 2, 48, 2);
    check_rung(1, false, 4, 96, 4);
}

Test(scale, strong_rungs_may_share_unevenly)
{
    cr_assert_eq(plan(64, 0, "1,3", LJ_ARG_MODE_STRONG, 3), LJ_OK, "%s", lj_error_text());
    check_rung(1, true, 3, 64, 8);
}

Test(scale, what_cannot_be_is_refused)
{
    check_refused(plan(64, 0, "1,3", LJ_ARG_MODE_WEAK, 3), "batch.size=48 or 72");
    check_refused(plan(64, 0, "1,3", LJ_ARG_MODE_BOTH, 3), "mode=both");
    check_refused(plan(16, 0, "1,4", LJ_ARG_MODE_STRONG, 4), "batch.size=32");
    check_refused(plan(64, 0, "1,4", LJ_ARG_MODE_STRONG, 2), "ranks=1,4");
    check_refused(plan(60, 0, "1", LJ_ARG_MODE_STRONG, 1), "batch.size");
    const char *const ranks[] = {"2,1", "1,1", "a", "1,", "-1", "1;2", "1,2,99999999"};
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++)
        check_refused(plan(64, 0, ranks[i], LJ_ARG_MODE_BOTH, 8), ranks[i]);
}

Test(scale, one_number_of_ranks_is_read_for_a_sweep)
{
    int ranks = 0, count = 0;
    cr_assert_eq(lj_run_read_ranks("ranks", "0", 1, &ranks, &count), LJ_OK);
    cr_assert_eq(count, 0);
    cr_assert_eq(lj_run_read_ranks("ranks", "4", 1, &ranks, &count), LJ_OK);
    cr_assert(count == 1 && ranks == 4);
    check_refused(lj_run_read_ranks("ranks", "1,2", 1, &ranks, &count), "ranks=1,2");
}

static void set_repeats(int k, const double seconds[5])
{
    memcpy(scale.rung[k].repeat_s, seconds, 5 * sizeof *seconds);
}

Test(scale, efficiency_is_of_medians_and_its_interval_of_extremes)
{
    cr_assert_eq(plan(64, 0, "1,2", LJ_ARG_MODE_BOTH, 2), LJ_OK);
    set_repeats(0, (double[]){8, 7, 9, 8, 10}); /* strong */
    set_repeats(1, (double[]){5, 4, 6, 5, 5});
    set_repeats(2, (double[]){4, 4, 4, 4, 4}); /* weak */
    set_repeats(3, (double[]){5, 8, 5, 5, 4});
    scale.measured = scale.rungs;
    lj_scale_judge(&scale);
    const struct lj_scale_rung *r = scale.rung;
    cr_assert(r[0].step_s == 8 && r[0].step_s_low == 7 && r[0].step_s_high == 10);
    cr_assert(r[0].efficiency == 1 && r[0].efficiency_low == 1 && r[0].efficiency_high == 1);
    cr_assert_float_eq(r[1].efficiency, 8.0 / (2 * 5), 1e-12);
    cr_assert_float_eq(r[1].efficiency_low, 7.0 / (2 * 6), 1e-12);
    cr_assert_float_eq(r[1].efficiency_high, 10.0 / (2 * 4), 1e-12);
    cr_assert_float_eq(r[3].efficiency, 4.0 / 5, 1e-12);
    cr_assert_float_eq(r[3].efficiency_low, 4.0 / 8, 1e-12);
    cr_assert_float_eq(r[3].efficiency_high, 4.0 / 4, 1e-12);
}

Test(scale, an_even_number_of_repeats_has_a_median_between_two)
{
    cr_assert_eq(plan(64, 0, "1", LJ_ARG_MODE_STRONG, 1), LJ_OK);
    scale.repeats = 6;
    memcpy(scale.rung[0].repeat_s, (double[]){6, 1, 5, 2, 4, 3}, 6 * sizeof(double));
    scale.measured = scale.rungs;
    lj_scale_judge(&scale);
    cr_assert_eq(scale.rung[0].step_s, 3.5);
}

Test(scale, one_bit_of_weights_loss_or_norm_is_a_difference)
{
    struct lj_scale_bits a, b;
    memset(&a, 0, sizeof a);
    a.weights = 0x123456789abcdef0;
    a.term[1][0] = 1.5;
    a.grad_norm[1] = 0.25;
    b = a;
    cr_assert(lj_scale_same(&a, &b));
    b.weights ^= 1;
    cr_assert_not(lj_scale_same(&a, &b));
    b = a;
    b.term[1][0] = nextafter(1.5, 2);
    cr_assert_not(lj_scale_same(&a, &b));
    b = a;
    b.grad_norm[1] = nextafter(0.25, 0);
    cr_assert_not(lj_scale_same(&a, &b));
}
