/* SPDX-License-Identifier: Apache-2.0 */
/* Probes that know the labels of a few rows of each class. The linear one fits these rows among all
 * training rows; for the kNN they are a bank of their own, which every rank receives. */
#include "eval/probe.h"

#include <math.h>
#include <string.h>

struct fewshot {
    struct lj_comm *comm;
    struct lj_probe probe;
    const int32_t *labels; /* (training rows) borrowed */
    const struct lj_features *test;
    const int32_t *truth; /* (test rows) borrowed */
    int64_t test_rows;
    double l2;
    int64_t seed;
    int64_t *of_class, *count; /* (classes) owned: rows of each, and those to draw */
    uint8_t *known;            /* (training rows) owned */
    int32_t *bank_labels;      /* (training rows) owned */
    int32_t *predicted;        /* (test rows) owned */
};

static int create(struct fewshot *f, const struct lj_features *train)
{
    const char *label = "few-shot";
    LJ_TRY(lj_probe_create(&f->probe, f->comm, train, f->labels));
    f->of_class = lj_alloc_array(f->probe.classes.count, sizeof *f->of_class, label);
    f->count = lj_alloc_array(f->probe.classes.count, sizeof *f->count, label);
    f->known = lj_alloc_array(f->probe.rows, sizeof *f->known, label);
    f->bank_labels = lj_alloc_array(f->probe.rows, sizeof *f->bank_labels, label);
    f->predicted = lj_alloc_array(f->test_rows, sizeof *f->predicted, label);
    bool all = f->of_class && f->count && f->known && f->bank_labels && f->predicted;
    LJ_TRY(lj_agree(f->comm, all ? LJ_OK : LJ_ERR_RESOURCE));
    lj_classes_count(&f->probe.classes, f->probe.rows, f->of_class);
    return LJ_OK;
}

static void destroy(struct fewshot *f)
{
    lj_probe_destroy(&f->probe);
    lj_free(f->of_class);
    lj_free(f->count);
    lj_free(f->known);
    lj_free(f->bank_labels);
    lj_free(f->predicted);
}

/* Known rows of rank r; before: those of the ranks before it. */
static int64_t known_rows(const struct fewshot *f, int rank, int64_t *before)
{
    int64_t first, end, rows = 0;
    lj_features_share(f->probe.rows, f->comm->size, rank, &first, &end);
    *before = 0;
    for (int64_t i = 0; i < end; i++)
        *(i < first ? before : &rows) += f->known[i];
    return rows;
}

/* The known rows of all ranks, on every rank. Collective.
 *   all  (known rows, width) out */
static void gather(const struct fewshot *f, float *all)
{
    const struct lj_features *train = f->probe.problem.x;
    int64_t width = train->width, before, at;
    for (int r = 0; r < f->comm->size; r++)
        f->probe.bytes[r] = known_rows(f, r, &before) * width * (int64_t)sizeof *all;
    known_rows(f, f->comm->rank, &at);
    float *mine = all + at * width;
    for (int64_t i = 0; i < train->rows; i++)
        if (f->known[f->probe.first + i])
            memcpy(all + at++ * width, train->values + i * width, (size_t)width * sizeof *all);
    lj_all_gather_bytes(f->comm, mine, all, f->probe.bytes);
}

/* Predicts the test rows from the known ones alone. Collective. */
static int predict_knn(struct fewshot *f)
{
    int64_t width = f->probe.problem.x->width, rows = 0, first, end;
    for (int64_t i = 0; i < f->probe.rows; i++)
        if (f->known[i])
            f->bank_labels[rows++] = f->labels[i];
    float *all = lj_alloc_array(rows * width, sizeof *all, "few-shot");
    int status = lj_agree(f->comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK) {
        gather(f, all);
        lj_features_share(rows, f->comm->size, f->comm->rank, &first, &end);
        struct lj_features bank = {all + first * width, end - first, width, LJ_FEATURES_BLOCK};
        status = lj_knn(f->comm, &bank, f->bank_labels, f->test,
                        (int)lj_min_i64(LJ_KNN_NEIGHBOURS, rows), LJ_KNN_TEMPERATURE, f->predicted);
    }
    lj_free(all);
    return status;
}

/* Predicts them by a fit to the known rows. Collective. */
static int predict_linear(struct fewshot *f)
{
    struct lj_probe_result result;
    lj_probe_forget(&f->probe);
    LJ_TRY(lj_probe_fit(&f->probe, f->known, f->l2, 0, &result));
    lj_probe_predict(&f->probe, f->test, f->predicted);
    for (int64_t i = 0; i < f->test_rows; i++)
        f->predicted[i] = f->probe.classes.label[f->predicted[i]];
    return LJ_OK;
}

/* Mean, and deviation with divisor n - 1. */
static struct lj_fewshot_score score_of(const double value[LJ_FEWSHOT_DRAWS])
{
    struct lj_fewshot_score score = {0.0, 0.0};
    for (int d = 0; d < LJ_FEWSHOT_DRAWS; d++)
        score.mean += value[d] / LJ_FEWSHOT_DRAWS;
    for (int d = 0; d < LJ_FEWSHOT_DRAWS; d++)
        score.deviation += (value[d] - score.mean) * (value[d] - score.mean);
    score.deviation = sqrt(score.deviation / (LJ_FEWSHOT_DRAWS - 1));
    return score;
}

/* The accuracies of one number of labels, of all draws. Collective. */
static int run(struct fewshot *f, struct lj_fewshot *shot)
{
    double value[4][LJ_FEWSHOT_DRAWS];
    shot->fewer = 0;
    for (int64_t c = 0; c < f->probe.classes.count; c++) {
        f->count[c] = lj_min_i64(shot->labels, f->of_class[c]);
        shot->fewer += f->of_class[c] < shot->labels;
    }
    for (int d = 0; d < LJ_FEWSHOT_DRAWS; d++) {
        LJ_TRY(lj_agree(f->comm, lj_classes_draw(&f->probe.classes, f->probe.rows, f->count,
                                                 f->seed, 1 + d, f->known)));
        LJ_TRY(predict_knn(f));
        struct lj_accuracy knn = lj_accuracy_of(f->predicted, f->truth, f->test_rows);
        LJ_TRY(predict_linear(f));
        struct lj_accuracy linear = lj_accuracy_of(f->predicted, f->truth, f->test_rows);
        value[0][d] = knn.top1;
        value[1][d] = knn.balanced;
        value[2][d] = linear.top1;
        value[3][d] = linear.balanced;
    }
    shot->knn_top1 = score_of(value[0]);
    shot->knn_balanced = score_of(value[1]);
    shot->linear_top1 = score_of(value[2]);
    shot->linear_balanced = score_of(value[3]);
    return LJ_OK;
}

int lj_fewshot_score(struct lj_comm *comm, const struct lj_features *train,
                     const int32_t *train_labels, const struct lj_features *test,
                     const int32_t *test_labels, double l2, int64_t seed, int64_t count,
                     struct lj_fewshot *shots)
{
    struct fewshot f = {.comm = comm,
                        .labels = train_labels,
                        .test = test,
                        .truth = test_labels,
                        .test_rows = lj_all_sum(comm, test->rows),
                        .l2 = l2,
                        .seed = seed};
    int status = create(&f, train);
    for (int64_t s = 0; s < count && status == LJ_OK; s++)
        status = run(&f, &shots[s]);
    destroy(&f);
    return status;
}
