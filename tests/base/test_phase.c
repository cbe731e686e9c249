/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

static void sleep_ms(long ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000};
    nanosleep(&time, NULL);
}

static double total(void)
{
    double sum = 0;
    for (int i = 0; i < LJ_PHASE_COUNT; i++)
        sum += lj_phase_seconds((enum lj_phase)i);
    return sum;
}

/* Sleeps last at least as long as asked; upper limits would fail on a busy machine. */
Test(phase, inner_phases_stop_the_outer)
{
    double start = lj_now_s();
    lj_phase_reset();
    lj_phase_begin(LJ_PHASE_FORWARD);
    sleep_ms(20);
    double before_inner = lj_now_s();
    lj_phase_begin(LJ_PHASE_LOSS);
    sleep_ms(40);
    lj_phase_end();
    double inner = lj_now_s() - before_inner;
    sleep_ms(20);
    lj_phase_end();
    double all = lj_now_s() - start;
    cr_assert_geq(lj_phase_seconds(LJ_PHASE_LOSS), 0.04);
    cr_assert_leq(lj_phase_seconds(LJ_PHASE_LOSS), inner);
    cr_assert_geq(lj_phase_seconds(LJ_PHASE_FORWARD), 0.04);
    cr_assert_leq(lj_phase_seconds(LJ_PHASE_FORWARD) + lj_phase_seconds(LJ_PHASE_LOSS), all);
    cr_assert_eq(lj_phase_seconds(LJ_PHASE_BACKWARD), 0.0);
    cr_assert_leq(total(), all);
}

Test(phase, the_present_phase_is_known)
{
    cr_assert_eq(lj_phase_current(), LJ_PHASE_OTHER);
    lj_phase_begin(LJ_PHASE_VIEWS);
    lj_phase_begin(LJ_PHASE_VIEWS);
    lj_phase_begin(LJ_PHASE_CHECKPOINT);
    cr_assert_eq(lj_phase_current(), LJ_PHASE_CHECKPOINT);
    lj_phase_end();
    lj_phase_end();
    cr_assert_eq(lj_phase_current(), LJ_PHASE_VIEWS);
    lj_phase_end();
    cr_assert_eq(lj_phase_current(), LJ_PHASE_OTHER);
}

Test(phase, reset_keeps_the_running_phase)
{
    lj_phase_reset();
    lj_phase_begin(LJ_PHASE_BACKWARD);
    sleep_ms(30);
    lj_phase_reset();
    cr_assert_eq(total(), 0.0);
    double since = lj_now_s();
    sleep_ms(10);
    lj_phase_end();
    cr_assert_geq(lj_phase_seconds(LJ_PHASE_BACKWARD), 0.01);
    cr_assert_leq(lj_phase_seconds(LJ_PHASE_BACKWARD), lj_now_s() - since + 0.001);
}

Test(phase, names_are_all_there_and_differ)
{
    for (int i = 0; i < LJ_PHASE_COUNT; i++) {
        cr_assert_not_null(lj_phase_name((enum lj_phase)i));
        for (int j = 0; j < i; j++)
            cr_assert_str_neq(lj_phase_name((enum lj_phase)i), lj_phase_name((enum lj_phase)j));
    }
    cr_assert_str_eq(lj_phase_name(LJ_PHASE_WAIT_DATA), "wait for data");
    cr_assert_str_eq(lj_phase_name(LJ_PHASE_OTHER), "other");
}

Test(phase, an_end_too_many_is_a_bug, .exit_code = 70)
{
    lj_phase_end();
}

Test(phase, endless_nesting_is_a_bug, .exit_code = 70)
{
    for (int i = 0; i < 100; i++)
        lj_phase_begin(LJ_PHASE_LOSS);
}

Test(phase, the_clock_never_goes_back)
{
    double before = lj_now_s();
    for (int i = 0; i < 1000; i++) {
        double now = lj_now_s();
        cr_assert_geq(now, before);
        before = now;
    }
}
