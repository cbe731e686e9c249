/* SPDX-License-Identifier: Apache-2.0 */
/* Principal axes of embeddings, on one rank: for looking at, not for bits that ranks share. */
#include "eval/eval.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

/* mean and covariance, both triangles. */
static int add_up(struct lj_principal *p, const float *x, int64_t rows)
{
    int64_t width = p->width;
    double *centred = lj_alloc_array(rows * width, sizeof *centred, "principal axes");
    if (!centred)
        return LJ_ERR_RESOURCE;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            p->mean[j] += (double)x[r * width + j] / (double)rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            centred[r * width + j] = (double)x[r * width + j] - p->mean[j];
#pragma omp parallel for schedule(dynamic, 8)
    for (int64_t i = 0; i < width; i++) {
        double *row = p->covariance + i * width;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < width; j++)
                row[j] += centred[r * width + i] * centred[r * width + j];
        for (int64_t j = 0; j < width; j++)
            row[j] /= (double)rows;
    }
    lj_free(centred);
    return LJ_OK;
}

/* The largest component of an axis is positive, so that its sign is not the library's. */
static void turn(double *axis, int64_t width)
{
    int64_t largest = 0;
    for (int64_t j = 1; j < width; j++)
        if (fabs(axis[j]) > fabs(axis[largest]))
            largest = j;
    double sign = axis[largest] < 0 ? -1 : 1;
    for (int64_t j = 0; j < width; j++)
        axis[j] *= sign;
}

/* The eigenvalues come in ascending order, vectors in the rows of the transpose: both leave in
 * descending order. */
static int decompose(struct lj_principal *p, double *work)
{
    int64_t width = p->width;
    memcpy(work, p->covariance, (size_t)(width * width) * sizeof *work);
    int info = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'L', (lapack_int)width, work,
                              (lapack_int)width, p->eigenvalue);
    if (info != 0)
        return lj_fail(LJ_ERR_NUMERIC, "principal axes: dsyevd ended with %d", info);
    for (int64_t i = 0; i < width / 2; i++) {
        double value = p->eigenvalue[i];
        p->eigenvalue[i] = p->eigenvalue[width - 1 - i];
        p->eigenvalue[width - 1 - i] = value;
    }
    for (int64_t i = 0; i < width; i++) {
        p->eigenvalue[i] = fmax(p->eigenvalue[i], 0.0);
        memcpy(p->axis + i * width, work + (width - 1 - i) * width, (size_t)width * sizeof *work);
        turn(p->axis + i * width, width);
    }
    return LJ_OK;
}

int lj_principal_create(struct lj_principal *p, const float *x, int64_t rows, int64_t width)
{
    *p = (struct lj_principal){.width = width};
    for (int64_t i = 0; i < rows * width; i++)
        if (!isfinite(x[i]))
            return lj_fail(LJ_ERR_NUMERIC, "principal axes: feature %lld of row %lld is not finite",
                           (long long)(i % width), (long long)(i / width));
    p->mean = lj_alloc_array(2 * width * (width + 1), sizeof *p->mean, "principal axes");
    double *work = lj_alloc_array(width * width, sizeof *work, "principal axes");
    int status = LJ_ERR_RESOURCE;
    if (p->mean && work) {
        p->eigenvalue = p->mean + width;
        p->covariance = p->eigenvalue + width;
        p->axis = p->covariance + width * width;
        status = add_up(p, x, rows);
    }
    if (status == LJ_OK)
        status = decompose(p, work);
    lj_free(work);
    if (status != LJ_OK)
        lj_principal_destroy(p);
    return status;
}

void lj_principal_destroy(struct lj_principal *p)
{
    lj_free(p->mean);
    p->mean = NULL;
}

void lj_principal_place(const struct lj_principal *p, const float *row, int axes, double *place)
{
    for (int a = 0; a < axes; a++) {
        place[a] = 0;
        for (int64_t j = 0; a < p->width && j < p->width; j++)
            place[a] += ((double)row[j] - p->mean[j]) * p->axis[a * p->width + j];
    }
}
