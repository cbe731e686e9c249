/* SPDX-License-Identifier: Apache-2.0 */
/* rank: which of several runs is best, without labels: the one with the least loss / lambda^alpha
 * (Balestriero & LeCun 2025, arXiv 2511.08544, section 6.2), the loss averaged over the last epoch.
 * Rank 0 works. Losses depend on the size of the batch, on the views and on what is summed up, so
 * that only runs that agree in these are compared. */
#include "app/past_run.h"

#include "eval/eval.h"
#include "run/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the settings that weights depend on, beginnings of the names of those in which runs may
 * differ, and of those in which they should not: the paper compares runs of one encoder on one set
 * of data. All others must be alike. */
static const char *const may_differ[] = {"loss.lambda",   "optim.",      "train.",  "seed",
                                         "reduce",        "batch.lanes", "memory.", "data.window",
                                         "sigreg.slices", NULL};
static const char *const should_agree[] = {"model",       "projector.", "data.archive",
                                           "data.images", "precision",  NULL};

/* The runs that are compared. */
struct ranking {
    struct lj_past_run *run; /* (count) owned */
    int count;
    const char **left_out; /* (outs) owned */
    int outs;
    struct lj_config first, other; /* settings of the first run, and of the one being read */
    char differing[1024];          /* settings that should agree and do not */
    bool refused;
    char refusal[2048]; /* the first that must agree and do not */
};

static bool begins_with_one_of(const char *name, const char *const *beginning)
{
    for (; *beginning; beginning++)
        if (strncmp(name, *beginning, strlen(*beginning)) == 0)
            return true;
    return false;
}

static void note_difference(struct ranking *r, const struct lj_key *key, const char *mine,
                            const char *of_first, const char *dir)
{
    size_t used = strlen(r->differing);
    if (begins_with_one_of(key->name, should_agree)) {
        if (!strstr(r->differing, key->name))
            snprintf(r->differing + used, sizeof r->differing - used, "%s%s", used ? ", " : "",
                     key->name);
    } else if (key->role == LJ_KEY_BITS && !begins_with_one_of(key->name, may_differ) &&
               !r->refused) {
        r->refused = true;
        snprintf(r->refusal, sizeof r->refusal,
                 "%.500s has %s=%.200s, %.500s has %.200s: their losses do not compare", dir,
                 key->name, mine, r->run[0].dir, of_first);
    }
}

/* Compares the settings of the run being read with those of the first. */
static void compare(struct ranking *r, const char *dir)
{
    char mine[LJ_TEXT_MAX], of_first[LJ_TEXT_MAX];
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    for (int i = 0; i < count; i++) {
        lj_config_value_text(&r->other, &key[i], mine, sizeof mine);
        lj_config_value_text(&r->first, &key[i], of_first, sizeof of_first);
        if (strcmp(mine, of_first) != 0)
            note_difference(r, &key[i], mine, of_first, dir);
    }
}

static void read_runs(struct ranking *r, const char *const *dir, int count, double alpha)
{
    for (int i = 0; i < count; i++) {
        if (lj_past_run_read(&r->run[r->count], &r->other, dir[i], alpha) != LJ_OK) {
            lj_warn("left out: %s", lj_error_text());
            r->left_out[r->outs++] = dir[i];
            continue;
        }
        if (r->count++ == 0)
            r->first = r->other;
        else
            compare(r, dir[i]);
    }
}

static int check_runs(const struct ranking *r, bool force)
{
    if (r->count == 0)
        return lj_fail(LJ_ERR_DATA, "rank: none of %d directories holds a run with losses",
                       r->outs);
    if (r->refused && !force)
        return lj_fail(LJ_ERR_CONFIG, "%s; leave one out, or give force=1", r->refusal);
    if (r->refused)
        lj_warn("%s; ordered all the same (force=1)", r->refusal);
    if (r->differing[0])
        lj_warn("the runs differ in %s: the score was found to order runs of one encoder on one "
                "set of data, and says less of others",
                r->differing);
    return LJ_OK;
}

/* One point for every image: a small loss, and nothing learnt. */
static bool has_collapsed(const struct lj_past_run *run)
{
    return run->collapse >= LJ_COLLAPSED;
}

/* Collapsed ones last; runs of equal score in the order of their names. */
static int by_score(const void *a, const void *b)
{
    const struct lj_past_run *one = a, *other = b;
    if (has_collapsed(one) != has_collapsed(other))
        return has_collapsed(one) ? 1 : -1;
    if (one->score != other->score)
        return one->score < other->score ? -1 : 1;
    return strcmp(one->dir, other->dir);
}

/* ---- against accuracies ------------------------------------------------------------------ */

enum accuracy { KNN, LINEAR };

/* Does a run have an accuracy by `probe`? Then those count, which are of a probe that has
 * converged, and no evaluation's: accuracies of two protocols have no common order. */
static bool is_probed(const struct ranking *r)
{
    for (int i = 0; i < r->count; i++)
        if (isfinite(r->run[i].probe_top1))
            return true;
    return false;
}

static double accuracy_of(const struct ranking *r, int run, enum accuracy which)
{
    const struct lj_past_run *of = &r->run[run];
    if (which == KNN)
        return of->knn_top1;
    return is_probed(r) ? of->probe_top1 : of->linear_top1;
}

/* Does a run's accuracy count in a correlation? */
static bool counts(const struct ranking *r, int run, enum accuracy which)
{
    return isfinite(accuracy_of(r, run, which)) && !has_collapsed(&r->run[run]);
}

/* Are those that count of the same weights and layers? A probe's file does not say. */
static bool is_one_protocol(const struct ranking *r, enum accuracy which)
{
    const struct lj_past_run *first = NULL;
    bool same = true;
    for (int i = 0; i < r->count; i++) {
        if (!counts(r, i, which))
            continue;
        first = first ? first : &r->run[i];
        same = same && r->run[i].layers == first->layers &&
               r->run[i].averaged_weights == first->averaged_weights;
    }
    return same || (which == LINEAR && is_probed(r));
}

/* Spearman's correlation of the score, its sign turned, with an accuracy, over the runs that have
 * one and have not collapsed: 1 where the order is that of the accuracies. NaN: undefined, or of
 * two protocols.
 *   runs  out  how many they are */
static double agreement(const struct ranking *r, enum accuracy which, int64_t *runs)
{
    double *values = lj_alloc_array(2 * (int64_t)r->count, sizeof *values, "rank");
    *runs = 0;
    if (!values || !is_one_protocol(r, which)) {
        lj_free(values);
        return NAN;
    }
    double *worth = values, *accuracy = values + r->count;
    for (int i = 0; i < r->count; i++)
        if (counts(r, i, which)) {
            worth[*runs] = -r->run[i].score;
            accuracy[(*runs)++] = accuracy_of(r, i, which);
        }
    double rho = lj_spearman(worth, accuracy, *runs);
    lj_free(values);
    return rho;
}

/* ---- printing ---------------------------------------------------------------------------- */

static int print_json(const struct ranking *r, double alpha)
{
    json_t *runs = json_array(), *left_out = json_array();
    const char *failed = NULL;
    int64_t with_knn, with_linear;
    for (int i = 0; i < r->count; i++) {
        const struct lj_past_run *run = &r->run[i];
        json_t *o = json_pack("{s:s, s:o, s:o, s:I, s:f, s:f, s:s, s:I, s:I, s:b, s:b, s:o, s:o}",
                              "run", run->dir, "score", lj_json_number(run->score), "loss",
                              lj_json_number(run->loss), "averaged", (json_int_t)run->averaged,
                              "lambda", run->lambda, "lr", run->lr, "model", run->model, "step",
                              (json_int_t)run->step, "steps", (json_int_t)run->steps, "finished",
                              run->step >= run->steps, "collapsed", has_collapsed(run), "knn_top1",
                              lj_json_number(run->knn_top1), "linear_top1",
                              lj_json_number(accuracy_of(r, i, LINEAR)));
        if (json_array_append_new(runs, o) != 0)
            failed = run->dir;
    }
    for (int i = 0; i < r->outs; i++)
        if (json_array_append_new(left_out, json_string(r->left_out[i])) != 0)
            failed = r->left_out[i];
    json_t *object =
        json_pack("{s:f, s:o, s:o}", "alpha", alpha, "runs", runs, "left_out", left_out);
    json_object_set_new(object, "linear_top1_from",
                        json_string(is_probed(r) ? "probe.json" : "metrics.jsonl"));
    json_object_set_new(object, "spearman_knn_top1", lj_json_number(agreement(r, KNN, &with_knn)));
    json_object_set_new(object, "spearman_linear_top1",
                        lj_json_number(agreement(r, LINEAR, &with_linear)));
    int status = LJ_OK;
    if (failed)
        status = lj_fail(LJ_ERR_DATA,
                         "%s: its name or its model is no UTF-8, which JSON must be; leave out "
                         "json=1, or rename it",
                         failed);
    else
        status = lj_print_json(object, 17);
    json_decref(object);
    return status;
}

static void print_accuracy(double value)
{
    if (isfinite(value))
        printf(" %7.4f", value);
    else
        printf(" %7s", "-");
}

static void print_agreement(const struct ranking *r, enum accuracy which, const char *name)
{
    int64_t runs;
    double rho = agreement(r, which, &runs);
    if (isfinite(rho))
        printf("Spearman correlation with %s accuracy over %lld runs: %.4f (1: the same order)\n",
               name, (long long)runs, rho);
}

static void print_table(const struct ranking *r, double alpha)
{
    int unfinished = 0, collapsed = 0;
    printf("score = loss / lambda^%g, the loss averaged over the last epoch; lowest is best\n",
           alpha);
    printf("%4s %11s %11s %9s %9s %16s %7s %7s  %-14s %s\n", "", "score", "loss", "lambda", "lr",
           "steps", "kNN", "linear", "model", "run");
    for (int i = 0; i < r->count; i++) {
        const struct lj_past_run *run = &r->run[i];
        char steps[64];
        bool finished = run->step >= run->steps;
        unfinished += !finished;
        collapsed += has_collapsed(run);
        snprintf(steps, sizeof steps, "%lld/%lld%s%s", (long long)run->step, (long long)run->steps,
                 finished ? " " : "*", has_collapsed(run) ? "!" : " ");
        printf("%4d %11.6g %11.6g %9.4g %9.4g %16s", i + 1, run->score, run->loss, run->lambda,
               run->lr, steps);
        print_accuracy(run->knn_top1);
        print_accuracy(accuracy_of(r, i, LINEAR));
        printf("  %-14s %s\n", run->model, run->dir);
    }
    if (unfinished)
        printf("* %d %s not finished: the epoch before the last logged step counts\n", unfinished,
               unfinished == 1 ? "run is" : "runs are");
    if (collapsed)
        printf(
            "! %d %s collapsed: all projections are nearly one point, whatever the loss; last in "
            "the order\n",
            collapsed, collapsed == 1 ? "run has" : "runs have");
    print_agreement(r, KNN, "kNN");
    print_agreement(r, LINEAR, "linear-probe");
}

/* ---- the command ------------------------------------------------------------------------- */

static int rank_with(struct ranking *r, const char *const *dir, int count,
                     const struct lj_config *options)
{
    double alpha = options->arg_alpha;
    r->run = lj_alloc_array(count, sizeof *r->run, "rank");
    r->left_out = lj_alloc_array(count, sizeof *r->left_out, "rank");
    if (!r->run || !r->left_out)
        return LJ_ERR_RESOURCE;
    read_runs(r, dir, count, alpha);
    LJ_TRY(check_runs(r, options->arg_force));
    qsort(r->run, (size_t)r->count, sizeof *r->run, by_score);
    if (!is_one_protocol(r, KNN) || !is_one_protocol(r, LINEAR))
        lj_warn("the runs' evaluations differ in eval.layers, or are of running averages and of "
                "last weights: their accuracies do not compare, and are not correlated");
    if (options->arg_json)
        return print_json(r, alpha);
    print_table(r, alpha);
    return LJ_OK;
}

int lj_rank_runs(const char *const *dir, int count, const struct lj_config *options)
{
    struct ranking *r = lj_alloc(sizeof *r, "rank");
    int status = r ? rank_with(r, dir, count, options) : LJ_ERR_RESOURCE;
    if (r) {
        lj_free(r->run);
        lj_free(r->left_out);
    }
    lj_free(r);
    return status;
}

int lj_command_rank(struct lj_comm *comm, struct lj_config *config,
                    const struct lj_call_words *words)
{
    int status = LJ_OK;
    if (words->paths == 0)
        status = lj_fail(LJ_ERR_CONFIG, "rank: give directories of runs: lejepa_mpi rank runs/*");
    else if (lj_comm_is_root(comm))
        status = lj_rank_runs(words->path, words->paths, config);
    return lj_agree(comm, status);
}
