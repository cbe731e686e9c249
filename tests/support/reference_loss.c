/* SPDX-License-Identifier: Apache-2.0 */
/* The LeJEPA loss, written from the formulas: Epps-Pulley EP = N sum_k w_k [(C - phi)^2 +
 * S^2] over 17 knots, its derivative by the chain rule through C and S; prediction as a sum
 * over all elements. */
#include "reference_loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KNOTS = 17 };

/* Knots and weights of a grid: a has knots 0 .. 3, and doubles the weights for those below 0; b has
 * knots -5 .. 5. */
static void make_grid(enum lj_sigreg_grid grid, double t[KNOTS], double w[KNOTS])
{
    double step = grid == LJ_SIGREG_GRID_A ? 3.0 / 16 : 10.0 / 16,
           first = grid == LJ_SIGREG_GRID_A ? 0 : -5;
    for (int k = 0; k < KNOTS; k++) {
        bool end = k == 0 || k == KNOTS - 1;
        t[k] = first + k * step;
        w[k] = (grid == LJ_SIGREG_GRID_A ? (end ? 1 : 2) : (end ? 0.5 : 1)) * step *
               exp(-t[k] * t[k] / 2);
    }
}

/* EP of x (n), and unless NULL its gradient dx (n). */
static double epps_pulley(enum lj_sigreg_grid grid, const double *x, int64_t n, double *dx)
{
    double t[KNOTS], w[KNOTS], value = 0;
    make_grid(grid, t, w);
    for (int64_t i = 0; dx && i < n; i++)
        dx[i] = 0;
    for (int k = 0; k < KNOTS; k++) {
        double c = 0, s = 0, phi = exp(-t[k] * t[k] / 2);
        for (int64_t i = 0; i < n; i++) {
            c += cos(t[k] * x[i]) / (double)n;
            s += sin(t[k] * x[i]) / (double)n;
        }
        value += (double)n * w[k] * ((c - phi) * (c - phi) + s * s);
        for (int64_t i = 0; dx && i < n; i++)
            dx[i] += w[k] * (2 * (c - phi) * -sin(t[k] * x[i]) + 2 * s * cos(t[k] * x[i])) * t[k];
    }
    return value;
}

/* SIGReg of one view z (N, D), summed over slices; adds scale times its gradient
 * to dz unless NULL. */
static double view_sigreg(const struct reference_loss *l, const double *z, double scale, double *dz)
{
    int64_t n = l->samples, width = l->width;
    double *x = calloc((size_t)(2 * n + width), sizeof *x), *dx = x + n, *a = dx + n, value = 0;
    for (int64_t m = 0; m < l->slices; m++) {
        double length = 0;
        for (int64_t d = 0; d < width; d++)
            length += l->slice[d * l->slices + m] * l->slice[d * l->slices + m];
        for (int64_t d = 0; d < width; d++)
            a[d] = l->slice[d * l->slices + m] / sqrt(length);
        memset(x, 0, (size_t)n * sizeof *x);
        for (int64_t i = 0; i < n * width; i++)
            x[i / width] += z[i] * a[i % width];
        value += epps_pulley(l->grid, x, n, dz ? dx : NULL);
        for (int64_t i = 0; dz && i < n * width; i++)
            dz[i] += scale * dx[i / width] * a[i % width];
    }
    free(x);
    return value;
}

/* Squared distances of all views from the mean of the centre views, summed; adds scale times the
 * gradient to dz unless NULL. */
static double prediction(const struct reference_loss *l, const double *z, double scale, double *dz)
{
    int64_t plane = l->samples * l->width;
    double sum = 0;
    for (int64_t i = 0; i < plane; i++) {
        double centre = 0, pull = 0;
        for (int64_t v = 0; v < l->centre_views; v++)
            centre += z[v * plane + i] / (double)l->centre_views;
        for (int64_t v = 0; v < l->views; v++) {
            double e = z[v * plane + i] - centre;
            sum += e * e;
            pull += 2 * e / (double)l->centre_views;
            if (dz)
                dz[v * plane + i] += scale * 2 * e;
        }
        for (int64_t v = 0; dz && v < l->centre_views; v++)
            dz[v * plane + i] -= scale * pull;
    }
    return sum;
}

struct reference_terms reference_lejepa(const struct reference_loss *l, const double *z, double *dz)
{
    struct reference_terms terms = {0};
    int64_t plane = l->samples * l->width;
    double share = l->additive ? 1 : 1 - l->lambda, elements = (double)(plane * l->views);
    double mean = 1 / (double)(l->views * l->slices);
    if (dz)
        memset(dz, 0, (size_t)(plane * l->views) * sizeof *dz);
    for (int64_t v = 0; v < l->views; v++)
        terms.sigreg +=
            mean * view_sigreg(l, z + v * plane, l->lambda * mean, dz ? dz + v * plane : NULL);
    terms.prediction = prediction(l, z, share / elements, dz) / elements;
    terms.total = l->lambda * terms.sigreg + share * terms.prediction;
    return terms;
}
