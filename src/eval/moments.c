/* SPDX-License-Identifier: Apache-2.0 */
/* Mean and variance by sums over blocks of rows. A block is summed in double by the rank that has
 * it; then its sum is rounded to 64-bit fixed point, in units that depend on the range of the
 * feature over all rows, so that blocks can be added in any order. */
#include "eval/moments.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { GROUP = 64 }; /* features that one thread takes at a time */

double lj_fixed_scale(double bound)
{
    int exponent;
    frexp(bound, &exponent); /* bound < 2^exponent */
    return ldexp(1.0, 28 - exponent);
}

/* Largest value and largest negative value of each feature, of this rank's rows. What is not finite
 * makes the first of them infinite. */
static void find_range(double *high, double *negative_low, const struct lj_features *x)
{
    bool finite = true;
    for (int64_t j = 0; j < x->width; j++)
        high[j] = negative_low[j] = -INFINITY;
    for (int64_t r = 0; r < x->rows; r++) {
        const float *row = x->values + r * x->width;
        for (int64_t j = 0; j < x->width; j++) {
            double value = (double)row[j];
            finite = finite && fabsf(row[j]) <= FLT_MAX;
            high[j] = value > high[j] ? value : high[j];
            negative_low[j] = -value > negative_low[j] ? -value : negative_low[j];
        }
    }
    if (!finite)
        high[0] = INFINITY;
}

/* What is summed of every value: (x - centre) inverse, to a power. */
struct column_sums {
    const double *centre;  /* (width) */
    const double *inverse; /* (width) of deviations; NULL: 1 */
    const double *scale;   /* (width) lj_fixed_scale */
    int power;             /* 1 .. 4 */
    int64_t *sum;          /* (width) */
};

static double to_power(double d, int power)
{
    double square = d * d;
    if (power == 1)
        return d;
    if (power == 2)
        return square;
    return power == 3 ? square * d : square * square;
}

/* Adds the block of rows [first, end) to the sums of features [from, from + count). */
static void add_block(const struct column_sums *s, const struct lj_features *x, int64_t first,
                      int64_t end, int64_t from, int64_t count)
{
    double part[GROUP] = {0};
    const double *centre = s->centre + from;
    for (int64_t r = first; r < end; r++) {
        const float *row = x->values + r * x->width + from;
        for (int64_t j = 0; j < count; j++) {
            double d = (double)row[j] - centre[j];
            part[j] += to_power(s->inverse ? d * s->inverse[from + j] : d, s->power);
        }
    }
    for (int64_t j = 0; j < count; j++)
        s->sum[from + j] += llrint(part[j] * s->scale[from + j] * 0x1p32);
}

/* The sums over the rows of all ranks. Collective. */
static void sum_columns(struct lj_comm *comm, const struct column_sums *s,
                        const struct lj_features *x)
{
    memset(s->sum, 0, (size_t)x->width * sizeof *s->sum);
#pragma omp parallel for schedule(static)
    for (int64_t from = 0; from < x->width; from += GROUP)
        for (int64_t first = 0; first < x->rows; first += x->block) {
            lj_progress();
            add_block(s, x, first, lj_min_i64(first + x->block, x->rows), from,
                      lj_min_i64(GROUP, x->width - from));
        }
    lj_sum_exact(comm, NULL, s->sum, x->width);
}

static void take_mean(struct lj_moments *m, struct lj_comm *comm, const struct lj_features *x,
                      const double *low, const double *range, double *scale, int64_t *sum)
{
    struct column_sums s = {.centre = low, .scale = scale, .power = 1, .sum = sum};
    for (int64_t j = 0; j < x->width; j++)
        scale[j] = lj_fixed_scale((double)m->rows * range[j]);
    sum_columns(comm, &s, x);
    for (int64_t j = 0; j < x->width; j++)
        m->mean[j] = low[j] + lj_from_fixed(sum[j]) / scale[j] / (double)m->rows;
}

static void take_square(struct lj_moments *m, struct lj_comm *comm, const struct lj_features *x,
                        const double *range, double *scale, int64_t *sum)
{
    struct column_sums s = {.centre = m->mean, .scale = scale, .power = 2, .sum = sum};
    for (int64_t j = 0; j < x->width; j++)
        scale[j] = lj_fixed_scale((double)m->rows * range[j] * range[j]);
    sum_columns(comm, &s, x);
    for (int64_t j = 0; j < x->width; j++)
        m->square[j] = lj_from_fixed(sum[j]) / scale[j];
}

/* work: (3 width) */
static int take(struct lj_moments *m, struct lj_comm *comm, const struct lj_features *x,
                double *work, int64_t *sum)
{
    int64_t width = x->width;
    double *range = work, *low = work + width, *scale = work + 2 * width;
    find_range(range, low, x);
    lj_all_max_f64(comm, work, 2 * width);
    for (int64_t j = 0; j < width; j++) {
        low[j] = -low[j];
        range[j] -= low[j];
        if (!isfinite(range[j]))
            return lj_fail(LJ_ERR_NUMERIC, "embeddings hold values that are not finite");
    }
    take_mean(m, comm, x, low, range, scale, sum);
    take_square(m, comm, x, range, scale, sum);
    return LJ_OK;
}

int lj_moments_create(struct lj_moments *m, struct lj_comm *comm, const struct lj_features *x)
{
    int64_t width = x->width;
    *m = (struct lj_moments){.rows = lj_all_sum(comm, x->rows)};
    if (m->rows < 1 || width < 1 || width > INT32_MAX)
        return lj_fail(LJ_ERR_DATA, "embeddings have shape (%lld, %lld), expected at least (1, 1)",
                       (long long)m->rows, (long long)width);
    m->mean = lj_alloc_array(width, sizeof *m->mean, "evaluation");
    m->square = lj_alloc_array(width, sizeof *m->square, "evaluation");
    double *work = lj_alloc_array(3 * width, sizeof *work, "evaluation");
    int64_t *sum = lj_alloc_array(width, sizeof *sum, "evaluation");
    bool all = m->mean && m->square && work && sum;
    int status = lj_agree(comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = take(m, comm, x, work, sum);
    lj_free(work);
    lj_free(sum);
    if (status != LJ_OK)
        lj_moments_destroy(m);
    return status;
}

/* work: (2 width). |z| is at most sqrt(N), so that no sum of fourth powers exceeds N^2. */
static void take_power(const struct lj_moments *m, struct lj_comm *comm,
                       const struct lj_features *x, int power, double *work, int64_t *sum,
                       double *mean)
{
    double *inverse = work, *scale = work + x->width, n = (double)m->rows;
    for (int64_t j = 0; j < x->width; j++) {
        inverse[j] = m->square[j] > 0.0 ? 1.0 / sqrt(m->square[j] / n) : 0.0;
        scale[j] = lj_fixed_scale(2.0 * n * n);
    }
    struct column_sums s = {
        .centre = m->mean, .inverse = inverse, .scale = scale, .power = power, .sum = sum};
    sum_columns(comm, &s, x);
    for (int64_t j = 0; j < x->width; j++)
        mean[j] = lj_from_fixed(sum[j]) / scale[j] / n;
}

int lj_moments_standardised(const struct lj_moments *m, struct lj_comm *comm,
                            const struct lj_features *x, int power, double *mean)
{
    double *work = lj_alloc_array(2 * x->width, sizeof *work, "evaluation");
    int64_t *sum = lj_alloc_array(x->width, sizeof *sum, "evaluation");
    int status = lj_agree(comm, work && sum ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        take_power(m, comm, x, power, work, sum, mean);
    lj_free(work);
    lj_free(sum);
    return status;
}

void lj_moments_destroy(struct lj_moments *m)
{
    lj_free(m->mean);
    lj_free(m->square);
    *m = (struct lj_moments){0};
}
