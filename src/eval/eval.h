/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. eval: what an embedding is worth: kNN, linear probe, is it an isotropic Gaussian; and files of
 * embeddings. All local (a caller with several ranks splits rows or lets rank 0 work). Results do not
 * depend on the number of OpenMP threads. */
#ifndef LEJEPA_EVAL_EVAL_H
#define LEJEPA_EVAL_EVAL_H

#include "lejepa/eval.h"

#include "comm/comm.h"
#include "lejepa/config.h"
#include "data/data.h"
#include "models/models.h"

/* ---- numbers ------------------------------------------------------------------------------------- */

struct lj_accuracy {
    double top1;     /* share of rows predicted right */
    double balanced; /* mean over classes present of their share */
};
/* predicted, truth (rows) int32. */
struct lj_accuracy lj_accuracy_of(const int32_t *predicted, const int32_t *truth, int64_t rows);

/* The evaluation's kNN: k = 20, cosine, temperature 0.07. */
#define LJ_KNN_NEIGHBOURS  20
#define LJ_KNN_TEMPERATURE 0.07

/* kNN as in the instance-discrimination literature (Wu et al. 2018): cosine similarity, the k nearest
 * bank rows vote for their class with weight exp(similarity / temperature); ties go to the lower
 * row, then the lower class.
 *   bank (bank_rows, width), bank_labels (bank_rows);  query (rows, width);  predicted (rows) out
 * Errors: LJ_ERR_RESOURCE, LJ_ERR_DATA (fewer than k rows). Cost: rows x bank_rows x width by GEMM in
 * tiles; memory independent of rows x bank_rows. */
int lj_knn(const float *bank, const int32_t *bank_labels, int64_t bank_rows, const float *query,
           int64_t rows, int64_t width, int k, double temperature, int32_t *predicted) LJ_MUST_USE;

/* Linear probe: multinomial logistic regression in float64 on features standardised by the training
 * rows' mean and deviation; minimises mean cross-entropy + l2/2 |W|^2 (bias free) by L-BFGS until the
 * gradient's largest element is below 1e-5.
 *   predicted (test_rows) out; iterations, gradient_norm out
 * Errors: LJ_ERR_RESOURCE, LJ_ERR_NUMERIC (no convergence in 5000 iterations: the text gives the norm). */
struct lj_probe_result {
    int iterations;
    double gradient_norm, loss;
};
int lj_linear_probe(const float *train, const int32_t *train_labels, int64_t train_rows,
                    const float *test, int64_t test_rows, int64_t width, double l2,
                    int32_t *predicted, struct lj_probe_result *result) LJ_MUST_USE;

/* Spectrum of embeddings: mean, covariance eigenvalues (descending), and numbers made of them. */
struct lj_spectrum {
    double mean_norm;      /* |mean| */
    double effective_rank; /* exp(entropy of eigenvalues / their sum) (Roy & Vetterli 2007) */
    double condition;      /* largest / smallest eigenvalue */
    double trace;
    double *eigenvalues; /* (width) caller's, descending */
};
int lj_spectrum_of(const float *rows_by_width, int64_t rows, int64_t width,
                   struct lj_spectrum *spectrum) LJ_MUST_USE;

/* ---- embedding files: embeddings (N, C) float32, labels (N) int32 when known, row (N) int64 ------ */

struct lj_embeddings {
    int64_t rows, width;
    float *values;   /* owned */
    int32_t *labels; /* owned, NULL when absent */
    int64_t *row;    /* owned, NULL when absent */
};
/* Reads `embeddings` and, if there, `labels` and `row`. Local. Errors: LJ_ERR_DATA. */
int lj_embeddings_read(const char *path, struct lj_embeddings *embeddings) LJ_MUST_USE;
void lj_embeddings_free(struct lj_embeddings *embeddings);
/* The same in parts: labels and row say whether there will be any. Under a temporary name until closed;
 * HDF5's lock is free between the calls. Local. Errors: LJ_ERR_RESOURCE. */
struct lj_embeddings_file;
int lj_embeddings_create(struct lj_embeddings_file **file, const char *path, int64_t rows,
                         int64_t width, bool labels, bool row, const char *provenance) LJ_MUST_USE;
/* Rows [first, first + count): values (count, width), labels and row (count), NULL where there are none.
 * Local. Errors: LJ_ERR_RESOURCE: full disk. */
int lj_embeddings_put(struct lj_embeddings_file *file, int64_t first, int64_t count,
                      const float *values, const int32_t *labels, const int64_t *row) LJ_MUST_USE;
/* Publishes the file when good, else removes it. Accepts NULL. Local. Errors: LJ_ERR_RESOURCE. */
int lj_embeddings_close(struct lj_embeddings_file *file, bool good) LJ_MUST_USE;
/* Writes with attributes (description, creator); temporary name, then rename. Local. */
int lj_embeddings_write(const char *path, const struct lj_embeddings *embeddings,
                        const char *provenance) LJ_MUST_USE;

/* A float array of any HDF5 numeric type read as float32. values owned by the caller: lj_free.
 *   dims  in: capacity 3; out: number of dimensions.  Errors: LJ_ERR_DATA. *values NULL when the
 *   dataset is absent and optional. */
int lj_array_read(const char *path, const char *dataset, bool optional, int *dims, int64_t dim[3],
                  float **values) LJ_MUST_USE;
int lj_array_write(const char *path, const char *dataset, int dims, const int64_t *dim,
                   const float *values, const char *description) LJ_MUST_USE;

#endif
