/* SPDX-License-Identifier: Apache-2.0 */
#include "run/deadline.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const double wall_s = 1.7e9;

/* A deadline of a job that has so many seconds left. */
static struct lj_deadline of_job(double left_s, double max_seconds)
{
    struct lj_deadline d;
    char text[64];
    snprintf(text, sizeof text, "%.0f", wall_s + left_s);
    lj_deadline_begin(&d, lj_now_s(), max_seconds, text, wall_s);
    return d;
}

Test(deadline, there_may_be_none)
{
    struct lj_deadline d;
    lj_deadline_begin(&d, 0, 0, NULL, wall_s);
    lj_deadline_step(&d, 1e9);
    cr_assert_not(lj_deadline_is_near(&d, 1e12, 1, 0));
}

Test(deadline, everything_that_is_still_to_be_done_fits)
{
    struct lj_deadline d;
    lj_deadline_begin(&d, 1000, 500, NULL, wall_s);
    lj_deadline_step(&d, 2);
    lj_deadline_saved(&d, 10);
    lj_deadline_evaluated(&d, 7);
    double two_steps = 4, save = 15; /* with half more */
    cr_assert_not(lj_deadline_is_near(&d, 1500 - two_steps - save - 0.01, 1, 0));
    cr_assert(lj_deadline_is_near(&d, 1500 - two_steps - save + 0.01, 1, 0));
    cr_assert_not(lj_deadline_is_near(&d, 1500 - two_steps - 2 * save - 0.01, 2, 0));
    cr_assert(lj_deadline_is_near(&d, 1500 - two_steps - 2 * save + 0.01, 2, 0));
    cr_assert_not(lj_deadline_is_near(&d, 1500 - two_steps - save - 7.01, 1, 1));
    cr_assert(lj_deadline_is_near(&d, 1500 - two_steps - save - 6.99, 1, 1));
}

Test(deadline, a_slow_step_is_forgotten_and_a_slow_checkpoint_is_not)
{
    struct lj_deadline d;
    lj_deadline_begin(&d, 0, 1000, NULL, wall_s);
    lj_deadline_step(&d, 50);
    lj_deadline_saved(&d, 20);
    cr_assert(lj_deadline_is_near(&d, 900, 1, 0));
    for (int i = 0; i < 100; i++)
        lj_deadline_step(&d, 0.5);
    lj_deadline_saved(&d, 1);
    cr_assert_eq(d.step_s, 0.5);
    cr_assert_eq(d.save_s, 20.0);
    cr_assert_not(lj_deadline_is_near(&d, 900, 1, 0));
}

Test(deadline, a_checkpoint_is_guessed_until_one_is_measured)
{
    struct lj_deadline d;
    lj_deadline_begin(&d, 0, 1000, NULL, wall_s);
    lj_deadline_expect(&d, 1000000000);
    cr_assert_geq(d.save_s, 10.0);
    cr_assert_leq(d.save_s, 12.0);
    lj_deadline_saved(&d, 0.5);
    cr_assert_eq(d.save_s, 0.5);
}

Test(deadline, the_earlier_end_counts)
{
    double now = lj_now_s();
    struct lj_deadline d = of_job(600, 0);
    cr_assert_not(lj_deadline_is_near(&d, now + 585, 0, 0));
    cr_assert(lj_deadline_is_near(&d, now + 591, 0, 0)); /* what comes after the run */
    d = of_job(600, 100);
    cr_assert_str_eq(d.because, "run.max_seconds");
    cr_assert(lj_deadline_is_near(&d, now + 101, 0, 0));
    d = of_job(600, 1e6);
    cr_assert(lj_deadline_is_near(&d, now + 591, 0, 0));
}

Test(deadline, an_end_that_makes_no_sense_is_none)
{
    static const char *const texts[] = {"", "tomorrow", "1700000000x", "1", "nan", "inf", "-5"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct lj_deadline d;
        lj_deadline_begin(&d, lj_now_s(), 0, texts[i], wall_s);
        cr_assert_null(d.because, "'%s' is taken for a time", texts[i]);
        lj_deadline_begin(&d, lj_now_s(), 50, texts[i], wall_s);
        cr_assert_str_eq(d.because, "run.max_seconds");
    }
}
