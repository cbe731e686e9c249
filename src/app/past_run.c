/* SPDX-License-Identifier: Apache-2.0 */
/* What a run left: settings from config.yaml, losses and accuracies from metrics.jsonl, the
 * accuracy of `probe` from probe.json. */
#include "app/past_run.h"

#include "app/history.h"

#include "loss/loss.h"
#include "optim/optim.h"
#include "store/store.h"

#include <math.h>
#include <stdio.h>

/* The loss of a logged step; NaN where no update was made. */
static double loss_of(const struct lj_history *steps, int64_t row)
{
    if (lj_history_value(steps, row, lj_history_column(steps, "skipped")) == 1)
        return NAN;
    return lj_history_value(steps, row, lj_history_column(steps, "loss"));
}

/* The last logged step, and the samples of an epoch. */
static void find_end(struct lj_past_run *run, const struct lj_history *steps,
                     const struct lj_config *c, int64_t *samples)
{
    for (int64_t row = 0; row < steps->rows; row++) {
        double step = lj_history_value(steps, row, lj_history_column(steps, "step"));
        double epoch = lj_history_value(steps, row, lj_history_column(steps, "epoch"));
        if (!isfinite(loss_of(steps, row)) || !(step > 0 && epoch > 0))
            continue;
        run->step = (int64_t)step;
        run->collapse = lj_history_value(steps, row, lj_history_column(steps, "collapse"));
        *samples = llround(step * (double)c->batch_size / epoch);
    }
}

/* The mean loss of the logged steps among the last ones that make an epoch. */
static void average_last_epoch(struct lj_past_run *run, const struct lj_history *steps,
                               const struct lj_config *c, int64_t samples)
{
    double sum = 0;
    for (int64_t row = 0; row < steps->rows; row++) {
        double loss = loss_of(steps, row);
        double step = lj_history_value(steps, row, lj_history_column(steps, "step"));
        double since = ((double)run->step - step) * (double)c->batch_size; /* samples */
        if (isfinite(loss) && since >= 0 && since < (double)samples) {
            sum += loss;
            run->averaged++;
        }
    }
    run->loss = sum / (double)run->averaged;
}

/* What both tables of a run say. */
static int read_tables(struct lj_past_run *run, const struct lj_config *c,
                       const struct lj_history *steps, const struct lj_history *evaluations)
{
    int64_t samples = 0;
    find_end(run, steps, c, &samples);
    average_last_epoch(run, steps, c, samples);
    run->knn_top1 = lj_history_last(evaluations, "knn_top1");
    run->linear_top1 = lj_history_last(evaluations, "linear_top1");
    if (run->averaged == 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s/metrics.jsonl: has no loss of a step; has the run logged one "
                       "(log.every)?",
                       run->dir);
    run->steps = lj_schedule_of(c, samples).steps;
    return LJ_OK;
}

static int read_metrics(struct lj_past_run *run, const struct lj_config *c)
{
    struct lj_history steps, evaluations;
    int64_t skipped;
    int status = lj_history_read(run->dir, &steps, &evaluations, &skipped);
    if (status == LJ_OK)
        status = read_tables(run, c, &steps, &evaluations);
    lj_history_free(&steps);
    lj_history_free(&evaluations);
    return status;
}

static double probe_accuracy(const char *dir)
{
    char path[LJ_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/probe.json", dir);
    json_t *object = json_load_file(path, 0, NULL);
    const json_t *accuracy = json_object_get(object, "linear_top1");
    double value = json_is_number(accuracy) ? json_number_value(accuracy) : NAN;
    json_decref(object);
    return value;
}

/* Is loss / lambda^alpha what orders runs of this objective? */
static int check_score(const struct lj_config *config, const char *dir, double alpha)
{
    const struct lj_objective_kind *kind = NULL;
    if (lj_objective_find(config->objective, &kind) != LJ_OK)
        return LJ_ERR_DATA;
    if (alpha == 0 || (kind == &lj_objective_lejepa && config->loss_lambda > 0))
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: has objective=%s and loss.lambda=%g; loss / lambda^alpha is for "
                   "objective=lejepa with loss.lambda above 0 (alpha=0 orders by the loss alone)",
                   dir, config->objective, config->loss_lambda);
}

int lj_past_run_read(struct lj_past_run *run, struct lj_config *config, const char *dir,
                     double alpha)
{
    *run = (struct lj_past_run){.dir = dir, .collapse = NAN};
    LJ_TRY(lj_history_settings(dir, config));
    snprintf(run->model, sizeof run->model, "%.60s", config->model);
    run->lambda = config->loss_lambda;
    run->lr = config->optim_lr;
    run->layers = config->eval_layers;
    run->averaged_weights =
        config->train_average > 0 || lj_objective_asks(config->objective, LJ_NEED_AVERAGE);
    run->probe_top1 = probe_accuracy(dir);
    LJ_TRY(read_metrics(run, config));
    run->score = run->loss / pow(run->lambda, alpha);
    return check_score(config, dir, alpha);
}
