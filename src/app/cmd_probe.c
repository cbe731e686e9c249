/* SPDX-License-Identifier: Apache-2.0 */
/* probe: kNN (k = 20, cosine, temperature 0.07) and linear probe of embedding files.
 * Rank 0 works. */
#include "app/app.h"

#include "lejepa/runtime.h"

#include "eval/eval.h"
#include "store/store.h"
#include "train/train.h"

#include <jansson.h>
#include <stdio.h>

struct scores {
    struct lj_accuracy knn, linear;
    struct lj_probe_result fit;
    int64_t unlabelled; /* rows of both files that were left out */
};

static int check_pair(const struct lj_embeddings *train, const struct lj_embeddings *test,
                      const struct lj_config *c)
{
    if (!train->labels || !test->labels)
        return lj_fail(LJ_ERR_DATA, "%s: has no dataset labels; embed an archive with labels",
                       train->labels ? c->arg_test : c->arg_train);
    if (train->width != test->width)
        return lj_fail(
            LJ_ERR_DATA,
            "%s: embeddings of width %lld, but %s has width %lld; embed both with the same "
            "checkpoint and features",
            c->arg_test, (long long)test->width, c->arg_train, (long long)train->width);
    return LJ_OK;
}

/* Leaves the labelled rows; *unlabelled counts the others. */
static int drop_unlabelled(struct lj_embeddings *e, const char *path, int64_t *unlabelled)
{
    int64_t rows = e->rows;
    e->rows = lj_keep_labelled(e->values, e->labels, rows, e->width);
    *unlabelled += rows - e->rows;
    if (e->rows > 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: none of its %lld rows has a label (negative ones count as unlabelled); "
                   "embed other rows, or with another data.labels",
                   path, (long long)rows);
}

static int score(const struct lj_embeddings *train, const struct lj_embeddings *test, double l2,
                 struct scores *scores)
{
    int32_t *predicted = lj_alloc_array(test->rows, sizeof *predicted, "probe");
    int status = predicted ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK)
        status = lj_knn(train->values, train->labels, train->rows, test->values, test->rows,
                        train->width, LJ_KNN_NEIGHBOURS, LJ_KNN_TEMPERATURE, predicted);
    if (status == LJ_OK) {
        scores->knn = lj_accuracy_of(predicted, test->labels, test->rows);
        status = lj_linear_probe(train->values, train->labels, train->rows, test->values,
                                 test->rows, train->width, l2, predicted, &scores->fit);
    }
    if (status == LJ_OK)
        scores->linear = lj_accuracy_of(predicted, test->labels, test->rows);
    lj_free(predicted);
    return status;
}

static void print_scores(const struct lj_config *c, const struct lj_embeddings *train,
                         const struct lj_embeddings *test, const struct scores *s)
{
    if (c->arg_json) {
        json_t *o =
            json_pack("{s:f, s:f, s:f, s:f, s:i, s:f, s:f, s:i, s:f, s:I, s:I, s:I, s:I}",
                      "knn_top1", s->knn.top1, "knn_balanced", s->knn.balanced, "linear_top1",
                      s->linear.top1, "linear_balanced", s->linear.balanced, "k", LJ_KNN_NEIGHBOURS,
                      "temperature", LJ_KNN_TEMPERATURE, "l2", c->arg_l2, "iterations",
                      s->fit.iterations, "gradient_norm", s->fit.gradient_norm, "train_rows",
                      (json_int_t)train->rows, "test_rows", (json_int_t)test->rows, "width",
                      (json_int_t)train->width, "unlabelled", (json_int_t)s->unlabelled);
        json_dumpf(o, stdout, JSON_REAL_PRECISION(9));
        printf("\n");
        json_decref(o);
        return;
    }
    printf("%lld training and %lld test rows of width %lld\n", (long long)train->rows,
           (long long)test->rows, (long long)train->width);
    if (s->unlabelled)
        printf("%lld more rows have no label and were left out\n", (long long)s->unlabelled);
    printf("%-34s %8s %9s\n", "", "accuracy", "balanced");
    printf("kNN (k=%d, cosine, T=%g)%11s %8.4f %9.4f\n", LJ_KNN_NEIGHBOURS, LJ_KNN_TEMPERATURE, "",
           s->knn.top1, s->knn.balanced);
    printf("linear (L2 %g, %d iterations)%*s %8.4f %9.4f\n", c->arg_l2, s->fit.iterations, 4, "",
           s->linear.top1, s->linear.balanced);
}

static int probe_on_root(const struct lj_config *c)
{
    struct lj_embeddings train = {0}, test = {0};
    struct scores scores = {0};
    int threads = 1;
    if (!c->arg_train[0] || !c->arg_test[0])
        return lj_fail(LJ_ERR_CONFIG, "probe: give train= and test=, two embedding files");
    LJ_TRY(lj_threads_use(c->threads, &threads));
    int status = lj_embeddings_read(c->arg_train, &train);
    if (status == LJ_OK)
        status = lj_embeddings_read(c->arg_test, &test);
    if (status == LJ_OK)
        status = check_pair(&train, &test, c);
    if (status == LJ_OK)
        status = drop_unlabelled(&train, c->arg_train, &scores.unlabelled);
    if (status == LJ_OK)
        status = drop_unlabelled(&test, c->arg_test, &scores.unlabelled);
    if (status == LJ_OK)
        status = score(&train, &test, c->arg_l2, &scores);
    if (status == LJ_OK)
        print_scores(c, &train, &test, &scores);
    lj_embeddings_free(&train);
    lj_embeddings_free(&test);
    return status;
}

int lj_command_probe(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words)
{
    const char *isa = "";
    (void)words;
    LJ_TRY(lj_runtime_agree(comm, &isa));
    lj_root_section_begin(comm);
    return lj_root_section_end(comm, lj_comm_is_root(comm) ? probe_on_root(config) : LJ_OK);
}
