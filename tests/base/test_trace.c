/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <criterion/criterion.h>

static void steps(int64_t first, int64_t end, int spans)
{
    for (int64_t step = first; step < end; step++) {
        lj_trace_step(step);
        for (int i = 0; i < spans; i++)
            lj_trace_add(LJ_TRACK_COLLECTIVES, "sum", 1, 2, 8);
    }
    lj_trace_step(-1);
}

Test(trace, nothing_is_recorded_unless_asked)
{
    steps(0, 3, 2);
    cr_assert_null(lj_trace_recorded()->event);
    cr_assert_eq(lj_trace_recorded()->count, 0);
}

Test(trace, phases_lie_inside_each_other_and_their_step)
{
    cr_assert_eq(lj_trace_start(100), LJ_OK);
    lj_trace_step(7);
    lj_phase_begin(LJ_PHASE_BACKWARD);
    lj_phase_begin(LJ_PHASE_GRADIENT_COMM);
    lj_phase_end();
    lj_phase_end();
    lj_trace_step(8);
    const struct lj_trace *t = lj_trace_recorded();
    cr_assert_eq(t->count, 3);
    cr_assert_str_eq(t->event[0].name, "gradient communication");
    cr_assert_str_eq(t->event[1].name, "backward");
    cr_assert_str_eq(t->event[2].name, "step");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(t->event[i].step, 7);
        cr_assert_leq(t->event[i].begin_s, t->event[i].end_s);
        cr_assert_geq(t->event[i].begin_s, t->event[i + 1].begin_s);
        cr_assert_leq(t->event[i].end_s, t->event[i + 1].end_s);
    }
    lj_trace_stop();
}

/* Steps 5, 6, ...: of each power of two, what is kept are steps 5, 5 + every, ... and all of
 * them. */
Test(trace, a_full_one_keeps_every_other_step)
{
    enum { SPANS = 3, ROOM = 10 * (SPANS + 1) };
    for (int64_t count = 1; count < 200; count += 7) {
        cr_assert_eq(lj_trace_start(ROOM), LJ_OK);
        steps(5, 5 + count, SPANS);
        const struct lj_trace *t = lj_trace_recorded();
        int64_t wanted = (count + t->every - 1) / t->every;
        cr_assert_leq(t->count, ROOM);
        cr_assert_eq(t->left_out, 0);
        cr_assert_eq(t->count, wanted * (SPANS + 1), "%lld steps, every %lld: %lld spans",
                     (long long)count, (long long)t->every, (long long)t->count);
        cr_assert(t->every == 1 || 2 * t->count + SPANS + 1 >= ROOM / 2);
        for (int64_t i = 0; i < t->count; i++)
            cr_assert_eq(t->event[i].step, 5 + i / (SPANS + 1) * t->every);
        lj_trace_stop();
    }
}

Test(trace, it_thins_to_what_others_have)
{
    cr_assert_eq(lj_trace_start(100), LJ_OK);
    steps(0, 10, 0);
    lj_trace_thin(4);
    const struct lj_trace *t = lj_trace_recorded();
    cr_assert_eq(t->count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(t->event[i].step, 4 * i);
    lj_trace_stop();
}

Test(trace, a_step_without_room_is_cut_and_what_is_left_out_counted)
{
    cr_assert_eq(lj_trace_start(8), LJ_OK);
    lj_trace_add(LJ_TRACK_PHASES, "setup", 0, 1, 0);
    steps(0, 10, 20); /* so many spans that doubling `every` for each would overflow it */
    const struct lj_trace *t = lj_trace_recorded();
    cr_assert_eq(t->count, 8);
    cr_assert_eq(t->every, 1, "nothing more could be forgotten, and every is %lld",
                 (long long)t->every);
    cr_assert_str_eq(t->event[0].name, "setup");
    cr_assert_eq(t->event[7].step, 0);
    cr_assert_eq(t->left_out, 10 * 21 - 7);
    lj_trace_stop();
}

Test(trace, long_names_are_cut)
{
    cr_assert_eq(lj_trace_start(1), LJ_OK);
    lj_trace_add(LJ_TRACK_PHASES, "a name that is much longer than the room for one", 0, 1, 0);
    cr_assert_str_eq(lj_trace_recorded()->event[0].name, "a name that is much longer ");
    lj_trace_stop();
}
