/* SPDX-License-Identifier: Apache-2.0 */
/* Units of bf16: rounding at its borders, against values written down here. */
#include "comm/bf16.h"
#include "comm/comm.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

enum { UNIT = LJ_SHARD_ALIGN };

/* Spacing is 2^-7 at 1, and 2^-133 below 2^-126. */
static const struct {
    float x, nearest;
} cases[] = {
    {0, 0},
    {-0.0f, -0.0f},
    {1, 1},
    {1 + 0x1p-8f, 1}, /* ties */
    {1 + 0x3p-8f, 1 + 0x1p-6f},
    {-1 - 0x3p-8f, -1 - 0x1p-6f},
    {1 + 0x1p-8f + 0x1p-23f, 1 + 0x1p-7f},
    {1 + 0x3p-8f - 0x1p-23f, 1 + 0x1p-7f},
    {2 - 0x1p-23f, 2},
    {0x1p-133f, 0x1p-133f},
    {0x1p-134f, 0},
    {0x3p-135f, 0x1p-133f},
    {0x1p-149f, 0},
    {0x1.fep127f, 0x1.fep127f}, /* the largest */
    {0x1.fefffep127f, 0x1.fep127f},
    {0x1.ffp127f, INFINITY},
    {-FLT_MAX, -INFINITY},
    {INFINITY, INFINITY},
    {-INFINITY, -INFINITY},
};
enum { CASES = sizeof cases / sizeof *cases };

static void assert_bits(float got, float wanted, const char *what, int i)
{
    cr_assert(memcmp(&got, &wanted, sizeof got) == 0, "%s, case %d: %a, expected %a", what, i,
              (double)got, (double)wanted);
}

Test(bf16, rounds_to_nearest)
{
    float x[UNIT], y[UNIT];
    for (int i = 0; i < UNIT; i++) {
        x[i] = cases[i % CASES].x / 2;
        y[i] = cases[i % CASES].x;
    }
    lj_bf16_round(y);
    for (int i = 0; i < UNIT; i++)
        assert_bits(y[i], cases[i % CASES].nearest, "rounded", i % CASES);
    memcpy(y, x, sizeof y);
    lj_bf16_add(y, x);
    for (int i = 0; i < UNIT; i++)
        if (fabsf(cases[i % CASES].x) >= FLT_MIN) /* halves of others are rounded themselves */
            assert_bits(y[i], cases[i % CASES].nearest, "sum", i % CASES);
}

Test(bf16, halves_are_what_is_rounded)
{
    float x[UNIT], y[UNIT];
    uint16_t half[UNIT];
    for (int i = 0; i < UNIT; i++)
        x[i] = cases[i % CASES].nearest;
    lj_bf16_from_f32(half, x);
    lj_bf16_to_f32(y, half);
    for (int i = 0; i < UNIT; i++)
        assert_bits(y[i], x[i], "widened", i % CASES);
    cr_assert_eq(half[2], 0x3f80, "1 is %04x", half[2]);
}

/* Adding to the bits of one would make another number of it. */
Test(bf16, what_is_no_number_stays_so)
{
    static const uint32_t bits[] = {0x7fc00000, 0x7f800001, 0x7fffffff, 0xffffffff, 0xff800001};
    float x[UNIT], y[UNIT];
    uint16_t half[UNIT];
    for (int i = 0; i < UNIT; i++)
        memcpy(&x[i], &bits[i % 5], sizeof x[i]);
    lj_bf16_round(x);
    lj_bf16_from_f32(half, x);
    lj_bf16_to_f32(y, half);
    for (int i = 0; i < UNIT; i++)
        cr_assert(isnan(x[i]) && isnan(y[i]), "%08x", bits[i % 5]);
    memset(y, 0, sizeof y);
    lj_bf16_add(y, x);
    for (int i = 0; i < UNIT; i++)
        cr_assert(isnan(y[i]), "0 + %08x", bits[i % 5]);
}
