/* SPDX-License-Identifier: Apache-2.0 */
/* The two quadrature grids in circulation. Both integrate f(t) exp(-t^2/2) by the trapezoid rule
 * for the even function f(t) = |phi_x(t) - exp(-t^2/2)|^2; at t = 0 f vanishes, so that knot is
 * left out.
 *   a (published code): 17 knots on [0, 3], step 3/16, doubled by symmetry inside; the published
 *     weights do not double the last knot, and neither do we
 *   b (paper, Algorithm 1): 17 knots on [-5, 5], step 5/8; pairs +-t are one knot of double weight
 *    */
#include "loss/loss.h"

#include <math.h>

int lj_sigreg_knots(enum lj_sigreg_grid grid, double *t, double *weight)
{
    int knots = grid == LJ_SIGREG_GRID_B ? 8 : 16;
    double step = grid == LJ_SIGREG_GRID_B ? 5.0 / 8 : 3.0 / 16;
    for (int k = 1; k <= knots; k++) {
        double ends = k == knots ? 1 : 2;
        t[k - 1] = k * step;
        weight[k - 1] = ends * step * exp(-0.5 * t[k - 1] * t[k - 1]);
    }
    return knots;
}

/* C = 1 and S = 0 at every knot. */
double lj_sigreg_collapsed(enum lj_sigreg_grid grid)
{
    double t[LJ_KNOTS_MAX], weight[LJ_KNOTS_MAX], value = 0;
    int knots = lj_sigreg_knots(grid, t, weight);
    for (int k = 0; k < knots; k++) {
        double missing = 1 - exp(-0.5 * t[k] * t[k]);
        value += weight[k] * missing * missing;
    }
    return value;
}

/* For x ~ N(0,1): N E[(C - phi)^2 + S^2] = 1 - phi^2, whatever N. */
double lj_sigreg_floor(enum lj_sigreg_grid grid)
{
    double t[LJ_KNOTS_MAX], weight[LJ_KNOTS_MAX], floor = 0;
    int knots = lj_sigreg_knots(grid, t, weight);
    for (int k = 0; k < knots; k++)
        floor += weight[k] * (1 - exp(-t[k] * t[k]));
    return floor;
}
