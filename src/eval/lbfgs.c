/* SPDX-License-Identifier: Apache-2.0 */
/* L-BFGS: the direction by a two-loop recursion over the last 10 steps (Nocedal & Wright 2006,
 * algorithm 7.4), its length by bisection until the weak Wolfe conditions hold (Lewis & Overton
 * 2013, algorithm 2.6), which make the curvature s.y positive. */
#include "eval/lbfgs.h"

#include <math.h>
#include <string.h>

enum { HISTORY = 10, STEPS_MAX = 60, LANES = 8 };

struct state {
    struct lj_lbfgs *problem;
    int64_t n;
    double *x, *gradient;         /* the present point */
    double *x_try, *gradient_try; /* a trial point */
    double *direction;
    double *s[HISTORY], *y[HISTORY]; /* changes of x and gradient, newest at `newest` */
    double rho[HISTORY];             /* 1 / (s.y) */
    int kept, newest;
    double loss, loss_try;
};

/* Eight running sums, so that the compiler may use vectors without changing the order. */
static double dot(const double *a, const double *b, int64_t n)
{
    double sum[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            sum[l] += a[i + l] * b[i + l];
    for (int l = 0; i < n; i++, l++)
        sum[l] += a[i] * b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* y += a x */
static void axpy(double *y, double a, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static double largest(const double *x, int64_t n)
{
    double norm = 0.0;
    for (int64_t i = 0; i < n; i++)
        norm = fmax(norm, fabs(x[i]));
    return norm;
}

/* direction = -H gradient */
static void find_direction(struct state *state)
{
    double alpha[HISTORY], *d = state->direction;
    int64_t n = state->n;
    for (int64_t i = 0; i < n; i++)
        d[i] = -state->gradient[i];
    for (int back = 0; back < state->kept; back++) {
        int h = (state->newest - back + HISTORY) % HISTORY;
        alpha[h] = state->rho[h] * dot(state->s[h], d, n);
        axpy(d, -alpha[h], state->y[h], n);
    }
    if (state->kept > 0) {
        const double *y = state->y[state->newest];
        double scale = 1.0 / (state->rho[state->newest] * dot(y, y, n));
        for (int64_t i = 0; i < n; i++)
            d[i] *= scale;
    }
    for (int back = state->kept - 1; back >= 0; back--) {
        int h = (state->newest - back + HISTORY) % HISTORY;
        double beta = state->rho[h] * dot(state->y[h], d, n);
        axpy(d, alpha[h] - beta, state->s[h], n);
    }
}

static void evaluate_at(struct state *state, double step)
{
    memcpy(state->x_try, state->x, (size_t)state->n * sizeof *state->x);
    axpy(state->x_try, step, state->direction, state->n);
    state->loss_try =
        state->problem->value(state->problem->data, state->x_try, state->gradient_try);
}

/* A trial point that satisfies the weak Wolfe conditions; false when there is none to be found. */
static bool search_line(struct state *state, double step)
{
    double low = 0.0, high = INFINITY;
    double slope = dot(state->gradient, state->direction, state->n);
    double rounding =
        1e-15 * fabs(state->loss); /* near the minimum a decrease is smaller than this */
    if (!(slope < 0.0))
        return false;
    for (int i = 0; i < STEPS_MAX; i++) {
        evaluate_at(state, step);
        if (!(state->loss_try <= state->loss + 1e-4 * step * slope + rounding))
            high = step;
        else if (dot(state->gradient_try, state->direction, state->n) < 0.9 * slope)
            low = step;
        else
            return true;
        step = isinf(high) ? 2.0 * low : 0.5 * (low + high);
    }
    return false;
}

static void swap(double **a, double **b)
{
    double *kept = *a;
    *a = *b;
    *b = kept;
}

/* Remembers the step to the trial point and moves there. */
static void accept(struct state *state)
{
    int h = (state->newest + 1) % HISTORY;
    for (int64_t i = 0; i < state->n; i++) {
        state->s[h][i] = state->x_try[i] - state->x[i];
        state->y[h][i] = state->gradient_try[i] - state->gradient[i];
    }
    double curvature = dot(state->s[h], state->y[h], state->n);
    if (curvature > 0.0) {
        state->rho[h] = 1.0 / curvature;
        state->newest = h;
        state->kept += state->kept < HISTORY;
    } else {
        state->kept = 0; /* rounding, at the end of the search: forget all steps */
    }
    swap(&state->x, &state->x_try);
    swap(&state->gradient, &state->gradient_try);
    state->loss = state->loss_try;
}

/* One iteration. If the search along the direction fails, the history is dropped and the negative
 * gradient is tried. */
static bool iterate(struct state *state)
{
    for (;;) {
        find_direction(state);
        double first = 1.0;
        if (state->kept == 0)
            first = 1.0 / fmax(1.0, sqrt(dot(state->gradient, state->gradient, state->n)));
        if (search_line(state, first)) {
            accept(state);
            return true;
        }
        if (state->kept == 0)
            return false;
        state->kept = 0;
    }
}

static int run(struct state *state)
{
    struct lj_lbfgs *problem = state->problem;
    state->loss = problem->value(problem->data, state->x, state->gradient);
    for (problem->iterations = 0;; problem->iterations++) {
        problem->loss = state->loss;
        problem->gradient_norm = largest(state->gradient, state->n);
        if (!isfinite(state->loss))
            return lj_fail(LJ_ERR_NUMERIC,
                           "the loss is not finite at iteration %d; are the "
                           "features finite?",
                           problem->iterations);
        if (problem->gradient_norm < problem->tolerance)
            return LJ_OK;
        if (problem->iterations < problem->max_iterations && iterate(state))
            continue;
        if (problem->may_end)
            return LJ_OK;
        return lj_fail(LJ_ERR_NUMERIC,
                       "no convergence after %d iterations: the gradient's largest element is "
                       "%.3g, expected below %.3g; a larger l2 makes the problem easier",
                       problem->iterations, problem->gradient_norm, problem->tolerance);
    }
}

int64_t lj_lbfgs_work(int64_t count)
{
    return (5 + 2 * HISTORY) * count;
}

int lj_lbfgs_minimise(struct lj_lbfgs *problem, double *x)
{
    int64_t n = problem->count;
    double *work = problem->work;
    struct state state = {.problem = problem,
                          .n = n,
                          .x = work,
                          .gradient = work + n,
                          .x_try = work + 2 * n,
                          .gradient_try = work + 3 * n,
                          .direction = work + 4 * n};
    for (int h = 0; h < HISTORY; h++) {
        state.s[h] = work + (5 + 2 * h) * n;
        state.y[h] = work + (6 + 2 * h) * n;
    }
    memcpy(state.x, x, (size_t)n * sizeof *x);
    int status = run(&state);
    memcpy(x, state.x, (size_t)n * sizeof *x);
    return status;
}
