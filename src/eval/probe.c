/* SPDX-License-Identifier: Apache-2.0 */
/* Linear probe: logistic regression fitted on the training rows by L-BFGS, from zero. Every rank
 * searches; only loss and gradient are sums over ranks, which all of them receive. */
#include "eval/probe.h"

#include "eval/lbfgs.h"

#include <string.h>

enum { ITERATIONS_MAX = 5000 };

static int allocate(struct lj_probe *probe, const struct lj_features *train,
                    const int32_t *train_labels)
{
    const char *label = "linear probe";
    probe->bytes = lj_alloc_array(probe->comm->size, sizeof *probe->bytes, label);
    LJ_TRY(lj_classes_create(&probe->classes, train_labels, probe->rows));
    probe->unknowns = (train->width + 1) * probe->classes.count;
    probe->parameters = lj_alloc_array(probe->unknowns, sizeof *probe->parameters, label);
    probe->work = lj_alloc_array(lj_lbfgs_work(probe->unknowns), sizeof *probe->work, label);
    return probe->bytes && probe->parameters && probe->work ? LJ_OK : LJ_ERR_RESOURCE;
}

int lj_probe_create(struct lj_probe *probe, struct lj_comm *comm, const struct lj_features *train,
                    const int32_t *train_labels)
{
    int64_t end;
    *probe = (struct lj_probe){.comm = comm, .rows = lj_all_sum(comm, train->rows)};
    if (probe->rows < 1)
        return lj_fail(LJ_ERR_DATA, "linear probe: no training rows, expected at least 1");
    lj_features_share(probe->rows, comm->size, comm->rank, &probe->first, &end);
    int status = lj_agree(comm, allocate(probe, train, train_labels));
    if (status == LJ_OK)
        status = lj_logistic_create(&probe->problem, comm, train,
                                    probe->classes.member + probe->first, probe->classes.count, 0);
    if (status != LJ_OK)
        lj_probe_destroy(probe);
    return status;
}

void lj_probe_destroy(struct lj_probe *probe)
{
    lj_logistic_destroy(&probe->problem);
    lj_classes_destroy(&probe->classes);
    lj_free(probe->parameters);
    lj_free(probe->work);
    lj_free(probe->bytes);
    *probe = (struct lj_probe){0};
}

void lj_probe_forget(struct lj_probe *probe)
{
    memset(probe->parameters, 0, (size_t)probe->unknowns * sizeof *probe->parameters);
}

int lj_probe_fit(struct lj_probe *probe, const uint8_t *known, double l2, int iterations,
                 struct lj_probe_result *result)
{
    struct lj_lbfgs search = {.count = probe->unknowns,
                              .value = lj_logistic_value,
                              .data = &probe->problem,
                              .work = probe->work,
                              .tolerance = 1e-5,
                              .max_iterations = iterations > 0 ? iterations : ITERATIONS_MAX,
                              .may_end = iterations > 0};
    int64_t before = lj_features_set_turns(probe->comm, probe->problem.x);
    probe->problem.l2 = l2;
    lj_logistic_know(&probe->problem, known ? known + probe->first : NULL);
    int status = lj_lbfgs_minimise(&search, probe->parameters);
    *result = (struct lj_probe_result){search.iterations, search.gradient_norm, search.loss};
    lj_progress_set_turns(before);
    return status;
}

void lj_probe_predict(struct lj_probe *probe, const struct lj_features *x, int32_t *predicted)
{
    int64_t rows = lj_all_sum(probe->comm, x->rows), first, end;
    int64_t before = lj_features_set_turns(probe->comm, x);
    lj_features_share(rows, probe->comm->size, probe->comm->rank, &first, &end);
    lj_logistic_predict(&probe->problem, probe->parameters, x->values, x->rows, predicted + first);
    lj_features_gather(probe->comm, rows, predicted, sizeof *predicted, probe->bytes);
    lj_progress_set_turns(before);
}

int lj_linear_probe(struct lj_comm *comm, const struct lj_features *train,
                    const int32_t *train_labels, const struct lj_features *test, double l2,
                    int iterations, int32_t *predicted, struct lj_probe_result *result)
{
    struct lj_probe probe;
    int64_t rows = lj_all_sum(comm, test->rows);
    *result = (struct lj_probe_result){0};
    LJ_TRY(lj_probe_create(&probe, comm, train, train_labels));
    int status = lj_probe_fit(&probe, NULL, l2, iterations, result);
    if (status == LJ_OK)
        lj_probe_predict(&probe, test, predicted);
    for (int64_t i = 0; i < rows && status == LJ_OK; i++)
        predicted[i] = probe.classes.label[predicted[i]];
    lj_probe_destroy(&probe);
    return status;
}
