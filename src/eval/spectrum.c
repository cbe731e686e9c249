/* SPDX-License-Identifier: Apache-2.0 */
/* Spectrum of the covariance of embeddings, in double.
 *
 *     mean = sum_r x_r / N      covariance = sum_r (x_r - mean)(x_r - mean)^T / N
 *     effective rank = exp(-sum_i p_i log p_i),  p_i = eigenvalue_i / trace   (Roy & Vetterli 2007)
 *
 * Threads split the rows of the covariance matrix, never a sum, so bits do not depend on them. */
#include "eval/eval.h"

#include "kernels/kernels.h"

#include <lapacke.h>
#include <math.h>

enum {
    ROWS = 64, /* rows centred together: few enough to stay in cache */
    GROUP = 8  /* rows of the covariance that one thread takes at a time */
};

static void column_mean(double *mean, const float *x, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            mean[j] += (double)x[r * width + j];
    for (int64_t j = 0; j < width; j++)
        mean[j] /= (double)lj_max_i64(rows, 1);
}

/* covariance += block^T block; block (rows, width) */
static void add_outer(double *covariance, const double *block, int64_t rows, int64_t width)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < width; i += GROUP)
        lj_kernels()->add_matmul(covariance + i * width, block + i, 1, width, block,
                                 lj_min_i64(GROUP, width - i), rows, width);
}

static void add_all(double *covariance, double *block, const double *mean, const float *x,
                    int64_t rows, int64_t width)
{
    for (int64_t first = 0; first < rows; first += ROWS) {
        int64_t count = lj_min_i64(ROWS, rows - first);
        lj_progress();
        for (int64_t r = 0; r < count; r++)
            for (int64_t j = 0; j < width; j++)
                block[r * width + j] = (double)x[(first + r) * width + j] - mean[j];
        add_outer(covariance, block, count, width);
    }
    for (int64_t i = 0; i < width * width; i++)
        covariance[i] /= (double)lj_max_i64(rows, 1);
}

/* The numbers made of eigenvalues, which come in ascending order and leave in descending order.
 * Rounding may make some slightly negative: they count as 0. */
static void summarise(struct lj_spectrum *spectrum, const double *ascending, int64_t width)
{
    double entropy = 0.0;
    spectrum->trace = 0.0;
    for (int64_t i = 0; i < width; i++) {
        spectrum->eigenvalues[i] = fmax(ascending[width - 1 - i], 0.0);
        spectrum->trace += spectrum->eigenvalues[i];
    }
    for (int64_t i = 0; i < width; i++) {
        double share = spectrum->eigenvalues[i] / spectrum->trace;
        if (share > 0.0)
            entropy -= share * log(share);
    }
    spectrum->effective_rank = spectrum->trace > 0.0 ? exp(entropy) : 0.0;
    spectrum->condition = spectrum->eigenvalues[0] / spectrum->eigenvalues[width - 1];
}

static int eigenvalues_of(struct lj_spectrum *spectrum, double *covariance, double *ascending,
                          int64_t width)
{
    int info = LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'N', 'L', (lapack_int)width, covariance,
                              (lapack_int)width, ascending);
    if (info != 0)
        return lj_fail(LJ_ERR_NUMERIC,
                       "eigenvalues of the %lld x %lld covariance were not found (LAPACK dsyevd: "
                       "%d); are the embeddings finite?",
                       (long long)width, (long long)width, info);
    summarise(spectrum, ascending, width);
    return LJ_OK;
}

int lj_spectrum_of(const float *x, int64_t rows, int64_t width, struct lj_spectrum *spectrum)
{
    if (rows < 1 || width < 1 || width > INT32_MAX)
        return lj_fail(LJ_ERR_DATA, "embeddings have shape (%lld, %lld), expected at least (1, 1)",
                       (long long)rows, (long long)width);
    double *mean = lj_alloc_array(width, sizeof *mean, "spectrum");
    double *ascending = lj_alloc_array(width, sizeof *ascending, "spectrum");
    double *block = lj_alloc_array(width, ROWS * sizeof *block, "spectrum");
    double *covariance = lj_alloc_array(width * width, sizeof *covariance, "spectrum");
    int status = mean && ascending && block && covariance ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        column_mean(mean, x, rows, width);
        double square = 0.0;
        for (int64_t j = 0; j < width; j++)
            square += mean[j] * mean[j];
        spectrum->mean_norm = sqrt(square);
        add_all(covariance, block, mean, x, rows, width);
        status = eigenvalues_of(spectrum, covariance, ascending, width);
    }
    lj_free(mean);
    lj_free(ascending);
    lj_free(block);
    lj_free(covariance);
    return status;
}
