/* SPDX-License-Identifier: Apache-2.0 */
/* Multinomial logistic regression in double:
 *
 *     p_r = softmax(z_r W)     loss = -1/N sum_r log p_r[y_r] + l2/2 |W|^2 (bias free)
 *     dloss/dW = 1/N Z^T (P - onehot(y)) + l2 W
 *
 * Sums over a block of rows run in double and in one order, on one rank. Sums over blocks are
 * integers, so that ranks and blocks may come in any order. Of the gradient, all terms of an
 * element together are at most 1 in magnitude, since |p - y| <= 1 and the mean of z^2 is 1. The
 * loss has no bound and needs more digits than 64 bits have, so it is kept as two numbers. Threads
 * split the rows for the logits, and the features for Z^T P. */
#include "eval/logistic.h"

#include "kernels/kernels.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { BLOCK = LJ_FEATURES_BLOCK, CHUNK = 4 * BLOCK, GROUP = 8 };

/* What follows the gradient in the sums. */
enum { LOSS_HIGH, LOSS_LOW, NONFINITE, SCALARS };

static void standardise(const struct lj_logistic *problem, double *z, const float *x, int64_t rows)
{
    int64_t width = problem->x->width;
    const double *mean = problem->moments.mean;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < width; j++)
            z[r * (width + 1) + j] = ((double)x[r * width + j] - mean[j]) * problem->inverse[j];
        z[r * (width + 1) + width] = 1.0;
    }
}

/* Logits of rows [first, first + rows) of a chunk into problem->p, standardised features into
 * problem->z. x: the chunk's. */
static void logits_of(struct lj_logistic *problem, const double *parameters, const float *x,
                      int64_t first, int64_t rows)
{
    int64_t width = problem->x->width, classes = problem->classes;
    double *z = problem->z + first * (width + 1), *p = problem->p + first * classes;
    standardise(problem, z, x + first * width, rows);
    memset(p, 0, (size_t)(rows * classes) * sizeof *p);
    lj_kernels()->add_matmul(p, z, width + 1, 1, parameters, rows, width + 1, classes);
}

/* Turns the logits p of one row into (softmax - onehot) / N; returns its cross-entropy / N. A row
 * whose loss is not finite contributes zeros.
 * share = 1/N. */
static double softmax_row(double *p, int64_t classes, int32_t member, double share)
{
    double top = p[0], sum = 0.0, own = p[member];
    for (int64_t k = 1; k < classes; k++)
        top = fmax(top, p[k]);
    for (int64_t k = 0; k < classes; k++) {
        p[k] = exp(p[k] - top);
        sum += p[k];
    }
    double loss = (log(sum) + top - own) * share;
    if (!isfinite(loss)) {
        memset(p, 0, (size_t)classes * sizeof *p);
        return NAN;
    }
    for (int64_t k = 0; k < classes; k++)
        p[k] *= share / sum;
    p[member] -= share;
    return loss;
}

/* Adds the loss of a block to the sums: to the nearest multiple of 2^-32, then what is left. */
static void add_loss(const struct lj_logistic *problem, int64_t first, int64_t rows,
                     int64_t scalar[SCALARS])
{
    double sum = 0.0;
    int64_t nonfinite = 0;
    for (int64_t r = 0; r < rows; r++)
        sum += problem->loss[first + r];
    int64_t high = lj_to_fixed((problem->moments.rows + BLOCK - 1) / BLOCK + 1, sum, &nonfinite);
    scalar[NONFINITE] += nonfinite;
    scalar[LOSS_HIGH] += high;
    if (nonfinite == 0)
        scalar[LOSS_LOW] += llrint((sum - lj_from_fixed(high)) * 0x1p72);
}

/* Sums of features [from, from + count) (count, classes) += Z^T P, block by block. */
static void add_gradient(const struct lj_logistic *problem, int64_t from, int64_t count,
                         int64_t rows, double *part, int64_t *sum)
{
    int64_t features = problem->x->width + 1, classes = problem->classes;
    double scale = lj_fixed_scale(1.0);
    for (int64_t first = 0; first < rows; first += BLOCK) {
        memset(part, 0, (size_t)(count * classes) * sizeof *part);
        lj_kernels()->add_matmul(part, problem->z + first * features + from, 1, features,
                                 problem->p + first * classes, count,
                                 lj_min_i64(BLOCK, rows - first), classes);
        for (int64_t i = 0; i < count * classes; i++)
            sum[i] += llrint(part[i] * scale * 0x1p32);
    }
}

/* Rows [first, first + rows) of mine, whole blocks but for the last. */
static void add_chunk(struct lj_logistic *problem, const double *parameters, int64_t first,
                      int64_t rows)
{
    int64_t features = problem->x->width + 1, classes = problem->classes;
    const float *x = problem->x->values + first * problem->x->width;
    double share = 1.0 / (double)problem->moments.rows;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t from = 0; from < rows; from += GROUP) {
            int64_t end = lj_min_i64(from + GROUP, rows);
            logits_of(problem, parameters, x, from, end - from);
            for (int64_t r = from; r < end; r++)
                problem->loss[r] = softmax_row(problem->p + r * classes, classes,
                                               problem->member[first + r], share);
        }
        double *part = problem->part + omp_get_thread_num() * GROUP * classes;
#pragma omp for schedule(static)
        for (int64_t from = 0; from < features; from += GROUP)
            add_gradient(problem, from, lj_min_i64(GROUP, features - from), rows, part,
                         problem->sum + from * classes);
    }
    for (int64_t from = 0; from < rows; from += BLOCK)
        add_loss(problem, from, lj_min_i64(BLOCK, rows - from), problem->sum + features * classes);
}

double lj_logistic_value(void *data, const double *parameters, double *gradient)
{
    struct lj_logistic *problem = data;
    int64_t weights = problem->x->width * problem->classes, unknowns = weights + problem->classes;
    double unit = 1.0 / lj_fixed_scale(1.0), square = 0.0;
    const int64_t *scalar = problem->sum + unknowns;
    memset(problem->sum, 0, (size_t)(unknowns + SCALARS) * sizeof *problem->sum);
    lj_fault_slow("fit", -1);
    for (int64_t first = 0; first < problem->x->rows; first += CHUNK) {
        add_chunk(problem, parameters, first, lj_min_i64(CHUNK, problem->x->rows - first));
        lj_progress();
    }
    lj_sum_exact(problem->comm, NULL, problem->sum, unknowns + SCALARS);
    for (int64_t i = 0; i < unknowns; i++)
        gradient[i] = lj_from_fixed(problem->sum[i]) * unit;
    for (int64_t i = 0; i < weights; i++) {
        square += parameters[i] * parameters[i];
        gradient[i] += problem->l2 * parameters[i];
    }
    if (scalar[NONFINITE] > 0)
        return NAN;
    return lj_from_fixed(scalar[LOSS_HIGH]) + (double)scalar[LOSS_LOW] * 0x1p-72 +
           0.5 * problem->l2 * square;
}

void lj_logistic_predict(struct lj_logistic *problem, const double *parameters, const float *x,
                         int64_t rows, int32_t *predicted)
{
    int64_t classes = problem->classes, width = problem->x->width;
    for (int64_t first = 0; first < rows; first += CHUNK) {
        int64_t count = lj_min_i64(CHUNK, rows - first);
        lj_progress();
#pragma omp parallel for schedule(static)
        for (int64_t from = 0; from < count; from += GROUP)
            logits_of(problem, parameters, x + first * width, from,
                      lj_min_i64(GROUP, count - from));
        for (int64_t r = 0; r < count; r++) {
            const double *logit = problem->p + r * classes;
            int32_t best = 0;
            for (int32_t k = 1; k < classes; k++)
                if (logit[k] > logit[best])
                    best = k;
            predicted[first + r] = best;
        }
    }
}

static int allocate(struct lj_logistic *problem)
{
    int64_t width = problem->x->width, classes = problem->classes;
    int64_t threads = omp_get_max_threads();
    problem->inverse = lj_alloc_array(width, sizeof(double), "linear probe");
    problem->z = lj_alloc_array(width + 1, CHUNK * sizeof(double), "linear probe");
    problem->p = lj_alloc_array(classes, CHUNK * sizeof(double), "linear probe");
    problem->loss = lj_alloc_array(CHUNK, sizeof(double), "linear probe");
    problem->part = lj_alloc_array(threads * classes, GROUP * sizeof(double), "linear probe");
    problem->sum = lj_alloc_array((width + 1) * classes + SCALARS, sizeof(int64_t), "linear probe");
    bool all = problem->inverse && problem->z && problem->p && problem->loss && problem->part &&
               problem->sum;
    return all ? LJ_OK : LJ_ERR_RESOURCE;
}

int lj_logistic_create(struct lj_logistic *problem, struct lj_comm *comm,
                       const struct lj_features *x, const int32_t *member, int64_t classes,
                       double l2)
{
    *problem =
        (struct lj_logistic){.comm = comm, .x = x, .member = member, .classes = classes, .l2 = l2};
    LJ_TRY(lj_moments_create(&problem->moments, comm, x));
    int status = lj_agree(comm, allocate(problem));
    if (status != LJ_OK) {
        lj_logistic_destroy(problem);
        return status;
    }
    for (int64_t j = 0; j < x->width; j++) {
        double variance = problem->moments.square[j] / (double)problem->moments.rows;
        problem->inverse[j] = variance > 0.0 ? 1.0 / sqrt(variance) : 0.0;
    }
    return LJ_OK;
}

void lj_logistic_destroy(struct lj_logistic *problem)
{
    lj_moments_destroy(&problem->moments);
    lj_free(problem->inverse);
    lj_free(problem->z);
    lj_free(problem->p);
    lj_free(problem->loss);
    lj_free(problem->part);
    lj_free(problem->sum);
    *problem = (struct lj_logistic){0};
}
