/* SPDX-License-Identifier: Apache-2.0 */
/* What a run left: settings from config.yaml, losses and accuracies from metrics.jsonl. Lines that
 * are no JSON are passed over: a run that is going on may be writing its last one. */
#include "app/past_run.h"

#include "loss/loss.h"
#include "optim/optim.h"
#include "store/store.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096 };

/* NaN if there is no number of that name. */
static double number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* The next line that is an object; NULL: no more. Owned by the caller. */
static json_t *next_line(FILE *file)
{
    char line[LINE_MAX_BYTES];
    while (fgets(line, sizeof line, file)) {
        lj_progress(); /* of sweep, which is guarded; files may be long and slow */
        json_t *object = json_loads(line, 0, NULL);
        if (json_is_object(object))
            return object;
        json_decref(object);
    }
    return NULL;
}

/* The loss of a line of metrics.jsonl; NaN where it is an evaluation's, or no update was made. */
static double loss_of(const json_t *line)
{
    return json_object_get(line, "skipped") ? NAN : number_of(line, "loss");
}

/* The last logged step, the samples of an epoch, and the accuracy of the last evaluation. */
static void read_end(struct lj_past_run *run, FILE *file, const struct lj_config *c,
                     int64_t *samples)
{
    for (json_t *line = next_line(file); line; line = next_line(file)) {
        double step = number_of(line, "step"), epoch = number_of(line, "epoch");
        if (isfinite(loss_of(line)) && step > 0 && epoch > 0) {
            run->step = (int64_t)step;
            run->collapse = number_of(line, "collapse");
            *samples = llround(step * (double)c->batch_size / epoch);
        }
        double knn = number_of(line, "knn_top1");
        if (isfinite(knn))
            run->knn_top1 = knn;
        json_decref(line);
    }
}

/* The mean loss of the logged steps among the last ones that make an epoch. */
static void average_last_epoch(struct lj_past_run *run, FILE *file, const struct lj_config *c,
                               int64_t samples)
{
    double sum = 0;
    for (json_t *line = next_line(file); line; line = next_line(file)) {
        double loss = loss_of(line), step = number_of(line, "step");
        double since = ((double)run->step - step) * (double)c->batch_size; /* samples */
        if (isfinite(loss) && since >= 0 && since < (double)samples) {
            sum += loss;
            run->averaged++;
        }
        json_decref(line);
    }
    run->loss = sum / (double)run->averaged;
}

static int read_losses(struct lj_past_run *run, const struct lj_config *c)
{
    char path[LJ_PATH_MAX];
    int64_t samples = 0;
    snprintf(path, sizeof path, "%.4000s/metrics.jsonl", run->dir);
    FILE *file = fopen(path, "r");
    if (file) {
        read_end(run, file, c, &samples);
        rewind(file);
        average_last_epoch(run, file, c, samples);
        fclose(file);
    }
    if (run->averaged == 0)
        return lj_fail(LJ_ERR_DATA,
                       "%s: has no loss of a step; has the run logged one (log.every)?", path);
    run->steps = lj_schedule_of(c, samples).steps;
    return LJ_OK;
}

static double probe_accuracy(const char *dir)
{
    char path[LJ_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/probe.json", dir);
    json_t *object = json_load_file(path, 0, NULL);
    double accuracy = number_of(object, "linear_top1");
    json_decref(object);
    return accuracy;
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
    char path[LJ_PATH_MAX];
    *run = (struct lj_past_run){.dir = dir, .collapse = NAN, .knn_top1 = NAN};
    snprintf(path, sizeof path, "%.4000s/config.yaml", dir);
    lj_config_defaults(config);
    if (access(path, R_OK) != 0)
        return lj_fail(LJ_ERR_DATA, "%s: is no directory of a run: it has no config.yaml", dir);
    if (lj_config_read_file(config, path) != LJ_OK)
        return LJ_ERR_DATA;
    snprintf(run->model, sizeof run->model, "%.60s", config->model);
    run->lambda = config->loss_lambda;
    run->lr = config->optim_lr;
    run->linear_top1 = probe_accuracy(dir);
    LJ_TRY(read_losses(run, config));
    run->score = run->loss / pow(run->lambda, alpha);
    return check_score(config, dir, alpha);
}
