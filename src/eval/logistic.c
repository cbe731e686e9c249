/* SPDX-License-Identifier: Apache-2.0 */
/* Multinomial logistic regression in double:
 *
 *     p_r = softmax(z_r W)     loss = -1/N sum_r log p_r[y_r] + l2/2 |W|^2 (bias free)
 *     dloss/dW = 1/N Z^T (P - onehot(y)) + l2 W
 *
 * Rows come in blocks of 256. Threads split the rows of a block for the logits, and the features
 * for Z^T P, but never a sum: bits do not depend on their number. */
#include "eval/logistic.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 256, GROUP = 8 };

static void standardise(const struct lj_logistic *problem, double *z, const float *x, int64_t rows)
{
    int64_t width = problem->width;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < width; j++)
            z[r * (width + 1) + j] =
                ((double)x[r * width + j] - problem->mean[j]) * problem->scale[j];
        z[r * (width + 1) + width] = 1.0;
    }
}

/* Logits of up to BLOCK rows into problem->p, standardised features into problem->z. */
static void logits_of(struct lj_logistic *problem, const double *parameters, const float *x,
                      int64_t rows)
{
    int64_t width = problem->width, classes = problem->classes;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < rows; first += GROUP) {
        int64_t count = lj_min_i64(GROUP, rows - first);
        double *z = problem->z + first * (width + 1), *p = problem->p + first * classes;
        standardise(problem, z, x + first * width, count);
        memset(p, 0, (size_t)(count * classes) * sizeof *p);
        lj_kernels()->add_matmul(p, z, width + 1, 1, parameters, count, width + 1, classes);
    }
}

/* Turns the logits p of one row into (softmax - onehot) / N; returns its cross-entropy.
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
    for (int64_t k = 0; k < classes; k++)
        p[k] *= share / sum;
    p[member] -= share;
    return log(sum) + top - own;
}

/* gradient (width + 1, classes) += Z^T P */
static void add_gradient(const struct lj_logistic *problem, double *gradient, int64_t rows)
{
    int64_t features = problem->width + 1, classes = problem->classes;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < features; first += GROUP)
        lj_kernels()->add_matmul(gradient + first * classes, problem->z + first, 1, features,
                                 problem->p, lj_min_i64(GROUP, features - first), rows, classes);
}

static double add_block(struct lj_logistic *problem, const double *parameters, int64_t first,
                        int64_t rows, double *gradient)
{
    int64_t classes = problem->classes;
    double share = 1.0 / (double)problem->rows, sum = 0.0;
    logits_of(problem, parameters, problem->x + first * problem->width, rows);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        problem->loss[r] =
            softmax_row(problem->p + r * classes, classes, problem->member[first + r], share);
    add_gradient(problem, gradient, rows);
    for (int64_t r = 0; r < rows; r++)
        sum += problem->loss[r];
    return sum * share;
}

double lj_logistic_value(void *data, const double *parameters, double *gradient)
{
    struct lj_logistic *problem = data;
    int64_t weights = problem->width * problem->classes;
    double loss = 0.0, square = 0.0;
    memset(gradient, 0, (size_t)(weights + problem->classes) * sizeof *gradient);
    lj_fault_slow("fit", -1);
    for (int64_t first = 0; first < problem->rows; first += BLOCK) {
        loss += add_block(problem, parameters, first, lj_min_i64(BLOCK, problem->rows - first),
                          gradient);
        lj_progress();
    }
    for (int64_t i = 0; i < weights; i++) {
        square += parameters[i] * parameters[i];
        gradient[i] += problem->l2 * parameters[i];
    }
    return loss + 0.5 * problem->l2 * square;
}

void lj_logistic_predict(struct lj_logistic *problem, const double *parameters, const float *x,
                         int64_t rows, int32_t *predicted)
{
    int64_t classes = problem->classes;
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t count = lj_min_i64(BLOCK, rows - first);
        lj_progress();
        logits_of(problem, parameters, x + first * problem->width, count);
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

/* Mean and 1 / standard deviation of each feature. Whether a feature is constant is decided by
 * comparing its values: rounding of the mean would give it a tiny deviation. */
static void take_statistics(struct lj_logistic *problem)
{
    int64_t width = problem->width, rows = problem->rows;
    const float *x = problem->x;
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < width; j++) {
        double sum = 0.0, square = 0.0;
        bool constant = true;
        for (int64_t r = 0; r < rows; r++) {
            sum += (double)x[r * width + j];
            constant = constant && x[r * width + j] == x[j];
        }
        double mean = sum / (double)rows;
        for (int64_t r = 0; r < rows; r++) {
            double d = (double)x[r * width + j] - mean;
            square += d * d;
        }
        problem->mean[j] = mean;
        problem->scale[j] = constant ? 0.0 : 1.0 / sqrt(square / (double)rows);
    }
}

int lj_logistic_create(struct lj_logistic *problem, const float *x, const int32_t *member,
                       int64_t rows, int64_t width, int64_t classes, double l2)
{
    *problem = (struct lj_logistic){
        .x = x, .member = member, .rows = rows, .width = width, .classes = classes, .l2 = l2};
    problem->mean = lj_alloc_array(width, sizeof(double), "linear probe");
    problem->scale = lj_alloc_array(width, sizeof(double), "linear probe");
    problem->z = lj_alloc_array(width + 1, BLOCK * sizeof(double), "linear probe");
    problem->p = lj_alloc_array(classes, BLOCK * sizeof(double), "linear probe");
    problem->loss = lj_alloc_array(BLOCK, sizeof(double), "linear probe");
    if (!problem->mean || !problem->scale || !problem->z || !problem->p || !problem->loss) {
        lj_logistic_destroy(problem);
        return LJ_ERR_RESOURCE;
    }
    take_statistics(problem);
    return LJ_OK;
}

void lj_logistic_destroy(struct lj_logistic *problem)
{
    lj_free(problem->mean);
    lj_free(problem->scale);
    lj_free(problem->z);
    lj_free(problem->p);
    lj_free(problem->loss);
    *problem = (struct lj_logistic){0};
}
