/* SPDX-License-Identifier: Apache-2.0 */
/* Few-shot scores where they are known: all rows drawn, and classes that one row tells. */
#include "eval/probe.h"

#include "mpi_case.h"
#include "random.h"
#include "share.h"

#include <math.h>
#include <string.h>

enum { TRAIN = 300, TEST = 150, WIDTH = 11, CLASSES = 4 };

static float train[TRAIN * WIDTH], test[TEST * WIDTH];
static int32_t train_labels[TRAIN], test_labels[TEST];

/* Classes of unequal size; the last has `last` training rows. */
static void fill(float *x, int32_t *labels, int rows, int last, double noise, uint64_t stream)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 8, LJ_DRAW_TEST, stream, 0, 0);
    for (int i = 0; i < rows; i++)
        labels[i] = i < last ? 3 : (int32_t)lj_rng_below(&rng, CLASSES - 1);
    for (int i = 0; i < rows * WIDTH; i++)
        x[i] = (float)(noise * lj_random_normal(&rng) + (i % WIDTH == labels[i / WIDTH]));
}

static int score(struct lj_comm *comm, int64_t count, struct lj_fewshot *shots)
{
    struct lj_features known = share_of(comm, train, TRAIN, WIDTH);
    struct lj_features asked = share_of(comm, test, TEST, WIDTH);
    return lj_fewshot_score(comm, &known, train_labels, &asked, test_labels, 1e-2, 4, count, shots);
}

/* As the probes of all labels. */
Test(fewshot, all_rows, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    int32_t predicted[TEST];
    struct lj_probe_result result;
    struct lj_fewshot all = {.labels = TRAIN};
    fill(train, train_labels, TRAIN, 20, 0.6, 0);
    fill(test, test_labels, TEST, 30, 0.6, 1);
    struct lj_features known = share_of(world, train, TRAIN, WIDTH);
    struct lj_features asked = share_of(world, test, TEST, WIDTH);
    int status = score(world, 1, &all);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, all.fewer == CLASSES, "%lld with fewer", (long long)all.fewer);
    status = lj_linear_probe(world, &known, train_labels, &asked, 1e-2, 0, predicted, &result);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    struct lj_accuracy linear = lj_accuracy_of(predicted, test_labels, TEST);
    status = lj_knn(world, &known, train_labels, &asked, LJ_KNN_NEIGHBOURS, LJ_KNN_TEMPERATURE,
                    predicted);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    struct lj_accuracy knn = lj_accuracy_of(predicted, test_labels, TEST);
    lj_all_assert(world, fabs(all.linear_top1.mean - linear.top1) < 1e-12, "linear %g, not %g",
                  all.linear_top1.mean, linear.top1);
    lj_all_assert(world, fabs(all.linear_balanced.mean - linear.balanced) < 1e-12,
                  "linear balanced %g, not %g", all.linear_balanced.mean, linear.balanced);
    lj_all_assert(world, fabs(all.knn_top1.mean - knn.top1) < 1e-12, "kNN %g, not %g",
                  all.knn_top1.mean, knn.top1);
    lj_all_assert(world, fabs(all.knn_balanced.mean - knn.balanced) < 1e-12,
                  "kNN balanced %g, not %g", all.knn_balanced.mean, knn.balanced);
    lj_all_assert(world, all.knn_top1.deviation < 1e-12 && all.linear_top1.deviation < 1e-12,
                  "deviations of equal draws: %g, %g", all.knn_top1.deviation,
                  all.linear_top1.deviation);
    lj_case_end(world);
}

/* One row of a class tells all of it, of whatever draw. */
Test(fewshot, one_label_is_enough, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_fewshot one = {.labels = 1};
    fill(train, train_labels, TRAIN, 1, 0, 0);
    fill(test, test_labels, TEST, 9, 0, 1);
    int status = score(world, 1, &one);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, one.fewer == 0, "%lld with fewer", (long long)one.fewer);
    lj_all_assert(world, one.knn_balanced.mean == 1 && one.linear_balanced.mean == 1,
                  "kNN %g, linear %g", one.knn_balanced.mean, one.linear_balanced.mean);
    lj_case_end(world);
}

/* More labels help; draws differ; the same bits on any number of ranks. */
Test(fewshot, ranks_do_not_matter, .timeout = 120)
{
    struct lj_comm *world = lj_case_begin();
    struct lj_fewshot all[3] = {{0}}, one[3];
    fill(train, train_labels, TRAIN, 7, 0.6, 0);
    fill(test, test_labels, TEST, 30, 0.6, 1);
    const struct lj_fewshot asked[3] = {{.labels = 1}, {.labels = 7}, {.labels = 60}};
    memcpy(all, asked, sizeof all);
    memcpy(one, asked, sizeof one);
    int status = score(world, 3, all);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, all[1].fewer == 0 && all[2].fewer == 1, "%lld and %lld with fewer",
                  (long long)all[1].fewer, (long long)all[2].fewer);
    for (int s = 1; s < 3; s++)
        lj_all_assert(world, all[s].linear_top1.mean > all[s - 1].linear_top1.mean,
                      "%lld labels: %g", (long long)all[s].labels, all[s].linear_top1.mean);
    lj_all_assert(world, all[0].knn_top1.deviation > 0.01, "deviation %g of one label",
                  all[0].knn_top1.deviation);
    struct lj_comm *first;
    status = lj_comm_first(world, 1, &first);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    if (first)
        cr_assert_eq(score(first, 3, one), LJ_OK, "%s", lj_error_text());
    lj_comm_destroy(first);
    lj_broadcast(world, one, sizeof one, 0);
    lj_all_assert(world, memcmp(one, all, sizeof one) == 0, "other scores than on one rank");
    lj_case_end(world);
}
