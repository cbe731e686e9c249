/* SPDX-License-Identifier: Apache-2.0 */
/* Exponents of a product of powers, by least squares of logarithms, with Student's intervals. */
#include "run/run.h"

#include <math.h>

/* Columns: the factors, each without its mean, then the identity, which becomes the inverse. */
struct normal {
    int factors;
    double a[LJ_POWER_FACTORS_MAX][2 * LJ_POWER_FACTORS_MAX];
    double b[LJ_POWER_FACTORS_MAX];
    double mean_x[LJ_POWER_FACTORS_MAX], mean_y;
};

static double deviation(const struct normal *n, const double *x, int point, int factor)
{
    return log(x[point * n->factors + factor]) - n->mean_x[factor];
}

static void make_means(struct normal *n, int points, const double *x, const double *y)
{
    for (int p = 0; p < points; p++) {
        n->mean_y += log(y[p]) / points;
        for (int f = 0; f < n->factors; f++)
            n->mean_x[f] += log(x[p * n->factors + f]) / points;
    }
}

static void make_normal(struct normal *n, int points, const double *x, const double *y)
{
    make_means(n, points, x, y);
    for (int f = 0; f < n->factors; f++)
        n->a[f][n->factors + f] = 1;
    for (int p = 0; p < points; p++)
        for (int f = 0; f < n->factors; f++) {
            double d = deviation(n, x, p, f);
            n->b[f] += d * (log(y[p]) - n->mean_y);
            for (int g = 0; g < n->factors; g++)
                n->a[f][g] += d * deviation(n, x, p, g);
        }
}

/* Gauss-Jordan; the matrix is positive definite where every factor varies on its own, and needs no
 * pivots. Returns false where it is not. */
static bool invert(struct normal *n)
{
    for (int f = 0; f < n->factors; f++) {
        double pivot = n->a[f][f];
        if (!(pivot > 1e-9))
            return false;
        for (int c = 0; c < 2 * n->factors; c++)
            n->a[f][c] /= pivot;
        for (int g = 0; g < n->factors; g++) {
            double times = n->a[g][f];
            for (int c = 0; g != f && c < 2 * n->factors; c++)
                n->a[g][c] -= times * n->a[f][c];
        }
    }
    return true;
}

/* Student's t of 97.5 %: exact for few degrees of freedom, else the expansion of Cornish and
 * Fisher, within 0.2 %. */
static double student(int freedom)
{
    static const double few[] = {12.706, 4.303, 3.182, 2.776};
    const double z = 1.959964, v = freedom, z2 = z * z;
    if (freedom <= 4)
        return few[freedom - 1];
    return z + z * (z2 + 1) / (4 * v) + z * (5 * z2 * z2 + 16 * z2 + 3) / (96 * v * v) +
           z * (3 * z2 * z2 * z2 + 19 * z2 * z2 + 17 * z2 - 15) / (384 * v * v * v);
}

static double variance(const struct normal *n, int points, const double *x, const double *y,
                       const struct lj_power *power)
{
    double squares = 0;
    for (int p = 0; p < points; p++) {
        double rest = log(y[p]) - n->mean_y;
        for (int f = 0; f < n->factors; f++)
            rest -= power[f].exponent * deviation(n, x, p, f);
        squares += rest * rest;
    }
    return squares / (points - n->factors - 1);
}

void lj_power_fit(int points, int factors, const double *x, const double *y, struct lj_power *power)
{
    struct normal n = {.factors = factors};
    int freedom = points - factors - 1;
    for (int f = 0; f < factors; f++)
        power[f] = (struct lj_power){NAN, NAN, NAN};
    make_normal(&n, points, x, y);
    if (freedom < 0 || !invert(&n))
        return;
    for (int f = 0; f < factors; f++) {
        power[f].exponent = 0;
        for (int g = 0; g < factors; g++)
            power[f].exponent += n.a[f][factors + g] * n.b[g];
    }
    if (freedom == 0)
        return;
    double of_rest = variance(&n, points, x, y, power);
    for (int f = 0; f < factors; f++) {
        double half = student(freedom) * sqrt(of_rest * n.a[f][factors + f]);
        power[f].low = power[f].exponent - half;
        power[f].high = power[f].exponent + half;
    }
}
