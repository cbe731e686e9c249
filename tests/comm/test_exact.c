/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed point and the ledger. */
#include "comm/comm.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>

static int64_t fixed(double value)
{
    int64_t nonfinite = 0, result = lj_to_fixed(2, value, &nonfinite);
    cr_assert_eq(nonfinite, 0, "%g is fit", value);
    return result;
}

Test(exact, fixed_point_has_32_binary_places)
{
    const int64_t one = INT64_C(1) << 32;
    cr_assert_eq(fixed(0), 0);
    cr_assert_eq(fixed(-0.0), 0);
    cr_assert_eq(fixed(1), one);
    cr_assert_eq(fixed(-1), -one);
    cr_assert_eq(fixed(-2.75), -(2 * one + 3 * (one / 4)));
    cr_assert_eq(lj_from_fixed(one / 8), 0.125);
    cr_assert_eq(lj_from_fixed(-3 * one), -3.0);
}

Test(exact, values_are_rounded_to_nearest_and_ties_to_even)
{
    const double unit = ldexp(1, -32);
    cr_assert_eq(fixed(0.5 * unit), 0);
    cr_assert_eq(fixed(0.501 * unit), 1);
    cr_assert_eq(fixed(1.5 * unit), 2);
    cr_assert_eq(fixed(2.5 * unit), 2);
    cr_assert_eq(fixed(-1.5 * unit), -2);
    cr_assert_eq(fixed(-0.75 * unit), -1);
    cr_assert_eq(fixed(1.0 / 3), 1431655765);
}

Test(exact, what_does_not_fit_is_counted_and_gives_zero)
{
    const double bad[] = {NAN, -NAN, INFINITY, -INFINITY, 0x1p29, -0x1p29, 1e300, -1e300};
    int64_t nonfinite = 5;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(lj_to_fixed(2, bad[i], &nonfinite), 0, "%g", bad[i]);
        cr_assert_eq(nonfinite, 6 + (int64_t)i, "%g", bad[i]);
    }
    cr_assert_eq(fixed(0x1p29 - 1), (INT64_C(1) << 61) - (INT64_C(1) << 32));
    cr_assert_eq(fixed(nextafter(-0x1p29, 0)), -(INT64_C(1) << 61) + 256);
}

/* Float32 sums of these differ with the order; the fixed ones must not. */
Test(exact, sums_do_not_depend_on_order)
{
    enum { COUNT = 1009 };
    struct lj_rng rng;
    double value[COUNT];
    int64_t nonfinite = 0, up = 0, down = 0, stride = 0;
    float forward = 0, backward = 0;
    lj_rng_begin(&rng, 1, LJ_DRAW_TEST, 0, 0, 0);
    for (int i = 0; i < COUNT; i++)
        value[i] = lj_random_normal(&rng) * pow(10, lj_rng_between(&rng, -3, 3));
    for (int i = 0; i < COUNT; i++) {
        up += lj_to_fixed(2, value[i], &nonfinite);
        down += lj_to_fixed(2, value[COUNT - 1 - i], &nonfinite);
        stride += lj_to_fixed(2, value[i * 17 % COUNT], &nonfinite);
        forward += (float)value[i];
        backward += (float)value[COUNT - 1 - i];
    }
    cr_assert_eq(nonfinite, 0);
    cr_assert_eq(up, down);
    cr_assert_eq(up, stride);
    cr_assert_neq(forward, backward, "the numbers are easy: this test shows nothing");
}

Test(exact, the_ledger_has_one_line_a_name)
{
    struct lj_ledger ledger = {.count = 0};
    struct lj_ledger_entry *first = lj_ledger_entry(&ledger, "sigreg", "MPI_Allreduce");
    cr_assert_str_eq(first->name, "sigreg");
    cr_assert_str_eq(first->collective, "MPI_Allreduce");
    cr_assert_eq(first->calls, 0);
    first->calls = 7;
    struct lj_ledger_entry *second = lj_ledger_entry(&ledger, "gradient", "MPI_Ialltoallv");
    cr_assert_neq(first, second);
    char same[] = "sigreg";
    cr_assert_eq(lj_ledger_entry(&ledger, same, "MPI_Bcast"), first);
    cr_assert_str_eq(first->collective, "MPI_Allreduce", "a line keeps its collective");
    cr_assert_eq(first->calls, 7);
    cr_assert_eq(ledger.count, 2);
}

static void fill(struct lj_ledger *ledger, int lines)
{
    static char names[LJ_LEDGER_MAX + 1][2];
    for (int i = 0; i < lines; i++) {
        names[i][0] = (char)('a' + i);
        lj_ledger_entry(ledger, names[i], "MPI_Allreduce");
    }
}

Test(exact, the_ledger_holds_all_its_lines)
{
    struct lj_ledger ledger = {.count = 0};
    fill(&ledger, LJ_LEDGER_MAX);
    fill(&ledger, LJ_LEDGER_MAX);
    cr_assert_eq(ledger.count, LJ_LEDGER_MAX);
}

Test(exact, a_full_ledger_is_a_broken_invariant, .exit_code = 70)
{
    struct lj_ledger ledger = {.count = 0};
    fill(&ledger, LJ_LEDGER_MAX + 1);
}
