/* SPDX-License-Identifier: Apache-2.0 */
/* Multinomial logistic regression in double:
 *
 *     p_r = softmax(z_r W)     loss = -1/N sum_r log p_r[y_r] + l2/2 |W|^2 (bias free)
 *     dloss/dW = 1/N Z^T (P - onehot(y)) + l2 W
 *
 * Sums over a block of rows run in double and in one order, in one thread. Sums over blocks are
 * integers, so that threads and ranks may take any blocks in any order. Of the gradient, all terms
 * of an element together are at most 1 in magnitude, since |p - y| <= 1 and the mean of z^2 is 1.
 * The loss has no bound and needs more digits than 64 bits have, so it is kept as two numbers. */
#include "eval/logistic.h"

#include "kernels/kernels.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* GROUP: features whose gradient is summed together, so that it stays in the first-level cache. */
enum { BLOCK = LJ_FEATURES_BLOCK, GROUP = 8 };

/* What follows the gradient in the sums. */
enum { LOSS_HIGH, LOSS_LOW, NONFINITE, SCALARS };

static int64_t sums_of(const struct lj_logistic *problem)
{
    return (problem->x->width + 1) * problem->classes + SCALARS;
}

/* at: (rows) in x */
static void standardise(const struct lj_logistic *problem, double *z, const float *x,
                        const int64_t *at, int64_t rows)
{
    int64_t width = problem->x->width;
    const double *mean = problem->moments.mean;
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + at[r] * width;
        for (int64_t j = 0; j < width; j++)
            z[r * (width + 1) + j] = ((double)row[j] - mean[j]) * problem->inverse[j];
        z[r * (width + 1) + width] = 1.0;
    }
}

/* Standardised features z and logits p of `rows` rows of x, at most a block. */
static void logits_of(const struct lj_logistic *problem, struct lj_logistic_worker *work,
                      const double *parameters, const float *x, const int64_t *at, int64_t rows)
{
    int64_t features = problem->x->width + 1, classes = problem->classes;
    standardise(problem, work->z, x, at, rows);
    memset(work->p, 0, (size_t)(rows * classes) * sizeof *work->p);
    lj_kernels()->add_matmul(work->p, work->z, features, 1, parameters, rows, features, classes);
}

/* Turns the logits p of one row into (softmax - onehot) / N; returns its cross-entropy / N. A row
 * whose loss is not finite contributes zeros to the gradient.
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
static void add_loss(const struct lj_logistic *problem, double loss, int64_t scalar[SCALARS])
{
    int64_t blocks = (problem->moments.rows + BLOCK - 1) / BLOCK, nonfinite = 0;
    int64_t high = lj_to_fixed(blocks, loss, &nonfinite);
    scalar[NONFINITE] += nonfinite;
    scalar[LOSS_HIGH] += high;
    if (nonfinite == 0)
        scalar[LOSS_LOW] += llrint((loss - lj_from_fixed(high)) * 0x1p72);
}

/* sum (width + 1, classes) += Z^T P of a block. */
static void add_gradient(const struct lj_logistic *problem, struct lj_logistic_worker *work,
                         int64_t rows)
{
    int64_t features = problem->x->width + 1, classes = problem->classes;
    double scale = lj_fixed_scale(problem->bound);
    for (int64_t from = 0; from < features; from += GROUP) {
        int64_t count = lj_min_i64(GROUP, features - from), *sum = work->sum + from * classes;
        memset(work->part, 0, (size_t)(count * classes) * sizeof *work->part);
        lj_kernels()->add_matmul(work->part, work->z + from, 1, features, work->p, count, rows,
                                 classes);
        for (int64_t i = 0; i < count * classes; i++)
            sum[i] += llrint(work->part[i] * scale * 0x1p32);
    }
}

/* My rows [first, end) that the fit knows of. Returns how many.
 *   at  (end - first) out */
static int64_t known_of(const struct lj_logistic *problem, int64_t first, int64_t end, int64_t *at)
{
    int64_t rows = 0;
    for (int64_t i = first; i < end; i++)
        if (!problem->known || problem->known[i])
            at[rows++] = i;
    return rows;
}

/* The block of my rows from `first`. */
static void add_block(const struct lj_logistic *problem, struct lj_logistic_worker *work,
                      const double *parameters, int64_t first)
{
    int64_t at[BLOCK], end = lj_min_i64(first + BLOCK, problem->x->rows);
    int64_t rows = known_of(problem, first, end, at), classes = problem->classes;
    double share = 1.0 / (double)problem->known_rows, loss = 0.0;
    lj_progress();
    if (rows == 0)
        return;
    logits_of(problem, work, parameters, problem->x->values, at, rows);
    for (int64_t r = 0; r < rows; r++)
        loss += softmax_row(work->p + r * classes, classes, problem->member[at[r]], share);
    add_loss(problem, loss, work->sum + sums_of(problem) - SCALARS);
    add_gradient(problem, work, rows);
}

/* The sums over the rows of all ranks, into those of the first worker. */
static void sum_blocks(struct lj_logistic *problem, const double *parameters)
{
    struct lj_logistic_worker *worker = problem->worker;
    int64_t sums = sums_of(problem);
    for (int d = 0; d < problem->threads; d++)
        memset(worker[d].sum, 0, (size_t)sums * sizeof *worker[d].sum);
#pragma omp parallel num_threads(problem->threads)
    {
#pragma omp for schedule(dynamic, 1)
        for (int64_t first = 0; first < problem->x->rows; first += BLOCK)
            add_block(problem, &worker[omp_get_thread_num()], parameters, first);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < sums; i++)
            for (int d = 1; d < problem->threads; d++)
                worker[0].sum[i] += worker[d].sum[i];
    }
    lj_sum_exact(problem->comm, NULL, worker[0].sum, sums);
}

double lj_logistic_value(void *data, const double *parameters, double *gradient)
{
    struct lj_logistic *problem = data;
    int64_t weights = problem->x->width * problem->classes, unknowns = weights + problem->classes;
    const int64_t *sum = problem->worker[0].sum, *scalar = sum + unknowns;
    double unit = 1.0 / lj_fixed_scale(problem->bound), square = 0.0;
    lj_fault_slow("fit", -1);
    sum_blocks(problem, parameters);
    for (int64_t i = 0; i < unknowns; i++)
        gradient[i] = lj_from_fixed(sum[i]) * unit;
    for (int64_t i = 0; i < weights; i++) {
        square += parameters[i] * parameters[i];
        gradient[i] += problem->l2 * parameters[i];
    }
    if (scalar[NONFINITE] > 0)
        return NAN;
    return lj_from_fixed(scalar[LOSS_HIGH]) + (double)scalar[LOSS_LOW] * 0x1p-72 +
           0.5 * problem->l2 * square;
}

static int32_t largest_of(const double *logit, int64_t classes)
{
    int32_t best = 0;
    for (int32_t k = 1; k < classes; k++)
        if (logit[k] > logit[best])
            best = k;
    return best;
}

void lj_logistic_predict(struct lj_logistic *problem, const double *parameters, const float *x,
                         int64_t rows, int32_t *predicted)
{
    int64_t classes = problem->classes;
#pragma omp parallel for schedule(static) num_threads(problem->threads)
    for (int64_t first = 0; first < rows; first += BLOCK) {
        struct lj_logistic_worker *work = &problem->worker[omp_get_thread_num()];
        int64_t at[BLOCK], count = lj_min_i64(BLOCK, rows - first);
        lj_progress();
        for (int64_t r = 0; r < count; r++)
            at[r] = first + r;
        logits_of(problem, work, parameters, x, at, count);
        for (int64_t r = 0; r < count; r++)
            predicted[first + r] = largest_of(work->p + r * classes, classes);
    }
}

static int allocate(struct lj_logistic *problem)
{
    const char *label = "linear probe";
    int64_t width = problem->x->width, classes = problem->classes;
    problem->inverse = lj_alloc_array(width, sizeof *problem->inverse, label);
    problem->worker = lj_alloc_array(problem->threads, sizeof *problem->worker, label);
    if (!problem->inverse || !problem->worker)
        return LJ_ERR_RESOURCE;
    for (int d = 0; d < problem->threads; d++) {
        struct lj_logistic_worker *work = &problem->worker[d];
        work->z = lj_alloc_array(width + 1, BLOCK * sizeof *work->z, label);
        work->p = lj_alloc_array(classes, BLOCK * sizeof *work->p, label);
        work->part = lj_alloc_array(classes, GROUP * sizeof *work->part, label);
        work->sum = lj_alloc_array(sums_of(problem), sizeof *work->sum, label);
        if (!work->z || !work->p || !work->part || !work->sum)
            return LJ_ERR_RESOURCE;
    }
    return LJ_OK;
}

int lj_logistic_create(struct lj_logistic *problem, struct lj_comm *comm,
                       const struct lj_features *x, const int32_t *member, int64_t classes,
                       double l2)
{
    *problem = (struct lj_logistic){.comm = comm,
                                    .x = x,
                                    .member = member,
                                    .classes = classes,
                                    .l2 = l2,
                                    .threads = omp_get_max_threads()};
    LJ_TRY(lj_moments_create(&problem->moments, comm, x));
    int status = lj_agree(comm, allocate(problem));
    if (status != LJ_OK) {
        lj_logistic_destroy(problem);
        return status;
    }
    lj_logistic_know(problem, NULL);
    for (int64_t j = 0; j < x->width; j++) {
        double variance = problem->moments.square[j] / (double)problem->moments.rows;
        problem->inverse[j] = variance > 0.0 ? 1.0 / sqrt(variance) : 0.0;
    }
    return LJ_OK;
}

void lj_logistic_know(struct lj_logistic *problem, const uint8_t *known)
{
    int64_t rows = problem->x->rows;
    for (int64_t i = 0; known && i < problem->x->rows; i++)
        rows -= !known[i];
    problem->known = known;
    problem->known_rows = lj_all_sum(problem->comm, rows);
    problem->bound = sqrt((double)problem->moments.rows / (double)problem->known_rows);
}

void lj_logistic_destroy(struct lj_logistic *problem)
{
    lj_moments_destroy(&problem->moments);
    lj_free(problem->inverse);
    for (int d = 0; problem->worker && d < problem->threads; d++) {
        lj_free(problem->worker[d].z);
        lj_free(problem->worker[d].p);
        lj_free(problem->worker[d].part);
        lj_free(problem->worker[d].sum);
    }
    lj_free(problem->worker);
    *problem = (struct lj_logistic){0};
}
