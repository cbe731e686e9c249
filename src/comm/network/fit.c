/* SPDX-License-Identifier: Apache-2.0 */
/* The network: a LogGP model (Alexandrov, Ionescu, Schauser, Scheiman, 1997) fitted to samples.
 *
 * A message of m bytes takes L + 2 o + m G. A rank that sends n messages of m bytes and receives as
 * many takes L + 2 o + n g + n m G', G' that of a node or network that all ranks use at once. A sum
 * over ranks takes, with r rounds at a level (log2 of the ranks of a node, of the nodes),
 *
 *     short vectors   sum over levels of r (a + m b)                   recursive doubling
 *     long ones       sum over levels of 2 r a' + 2 m (1 - 1/k) b'     reduce-scatter and gather
 *
 * k ranks of a node, or nodes. Which algorithm MPI takes is its own matter; a, b, a', b' are fitted
 * to sums that were timed, the additions among them.
 *
 * Parameters minimise a sum over samples of functions of the error e = log(x / t), x being what the
 * model says and t what was measured; none of them is below 0. So samples of a microsecond count as
 * those of a millisecond do, and half the time as much as twice the time. The functions are
 * Huber's, squares up to a tenth and straight lines beyond: a sample that was disturbed, or that a
 * buffer let through at once, does not draw the model to it. Solved by least squares whose weights
 * come from the solution before: with r = x / t the square (r - 1)^2 times min(|e|, 0.1) /
 * (r |r - 1|) has the slope of Huber's function. There are at most four unknowns, so every subset
 * that is held at 0 is tried. */
#include "comm/network/network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNKNOWNS_MAX = 4, ROUNDS = 40 };

static const double square_until = 0.1;

/* Rows a x = b, already divided by what was measured. */
struct problem {
    int unknowns, rows;
    double a[LJ_NETWORK_SAMPLES_MAX][UNKNOWNS_MAX], b[LJ_NETWORK_SAMPLES_MAX];
    double weight[LJ_NETWORK_SAMPLES_MAX]; /* of squares */
    double scale[UNKNOWNS_MAX];            /* of the columns */
};

/* What was measured is a known time and a sum of unknowns times these coefficients. */
static void add_row(struct problem *p, const double *coefficient, double known_s, double seconds)
{
    if (seconds <= 0 || p->rows == LJ_NETWORK_SAMPLES_MAX)
        return;
    p->b[p->rows] = 1 - known_s / seconds;
    p->weight[p->rows] = 1;
    for (int i = 0; i < p->unknowns; i++) {
        p->a[p->rows][i] = coefficient[i] / seconds;
        p->scale[i] = fmax(p->scale[i], fabs(p->a[p->rows][i]));
    }
    p->rows++;
}

/* Of what was measured, the share by which the model is above it. */
static double residual(const struct problem *p, int row, const double *x)
{
    double sum = -p->b[row];
    for (int i = 0; i < p->unknowns; i++)
        sum += p->a[row][i] * x[i];
    return sum;
}

static double squared_error(const struct problem *p, const double *x)
{
    double sum = 0;
    for (int r = 0; r < p->rows; r++)
        sum += p->weight[r] * residual(p, r, x) * residual(p, r, x);
    return sum;
}

/* Gauss-Jordan elimination with pivots from the diagonal of a positive matrix with a right side.
 * False if columns depend on each other. */
static bool eliminate(double m[UNKNOWNS_MAX][UNKNOWNS_MAX + 1], int n)
{
    for (int i = 0; i < n; i++) {
        if (m[i][i] < 1e-10)
            return false;
        for (int j = 0; j < n; j++) {
            double factor = m[j][i] / m[i][i];
            for (int k = i; k <= n && j != i; k++)
                m[j][k] -= factor * m[i][k];
        }
    }
    return true;
}

/* Least squares over the unknowns of a set of bits, the others 0, columns scaled to 1. */
static bool solve_subset(const struct problem *p, unsigned set, double *x)
{
    double m[UNKNOWNS_MAX][UNKNOWNS_MAX + 1] = {{0}};
    int member[UNKNOWNS_MAX], n = 0;
    for (int i = 0; i < p->unknowns; i++)
        if (set >> i & 1)
            member[n++] = i;
    for (int i = 0; i < n; i++) {
        if (p->scale[member[i]] <= 0)
            return false;
        for (int r = 0; r < p->rows; r++) {
            double left = p->weight[r] * p->a[r][member[i]] / p->scale[member[i]];
            for (int j = 0; j < n; j++)
                m[i][j] += left * p->a[r][member[j]] / p->scale[member[j]];
            m[i][n] += left * p->b[r];
        }
    }
    if (!eliminate(m, n))
        return false;
    memset(x, 0, UNKNOWNS_MAX * sizeof *x);
    for (int i = 0; i < n; i++)
        x[member[i]] = m[i][n] / m[i][i] / p->scale[member[i]];
    return true;
}

static bool feasible(const struct problem *p, const double *x)
{
    bool good = true;
    for (int i = 0; i < p->unknowns; i++)
        good = good && x[i] >= 0;
    return good;
}

/* The best of all subsets with the weights there are; zeros without rows. */
static void solve_weighted(const struct problem *p, double *x)
{
    double best = INFINITY;
    memset(x, 0, UNKNOWNS_MAX * sizeof *x);
    for (unsigned set = 1; set < 1u << p->unknowns; set++) {
        double candidate[UNKNOWNS_MAX];
        if (!solve_subset(p, set, candidate) || !feasible(p, candidate))
            continue;
        double error = squared_error(p, candidate);
        if (error < best) {
            best = error;
            memcpy(x, candidate, sizeof candidate);
        }
    }
}

/* x: (UNKNOWNS_MAX) out; zeros without rows. */
static void solve(struct problem *p, double *x)
{
    solve_weighted(p, x);
    for (int round = 0; round < ROUNDS; round++) {
        for (int r = 0; r < p->rows; r++) {
            double ratio = fmax(1 + residual(p, r, x), 1e-3); /* model / measured */
            double off = fmax(fabs(ratio - 1), 1e-9), error = fmax(fabs(log(ratio)), 1e-9);
            p->weight[r] = fmin(error, square_until) / (ratio * off);
        }
        solve_weighted(p, x);
    }
}

/* ---- links ------------------------------------------------------------------------------- */

static bool is_of(const struct lj_network_sample *s, enum lj_pattern pattern, enum lj_level level)
{
    return s->pattern == pattern && s->level == level;
}

/* How many pairs at most talked at once. */
static int most_pairs(const struct lj_network *n, enum lj_level level)
{
    int most = 0;
    for (int i = 0; i < n->count; i++)
        if (is_of(&n->sample[i], LJ_PATTERN_PAIRS, level) && n->sample[i].pairs > most)
            most = n->sample[i].pairs;
    return most;
}

/* First time and time a byte of so many pairs at once. */
static void fit_pairs(const struct lj_network *n, enum lj_level level, int pairs, double *x)
{
    struct problem p = {.unknowns = 2};
    for (int i = 0; i < n->count; i++) {
        const struct lj_network_sample *s = &n->sample[i];
        if (is_of(s, LJ_PATTERN_PAIRS, level) && s->pairs == pairs)
            add_row(&p, (double[]){1, (double)s->bytes}, 0, s->seconds);
    }
    solve(&p, x);
}

static double fit_post(const struct lj_network *n, enum lj_level level)
{
    struct problem p = {.unknowns = 1};
    double x[UNKNOWNS_MAX];
    for (int i = 0; i < n->count; i++)
        if (is_of(&n->sample[i], LJ_PATTERN_POST, level))
            add_row(&p, (double[]){1}, 0, n->sample[i].seconds);
    solve(&p, x);
    return x[0];
}

/* Gap and time a byte of ranks that all send and receive; the first message's time is known. */
static void fit_exchange(const struct lj_network *n, enum lj_level level, struct lj_link *link)
{
    struct problem p = {.unknowns = 2};
    double x[UNKNOWNS_MAX];
    for (int i = 0; i < n->count; i++) {
        const struct lj_network_sample *s = &n->sample[i];
        if (is_of(s, LJ_PATTERN_EXCHANGE, level))
            add_row(&p, (double[]){s->messages, (double)s->messages * (double)s->bytes},
                    link->L + 2 * link->o, s->seconds);
    }
    solve(&p, x);
    link->g = x[0];
    link->full_G = x[1];
}

static void fit_link(const struct lj_network *n, enum lj_level level, struct lj_link *link)
{
    double alone[UNKNOWNS_MAX], all[UNKNOWNS_MAX];
    int most = most_pairs(n, level);
    *link = (struct lj_link){.measured = most > 0};
    if (most == 0)
        return;
    fit_pairs(n, level, 1, alone);
    fit_pairs(n, level, most, all);
    link->o = fmin(fit_post(n, level), alone[0] / 2);
    link->L = alone[0] - 2 * link->o;
    link->G = alone[1];
    link->busy_G = all[1];
    fit_exchange(n, level, link);
}

/* ---- sums -------------------------------------------------------------------------------- */

/* Ranks that talk at a level: those of a node, the nodes. */
static void members(struct lj_placement place, double member[LJ_LEVELS])
{
    int nodes = (place.ranks + place.per_node - 1) / place.per_node;
    member[LJ_LEVEL_NODE] = (double)lj_min_i64(place.ranks, place.per_node);
    member[LJ_LEVEL_NETWORK] = nodes;
}

/* Coefficients of each level's round and byte in the time of a sum. */
static void sum_row(struct lj_placement place, int64_t bytes, bool is_long, double *coefficient)
{
    double member[LJ_LEVELS];
    members(place, member);
    for (int level = 0; level < LJ_LEVELS; level++) {
        double rounds = ceil(log2(member[level])), m = (double)bytes;
        coefficient[2 * level] = is_long ? 2 * rounds : rounds;
        coefficient[2 * level + 1] = is_long ? 2 * m * (1 - 1 / member[level]) : rounds * m;
    }
}

static void fit_sums(const struct lj_network *n, bool is_long, double *x)
{
    struct problem p = {.unknowns = 2 * LJ_LEVELS};
    double coefficient[UNKNOWNS_MAX];
    for (int i = 0; i < n->count; i++) {
        const struct lj_network_sample *s = &n->sample[i];
        if (s->pattern != LJ_PATTERN_ALLREDUCE || (s->bytes > LJ_SUM_SHORT) != is_long)
            continue;
        sum_row((struct lj_placement){s->ranks, s->per_node}, s->bytes, is_long, coefficient);
        add_row(&p, coefficient, 0, s->seconds);
    }
    solve(&p, x);
}

static double sum_regime_s(const struct lj_network_model *model, struct lj_placement place,
                           int64_t bytes, bool is_long)
{
    double c[UNKNOWNS_MAX], seconds = 0;
    sum_row(place, bytes, is_long, c);
    for (int level = 0; level < LJ_LEVELS; level++) {
        const struct lj_sum_cost *cost = &model->sum[level];
        seconds += c[2 * level] * (is_long ? cost->long_round_s : cost->round_s) +
                   c[2 * level + 1] * (is_long ? cost->long_byte_s : cost->byte_s);
    }
    return seconds;
}

/* A long vector takes no less than a short one, so that time grows with size. */
double lj_network_sum_s(const struct lj_network_model *model, struct lj_placement place,
                        int64_t bytes)
{
    double at_least = sum_regime_s(model, place, lj_min_i64(bytes, LJ_SUM_SHORT), false);
    return bytes > LJ_SUM_SHORT ? fmax(at_least, sum_regime_s(model, place, bytes, true))
                                : at_least;
}

/* ---- all of it --------------------------------------------------------------------------- */

double lj_network_exchange_s(const struct lj_link *link, int64_t messages, int64_t bytes)
{
    return messages > 0 ? (double)messages * link->g + (double)bytes * link->full_G : 0;
}

double lj_network_predict(const struct lj_network_model *model, const struct lj_network_sample *s)
{
    const struct lj_link *link = &model->link[s->level];
    double first = link->L + 2 * link->o;
    switch (s->pattern) {
    case LJ_PATTERN_PAIRS:
        return first + (double)s->bytes * (s->pairs > 1 ? link->busy_G : link->G);
    case LJ_PATTERN_POST:
        return link->o;
    case LJ_PATTERN_EXCHANGE:
        return first + lj_network_exchange_s(link, s->messages, s->messages * s->bytes);
    default:
        return lj_network_sum_s(model, (struct lj_placement){s->ranks, s->per_node}, s->bytes);
    }
}

static void judge(const struct lj_network *n, struct lj_network_model *model)
{
    double error[LJ_NETWORK_SAMPLES_MAX];
    int count = 0;
    for (int i = 0; i < n->count; i++)
        if (n->sample[i].seconds > 0)
            error[count++] =
                fabs(lj_network_predict(model, &n->sample[i]) / n->sample[i].seconds - 1);
    qsort(error, (size_t)count, sizeof *error, lj_ascending_f64);
    model->samples = count;
    model->error = count > 0 ? error[count / 2] : 0;
    model->error_most = count > 0 ? error[count - 1] : 0;
}

void lj_network_fit(const struct lj_network *network, struct lj_network_model *model)
{
    double brief[UNKNOWNS_MAX], extended[UNKNOWNS_MAX];
    *model = (struct lj_network_model){0};
    fit_sums(network, false, brief);
    fit_sums(network, true, extended);
    for (int level = 0; level < LJ_LEVELS; level++) {
        fit_link(network, (enum lj_level)level, &model->link[level]);
        model->sum[level] = (struct lj_sum_cost){.round_s = brief[2 * level],
                                                 .byte_s = brief[2 * level + 1],
                                                 .long_round_s = extended[2 * level],
                                                 .long_byte_s = extended[2 * level + 1]};
    }
    for (int level = 0; level < LJ_LEVELS; level++) {
        const int other = 1 - level;
        if (model->link[level].measured || !model->link[other].measured)
            continue;
        model->link[level] = model->link[other];
        model->link[level].measured = false;
        model->sum[level] = model->sum[other];
    }
    judge(network, model);
}
