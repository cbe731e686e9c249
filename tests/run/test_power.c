/* SPDX-License-Identifier: Apache-2.0 */
/* Exponents are those that the points were made with; intervals are Student's. */
#include "run/run.h"

#include <criterion/criterion.h>
#include <math.h>

static void near(double found, double wanted, double tolerance, const char *what)
{
    cr_assert(fabs(found - wanted) <= tolerance, "%s: %.9g, expected %.9g", what, found, wanted);
}

Test(power, exact_powers_of_three_factors_are_found)
{
    double x[27 * 3], y[27];
    struct lj_power power[3];
    for (int i = 0; i < 27; i++) {
        double a = 1 << i % 3, b = 10 * pow(3, i / 3 % 3), c = 7 << i / 9;
        x[3 * i] = a;
        x[3 * i + 1] = b;
        x[3 * i + 2] = c;
        y[i] = 1e-6 * a * sqrt(b) / (c * c);
    }
    lj_power_fit(27, 3, x, y, power);
    const double wanted[] = {1, 0.5, -2};
    for (int f = 0; f < 3; f++) {
        near(power[f].exponent, wanted[f], 1e-9, "exponent");
        near(power[f].low, wanted[f], 1e-6, "low");
        near(power[f].high, wanted[f], 1e-6, "high");
    }
}

/* Logarithms 0, 1, 2, 3 and 0, 1, 1, 3: slope 0.9, residual variance 0.35, sum of squares 5, so a
 * standard error of sqrt(0.07), and t of two degrees of freedom 4.303. */
Test(power, interval_is_that_of_the_textbook)
{
    const double x[] = {1, exp(1), exp(2), exp(3)}, y[] = {1, exp(1), exp(1), exp(3)};
    struct lj_power power;
    lj_power_fit(4, 1, x, y, &power);
    near(power.exponent, 0.9, 1e-9, "exponent");
    near(power.low, 0.9 - 4.303 * sqrt(0.07), 1e-4, "low");
    near(power.high, 0.9 + 4.303 * sqrt(0.07), 1e-4, "high");
}

/* Eight points on a line but for one pair: t of six degrees of freedom is 2.447, by expansion. */
Test(power, interval_of_more_points)
{
    double x[8], y[8];
    struct lj_power power;
    for (int i = 0; i < 8; i++) {
        x[i] = exp(i);
        y[i] = exp(2 * i + (i % 2 ? 0.1 : -0.1));
    }
    lj_power_fit(8, 1, x, y, &power);
    double slope = 2 + 0.1 * 8 * 0.5 / 42, squares = 8 * 0.01 - 0.4 * 0.4 / 42;
    near(power.exponent, slope, 1e-9, "exponent");
    near(power.high - slope, 2.447 * sqrt(squares / 6 / 42), 1e-4, "half the interval");
    near(slope - power.low, power.high - slope, 1e-12, "symmetry");
}

Test(power, what_does_not_grow_has_exponent_0)
{
    const double x[] = {1, 2, 4, 8}, y[] = {88, 88, 88, 88};
    struct lj_power power;
    lj_power_fit(4, 1, x, y, &power);
    near(power.exponent, 0, 1e-12, "exponent");
    near(power.high - power.low, 0, 1e-9, "interval");
}

Test(power, too_few_points)
{
    const double x[] = {1, 2}, y[] = {1, 4};
    struct lj_power power;
    lj_power_fit(2, 1, x, y, &power);
    near(power.exponent, 2, 1e-9, "exponent");
    cr_assert(isnan(power.low) && isnan(power.high), "two points have no interval");
    lj_power_fit(1, 1, x, y, &power);
    cr_assert(isnan(power.exponent), "one point has no exponent");
    lj_power_fit(0, 1, x, y, &power);
    cr_assert(isnan(power.exponent), "no point has no exponent");
    const double same[] = {3, 3, 3};
    lj_power_fit(3, 1, same, same, &power);
    cr_assert(isnan(power.exponent), "a factor that stays the same has no exponent");
}
