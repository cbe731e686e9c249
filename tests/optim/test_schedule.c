/* SPDX-License-Identifier: Apache-2.0 */
/* The learning rate against PyTorch's LinearLR followed by CosineAnnealingLR, and its ends. */
#include "optim/optim.h"

#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>

Test(schedule, agrees_with_pytorch)
{
    struct lj_schedule s = {.peak = 2e-2, .floor = 2e-5, .warmup_steps = 3, .steps = 10};
    struct lj_golden rates = lj_golden_f64("optim.h5", "rates");
    cr_assert_eq(rates.count, 10);
    for (int t = 0; t < 10; t++) {
        double rate = lj_schedule_at(&s, t);
        cr_assert(fabs(rate - rates.f64[t]) < 1e-12, "step %d: %.15g, PyTorch has %.15g", t, rate,
                  rates.f64[t]);
    }
    lj_golden_free(&rates);
}

Test(schedule, ends)
{
    struct lj_schedule s = {.peak = 1, .floor = 0.25, .warmup_steps = 10, .steps = 110};
    cr_assert_float_eq(lj_schedule_at(&s, 0), 0.01, 1e-15);
    cr_assert_float_eq(lj_schedule_at(&s, 5), 0.505, 1e-15);
    cr_assert_float_eq(lj_schedule_at(&s, 10), 1, 1e-15);
    cr_assert_float_eq(lj_schedule_at(&s, 60), 0.625, 1e-15);
    cr_assert_float_eq(lj_schedule_at(&s, 110), 0.25, 1e-15);
    cr_assert_float_eq(lj_schedule_at(&s, 500), 0.25, 1e-15); /* stays there */
    s.warmup_steps = 0;
    cr_assert_float_eq(lj_schedule_at(&s, 0), 1, 1e-15);
    s.warmup_steps = 2.5; /* part of an epoch */
    cr_assert_float_eq(lj_schedule_at(&s, 2), 0.01 + 0.99 * 0.8, 1e-15);
    s.warmup_steps = 110; /* nothing but warm-up */
    cr_assert_float_eq(lj_schedule_at(&s, 110), 1, 1e-15);
    cr_assert(isfinite(lj_schedule_at(&s, 109)));
}
