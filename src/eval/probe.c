/* SPDX-License-Identifier: Apache-2.0 */
/* Linear probe: logistic regression fitted on the training rows by L-BFGS, from zero. */
#include "eval/classes.h"
#include "eval/lbfgs.h"
#include "eval/logistic.h"

enum { ITERATIONS_MAX = 5000 };

/* Fits, then predicts the test rows as classes. */
static int fit(struct lj_logistic *problem, const float *test, int64_t test_rows,
               int32_t *predicted, struct lj_probe_result *result)
{
    struct lj_lbfgs search = {.count = (problem->width + 1) * problem->classes,
                              .value = lj_logistic_value,
                              .data = problem,
                              .tolerance = 1e-5,
                              .max_iterations = ITERATIONS_MAX};
    double *parameters = lj_alloc_array(search.count, sizeof *parameters, "linear probe");
    if (!parameters)
        return LJ_ERR_RESOURCE;
    int status = lj_lbfgs_minimise(&search, parameters);
    *result = (struct lj_probe_result){search.iterations, search.gradient_norm, search.loss};
    if (status == LJ_OK)
        lj_logistic_predict(problem, parameters, test, test_rows, predicted);
    lj_free(parameters);
    return status;
}

int lj_linear_probe(const float *train, const int32_t *train_labels, int64_t train_rows,
                    const float *test, int64_t test_rows, int64_t width, double l2,
                    int32_t *predicted, struct lj_probe_result *result)
{
    struct lj_classes classes;
    struct lj_logistic problem;
    *result = (struct lj_probe_result){0};
    if (train_rows < 1)
        return lj_fail(LJ_ERR_DATA, "linear probe: no training rows, expected at least 1");
    LJ_TRY(lj_classes_create(&classes, train_labels, train_rows));
    int status =
        lj_logistic_create(&problem, train, classes.member, train_rows, width, classes.count, l2);
    if (status == LJ_OK) {
        status = fit(&problem, test, test_rows, predicted, result);
        lj_logistic_destroy(&problem);
    }
    for (int64_t i = 0; i < test_rows && status == LJ_OK; i++)
        predicted[i] = classes.label[predicted[i]];
    lj_classes_destroy(&classes);
    return status;
}
