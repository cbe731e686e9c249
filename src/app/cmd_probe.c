/* SPDX-License-Identifier: Apache-2.0 */
/* probe: kNN (k = 20, cosine, temperature 0.07) and linear probe of embedding files. Rank 0 reads
 * labels and shapes; every rank reads its rows, and the ranks share the work. */
#include "app/app.h"
#include "app/probe_report.h"

#include "lejepa/runtime.h"

#include "eval/eval.h"
#include "store/store.h"
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Largest l2 that can be given. */
#define L2_MAX 1e6

static int read_l2(const char *text, struct lj_probe_report *report)
{
    char *end;
    report->l2_auto = strcmp(text, "auto") == 0;
    if (report->l2_auto)
        return LJ_OK;
    report->l2 = strtod(text, &end);
    if (end > text && !*end && report->l2 >= 0 && report->l2 <= L2_MAX)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG, "l2=%s: expected a number from 0 to %g, or auto", text, L2_MAX);
}

static int read_fewshot(const char *text, struct lj_probe_report *report)
{
    double labels[LJ_FEWSHOT_MAX];
    int count = text[0] ? lj_read_numbers(text, LJ_FEWSHOT_MAX, labels) : 0;
    bool good = count >= 0;
    for (int i = 0; i < count; i++)
        good = good && labels[i] >= 1 && labels[i] <= INT32_MAX && labels[i] == floor(labels[i]);
    if (!good)
        return lj_fail(LJ_ERR_CONFIG,
                       "fewshot=%s: expected at most %d numbers of labels from 1 on, separated "
                       "by commas, such as 1,2,5,10,100",
                       text, LJ_FEWSHOT_MAX);
    for (int i = 0; i < count; i++)
        report->fewshot[report->fewshots++].labels = (int64_t)labels[i];
    return LJ_OK;
}

/* A probe fitted to what some weights make of images says nothing of what others make of them. */
static int check_weights(const struct lj_embeddings_source *train,
                         const struct lj_embeddings_source *test, const struct lj_config *c)
{
    if (!train->weights_hash || !test->weights_hash ||
        strcmp(train->weights_hash, test->weights_hash) == 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: made by other weights (%s, xxh3 %s) than %s (%s, xxh3 %s); embed both with "
                   "the same checkpoint and weights",
                   c->arg_test, test->weights ? test->weights : "last", test->weights_hash,
                   c->arg_train, train->weights ? train->weights : "last", train->weights_hash);
}

static int check_pair(const struct lj_embeddings *train, const struct lj_embeddings *test,
                      const struct lj_config *c)
{
    if (!train->labels || !test->labels)
        return lj_fail(LJ_ERR_DATA, "%s: has no dataset labels; embed an archive with labels",
                       train->labels ? c->arg_test : c->arg_train);
    if (train->source.layers != test->source.layers)
        return lj_fail(LJ_ERR_DATA,
                       "%s: is of layers=%lld, but %s of layers=%lld; embed both with the same",
                       c->arg_test, (long long)test->source.layers, c->arg_train,
                       (long long)train->source.layers);
    if (train->width != test->width)
        return lj_fail(
            LJ_ERR_DATA,
            "%s: embeddings of width %lld, but %s has width %lld; embed both with the same "
            "checkpoint and features",
            c->arg_test, (long long)test->width, c->arg_train, (long long)train->width);
    return check_weights(&train->source, &test->source, c);
}

/* ---- reading ----------------------------------------------------------------------------- */

/* One of the two files. */
struct side {
    const char *path;
    struct lj_embeddings file; /* its shape; labels of the labelled rows */
    int64_t labelled;          /* of its rows */
    float *values;             /* (share.rows, width) owned */
    struct lj_features share;  /* my labelled rows */
    int64_t shared;            /* test, root: rows that are in train, too; -1: not known */
};

static const char *archive_of(const struct lj_embeddings *e)
{
    return e->source.archive ? e->source.archive : "an archive that it does not name";
}

/* The file with the rows of the labelled ones only, which are moved to the front. */
static struct lj_embeddings labelled_rows(struct side *side)
{
    struct lj_embeddings view = side->file;
    view.rows = 0;
    for (int64_t r = 0; r < side->file.rows; r++)
        if (side->file.labels[r] >= 0) {
            if (view.row)
                view.row[view.rows] = view.row[r];
            view.rows++;
        }
    return view;
}

/* Test rows that the probes were fitted on would say little of other images. */
static int check_overlap(struct side *train, struct side *test, const struct lj_config *c)
{
    const struct lj_embeddings of_train = labelled_rows(train), of_test = labelled_rows(test);
    LJ_TRY(lj_embeddings_shared(&of_train, &of_test, &test->shared));
    if (test->shared < 0)
        lj_say("whether rows of %s are in %s, too, is not known: the files do not both say which "
               "rows of which archive they hold",
               c->arg_test, c->arg_train);
    if (test->shared <= 0 || c->arg_overlap == LJ_ARG_OVERLAP_ALLOW)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%lld of the %lld test rows in %s (of %s) are training rows in %s (of %s), too; "
                   "embed other rows (data.where), or give overlap=allow",
                   (long long)test->shared, (long long)of_test.rows, c->arg_test,
                   archive_of(&of_test), c->arg_train, archive_of(&of_train));
}

static int check_labels(const struct side *side)
{
    for (int64_t i = 0; i < side->file.rows; i++)
        if (side->file.labels[i] >= 0)
            return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: none of its %lld rows has a label (negative ones, NaN and "
                   "data.unlabelled count as none); "
                   "embed other rows, or with another data.labels",
                   side->path, (long long)side->file.rows);
}

static int read_indices(const struct lj_config *c, struct side *train, struct side *test)
{
    if (!c->arg_train[0] || !c->arg_test[0])
        return lj_fail(LJ_ERR_CONFIG, "probe: give train= and test=, two embedding files");
    LJ_TRY(lj_embeddings_read_index(train->path, &c->data_unlabelled, &train->file));
    LJ_TRY(lj_embeddings_read_index(test->path, &c->data_unlabelled, &test->file));
    LJ_TRY(check_pair(&train->file, &test->file, c));
    LJ_TRY(check_labels(train));
    LJ_TRY(check_labels(test));
    return check_overlap(train, test, c);
}

/* What rank 0 has read reaches everybody. Collective. */
static int share_index(struct lj_comm *comm, struct lj_embeddings *file)
{
    int64_t shape[2] = {file->rows, file->width};
    lj_broadcast(comm, shape, sizeof shape, 0);
    file->rows = shape[0];
    file->width = shape[1];
    if (!lj_comm_is_root(comm))
        file->labels = lj_alloc_array(file->rows, sizeof *file->labels, "labels");
    LJ_TRY(lj_agree(comm, file->labels ? LJ_OK : LJ_ERR_RESOURCE));
    lj_broadcast(comm, file->labels, file->rows * (int64_t)sizeof *file->labels, 0);
    return LJ_OK;
}

/* Reads the rows of the file from my first labelled row to my last, and closes the gaps. */
static int read_share(struct lj_comm *comm, struct side *side)
{
    const int32_t *labels = side->file.labels;
    int64_t first, end, width = side->file.width, begin = 0, stop = 0, kept = 0;
    for (int64_t i = 0; i < side->file.rows; i++)
        side->labelled += labels[i] >= 0;
    lj_features_share(side->labelled, comm->size, comm->rank, &first, &end);
    for (int64_t i = 0, seen = 0; i < side->file.rows && seen < end; i++) {
        if (labels[i] >= 0 && seen++ == first)
            begin = i;
        stop = i + 1;
    }
    if (first == end)
        begin = stop;
    LJ_TRY(lj_embeddings_read_values(side->path, width, begin, stop, &side->values));
    for (int64_t i = begin; i < stop; i++)
        if (labels[i] >= 0)
            memmove(side->values + kept++ * width, side->values + (i - begin) * width,
                    (size_t)width * sizeof *side->values);
    side->share = (struct lj_features){side->values, kept, width, LJ_FEATURES_BLOCK};
    return LJ_OK;
}

/* A row that is not finite has no neighbours and no class. */
static int check_finite(const struct side *side)
{
    const struct lj_features *x = &side->share;
    for (int64_t i = 0; i < x->rows * x->width; i++)
        if (!isfinite(x->values[i]))
            return lj_fail(LJ_ERR_NUMERIC,
                           "%s: an embedding is not finite; embed again with a checkpoint whose "
                           "weights are good",
                           side->path);
    return LJ_OK;
}

/* Leaves the labels that rows have. */
static void drop_unlabelled(struct side *side)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < side->file.rows; i++)
        if (side->file.labels[i] >= 0)
            side->file.labels[kept++] = side->file.labels[i];
}

/* Test rows that can only be predicted wrong pull every accuracy down: say so. */
static int tell_unknown(const struct side *train, const struct side *test)
{
    int64_t unknown;
    LJ_TRY(lj_count_unknown(train->file.labels, train->labelled, test->file.labels, test->labelled,
                            &unknown));
    if (unknown > 0)
        lj_warn("%lld test rows in %s have a label that no row in %s has: they count as wrong",
                (long long)unknown, test->path, train->path);
    return LJ_OK;
}

/* Collective. */
static int read_both(struct lj_comm *comm, const struct lj_config *c, struct side *train,
                     struct side *test)
{
    lj_root_section_begin(comm);
    LJ_TRY(lj_root_section_end(comm, lj_comm_is_root(comm) ? read_indices(c, train, test) : LJ_OK));
    LJ_TRY(share_index(comm, &train->file));
    LJ_TRY(share_index(comm, &test->file));
    int status = read_share(comm, train);
    if (status == LJ_OK)
        status = read_share(comm, test);
    if (status == LJ_OK)
        status = check_finite(train);
    if (status == LJ_OK)
        status = check_finite(test);
    LJ_TRY(lj_agree(comm, status));
    drop_unlabelled(train);
    drop_unlabelled(test);
    return lj_agree(comm, lj_comm_is_root(comm) ? tell_unknown(train, test) : LJ_OK);
}

/* ---- scores ------------------------------------------------------------------------------ */

/* Strength of the linear probe's penalty where the training rows are to choose it. Collective. */
static int choose_l2(struct lj_comm *comm, const struct side *train, int64_t seed,
                     struct lj_probe_report *report)
{
    struct lj_l2_choice *choice = &report->choice;
    if (!report->l2_auto)
        return LJ_OK;
    LJ_TRY(lj_linear_probe_l2(comm, &train->share, train->file.labels, seed, choice));
    report->l2 = choice->l2;
    if (choice->at_end && lj_comm_is_root(comm))
        lj_say("l2=auto: %g is at the end of what is tried; l2=%g may be better still", choice->l2,
               choice->l2 < 1 ? choice->l2 / 10 : choice->l2 * 10);
    return LJ_OK;
}

/* Of predictions of all test rows. Collective. */
static int take_score(struct lj_comm *comm, const int32_t *predicted, const struct side *test,
                      const struct lj_config *c, struct lj_probe_score *s)
{
    const int32_t *labels = test->file.labels;
    s->accuracy = lj_accuracy_of(predicted, labels, test->labelled);
    bool wanted = c->arg_confusion && lj_comm_is_root(comm);
    LJ_TRY(lj_agree(comm,
                    wanted ? lj_confusion_create(&s->confusion, predicted, labels, test->labelled)
                           : LJ_OK));
    return lj_accuracy_intervals(comm, predicted, labels, test->labelled, c->seed, &s->top1,
                                 &s->balanced);
}

/* The same on every rank. Collective. */
static int score(struct lj_comm *comm, const struct side *train, const struct side *test,
                 const struct lj_config *c, struct lj_probe_report *report)
{
    int32_t *predicted = lj_alloc_array(test->labelled, sizeof *predicted, "probe");
    int status = lj_agree(comm, predicted ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = lj_knn(comm, &train->share, train->file.labels, &test->share, LJ_KNN_NEIGHBOURS,
                        LJ_KNN_TEMPERATURE, predicted);
    if (status == LJ_OK)
        status = take_score(comm, predicted, test, c, &report->knn);
    if (status == LJ_OK)
        status = choose_l2(comm, train, c->seed, report);
    if (status == LJ_OK)
        status = lj_linear_probe(comm, &train->share, train->file.labels, &test->share, report->l2,
                                 0, predicted, &report->fit);
    if (status == LJ_OK)
        status = take_score(comm, predicted, test, c, &report->linear);
    lj_free(predicted);
    return status;
}

/* Few labels leave none to choose a strength by, and all of them must have no say in it: with
 * l2=auto it is the default. Collective. */
static int score_fewshot(struct lj_comm *comm, const struct side *train, const struct side *test,
                         int64_t seed, struct lj_probe_report *report)
{
    if (report->fewshots == 0)
        return LJ_OK;
    return lj_fewshot_score(comm, &train->share, train->file.labels, &test->share,
                            test->file.labels, report->l2_auto ? LJ_PROBE_L2 : report->l2, seed,
                            report->fewshots, report->fewshot);
}

static int print_report(const struct side *train, const struct side *test, bool json,
                        struct lj_probe_report *report)
{
    report->train_rows = train->labelled;
    report->test_rows = test->labelled;
    report->width = train->file.width;
    report->unlabelled = train->file.rows - train->labelled + (test->file.rows - test->labelled);
    report->shared = test->shared;
    if (json)
        return lj_probe_report_json(report);
    lj_probe_report_table(report);
    return LJ_OK;
}

int lj_command_probe(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words)
{
    struct side train = {.path = config->arg_train}, test = {.path = config->arg_test};
    struct lj_probe_report report = {0};
    const char *isa = "";
    int threads = 1;
    (void)words;
    LJ_TRY(lj_agree(comm, read_l2(config->arg_l2, &report)));
    LJ_TRY(lj_agree(comm, read_fewshot(config->arg_fewshot, &report)));
    LJ_TRY(lj_agree(comm, lj_threads_use(config->threads, &threads)));
    LJ_TRY(lj_runtime_agree(comm, &isa));
    int status = read_both(comm, config, &train, &test);
    if (status == LJ_OK)
        status = score(comm, &train, &test, config, &report);
    if (status == LJ_OK)
        status = score_fewshot(comm, &train, &test, config->seed, &report);
    if (status == LJ_OK)
        status = lj_agree(comm, lj_comm_is_root(comm)
                                    ? print_report(&train, &test, config->arg_json, &report)
                                    : LJ_OK);
    lj_confusion_destroy(&report.knn.confusion);
    lj_confusion_destroy(&report.linear.confusion);
    lj_embeddings_free(&train.file);
    lj_embeddings_free(&test.file);
    lj_free(train.values);
    lj_free(test.values);
    return status;
}
