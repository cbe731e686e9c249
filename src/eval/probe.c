/* SPDX-License-Identifier: Apache-2.0 */
/* Linear probe: logistic regression fitted on the training rows by L-BFGS, from zero. Every rank
 * searches; only loss and gradient are sums over ranks, which all of them receive. */
#include "eval/classes.h"
#include "eval/lbfgs.h"
#include "eval/logistic.h"

enum { ITERATIONS_MAX = 5000 };

/* Fits, then predicts my test rows as classes. */
static int fit(struct lj_logistic *problem, const struct lj_features *test, int iterations,
               int32_t *predicted, struct lj_probe_result *result)
{
    struct lj_lbfgs search = {.count = (problem->x->width + 1) * problem->classes,
                              .value = lj_logistic_value,
                              .data = problem,
                              .tolerance = 1e-5,
                              .max_iterations = iterations > 0 ? iterations : ITERATIONS_MAX,
                              .may_end = iterations > 0};
    double *parameters = lj_alloc_array(search.count, sizeof *parameters, "linear probe");
    search.work = lj_alloc_array(lj_lbfgs_work(search.count), sizeof(double), "linear probe");
    int status = lj_agree(problem->comm, parameters && search.work ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        status = lj_lbfgs_minimise(&search, parameters);
        *result = (struct lj_probe_result){search.iterations, search.gradient_norm, search.loss};
    }
    if (status == LJ_OK)
        lj_logistic_predict(problem, parameters, test->values, test->rows, predicted);
    lj_free(parameters);
    lj_free(search.work);
    return status;
}

/* predicted: of all ranks' test rows. bytes: (ranks) */
static int probe(struct lj_comm *comm, const struct lj_features *train,
                 const struct lj_classes *classes, const struct lj_features *test, double l2,
                 int iterations, int32_t *predicted, int64_t *bytes, struct lj_probe_result *result)
{
    struct lj_logistic problem;
    int64_t rows = lj_all_sum(comm, test->rows), first, end;
    lj_features_share(lj_all_sum(comm, train->rows), comm->size, comm->rank, &first, &end);
    LJ_TRY(lj_logistic_create(&problem, comm, train, classes->member + first, classes->count, l2));
    lj_features_share(rows, comm->size, comm->rank, &first, &end);
    int status = fit(&problem, test, iterations, predicted + first, result);
    lj_logistic_destroy(&problem);
    if (status == LJ_OK)
        lj_features_gather(comm, rows, predicted, sizeof *predicted, bytes);
    for (int64_t i = 0; i < rows && status == LJ_OK; i++)
        predicted[i] = classes->label[predicted[i]];
    return status;
}

int lj_linear_probe(struct lj_comm *comm, const struct lj_features *train,
                    const int32_t *train_labels, const struct lj_features *test, double l2,
                    int iterations, int32_t *predicted, struct lj_probe_result *result)
{
    struct lj_classes classes;
    int64_t rows = lj_all_sum(comm, train->rows);
    *result = (struct lj_probe_result){0};
    if (rows < 1)
        return lj_fail(LJ_ERR_DATA, "linear probe: no training rows, expected at least 1");
    int64_t *bytes = lj_alloc_array(comm->size, sizeof *bytes, "linear probe");
    int status = lj_classes_create(&classes, train_labels, rows);
    status = lj_agree(comm, bytes ? status : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        int64_t before = lj_features_set_turns(comm, train);
        status = probe(comm, train, &classes, test, l2, iterations, predicted, bytes, result);
        lj_progress_set_turns(before);
    }
    lj_classes_destroy(&classes);
    lj_free(bytes);
    return status;
}
