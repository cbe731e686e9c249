/* SPDX-License-Identifier: Apache-2.0 */
/* The probe against scikit-learn (golden/make_probe.py), and problems with known answers. */
#include "eval/probe.h"

#include "mpi_case.h"
#include "random.h"
#include "share.h"

#include <hdf5.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

static void read_golden(hid_t file, const char *name, hid_t type, void *values)
{
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
    cr_assert_geq(set, 0, "%s", name);
    cr_assert_geq(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
    H5Dclose(set);
}

static int linear_probe(struct lj_comm *comm, const float *train, const int32_t *labels,
                        int64_t train_rows, const float *test, int64_t test_rows, int64_t width,
                        double l2, int32_t *predicted, struct lj_probe_result *result)
{
    struct lj_features known = share_of(comm, train, train_rows, width);
    struct lj_features asked = share_of(comm, test, test_rows, width);
    return lj_linear_probe(comm, &known, labels, &asked, l2, 0, predicted, result);
}

enum { TRAIN = 253, TEST = 100, WIDTH = 7 };

/* What golden/make_probe.py has written. */
struct golden {
    float train[TRAIN * WIDTH], test[TEST * WIDTH];
    int32_t labels[TRAIN], predicted[TEST];
    double loss;
    uint8_t known[TRAIN]; /* the rest held out */
    int64_t right[LJ_L2_GRID];
    double known_loss[LJ_L2_GRID];
};

static const struct golden *golden(void)
{
    static struct golden g;
    char path[1024];
    snprintf(path, sizeof path, "%s/probe.h5", getenv("GOLDEN_DIR"));
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    cr_assert_geq(file, 0, "%s", path);
    read_golden(file, "train", H5T_NATIVE_FLOAT, g.train);
    read_golden(file, "test", H5T_NATIVE_FLOAT, g.test);
    read_golden(file, "train_labels", H5T_NATIVE_INT32, g.labels);
    read_golden(file, "predicted", H5T_NATIVE_INT32, g.predicted);
    read_golden(file, "loss", H5T_NATIVE_DOUBLE, &g.loss);
    read_golden(file, "known", H5T_NATIVE_UINT8, g.known);
    read_golden(file, "held_out_right", H5T_NATIVE_INT64, g.right);
    read_golden(file, "known_loss", H5T_NATIVE_DOUBLE, g.known_loss);
    H5Fclose(file);
    return &g;
}

Test(probe, as_scikit_learn, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const struct golden *g = golden();
    int32_t predicted[TEST];
    struct lj_probe_result result;
    int status = linear_probe(world, g->train, g->labels, TRAIN, g->test, TEST, WIDTH, 0.01,
                              predicted, &result);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, fabs(result.loss - g->loss) < 1e-8, "%.12g, expected %.12g", result.loss,
                  g->loss);
    lj_all_assert(world, result.gradient_norm < 1e-5, "gradient %g", result.gradient_norm);
    lj_all_assert(world, memcmp(predicted, g->predicted, sizeof predicted) == 0,
                  "other predictions");
    lj_case_end(world);
}

/* Some rows held out, for each strength of the grid. */
Test(probe, held_out_as_scikit_learn, .timeout = 120)
{
    struct lj_comm *world = lj_case_begin();
    const struct golden *g = golden();
    struct lj_features x = share_of(world, g->train, TRAIN, WIDTH);
    int64_t right[LJ_L2_GRID];
    struct lj_probe probe;
    struct lj_probe_result result;
    int status = lj_probe_create(&probe, world, &x, g->labels);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    for (int i = 0; i < LJ_L2_GRID; i += 5) {
        status = lj_probe_fit(&probe, g->known, lj_l2_grid[i], 0, &result);
        lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
        lj_all_assert(world, fabs(result.loss - g->known_loss[i]) < 1e-7,
                      "l2 %g: %.12g, expected %.12g", lj_l2_grid[i], result.loss, g->known_loss[i]);
    }
    status = lj_probe_try_l2(&probe, g->known, right);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    for (int i = 0; i < LJ_L2_GRID; i++)
        lj_all_assert(world, right[i] == g->right[i], "l2 %g: %lld right, expected %lld",
                      lj_l2_grid[i], (long long)right[i], (long long)g->right[i]);
    lj_probe_destroy(&probe);
    lj_case_end(world);
}

/* One feature tells the classes apart, 60 say nothing, and there are 12 rows a class: a weak
 * penalty learns the noise by heart. */
Test(probe, strength_is_chosen, .timeout = 120)
{
    enum { ROWS = 90, NOISE = 61 };
    struct lj_comm *world = lj_case_begin();
    static float x[ROWS * NOISE];
    int32_t labels[ROWS];
    struct lj_l2_choice all = {0}, choice;
    struct lj_rng rng;
    lj_rng_begin(&rng, 3, LJ_DRAW_TEST, 0, 0, 0);
    for (int i = 0; i < ROWS; i++)
        labels[i] = i % 3;
    for (int i = 0; i < ROWS * NOISE; i++)
        x[i] = (float)(lj_random_normal(&rng) * (i % NOISE ? 1 : 0.2) +
                       (i % NOISE ? 0 : 2 * labels[i / NOISE]));
    struct lj_features mine = share_of(world, x, ROWS, NOISE);
    int status = lj_linear_probe_l2(world, &mine, labels, 0, &choice);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, choice.held_out == 9, "%lld held out", (long long)choice.held_out);
    lj_all_assert(world, choice.l2 >= 0.01 && choice.l2 <= 1, "l2 %g", choice.l2);
    lj_all_assert(world, choice.accuracy > 0.6, "accuracy %g", choice.accuracy);
    struct lj_comm *one;
    status = lj_comm_first(world, 1, &one);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    if (one) {
        mine = share_of(one, x, ROWS, NOISE);
        status = lj_linear_probe_l2(one, &mine, labels, 0, &all);
        cr_assert_eq(status, LJ_OK, "%s", lj_error_text());
    }
    lj_comm_destroy(one);
    lj_broadcast(world, &all, sizeof all, 0);
    bool same = all.l2 == choice.l2 && all.accuracy == choice.accuracy &&
                all.held_out == choice.held_out && all.at_end == choice.at_end;
    lj_all_assert(world, same, "another choice: %g, not %g", choice.l2, all.l2);
    for (int i = 0; i < ROWS; i++)
        labels[i] = i;
    mine = share_of(world, x, ROWS, NOISE);
    status = lj_linear_probe_l2(world, &mine, labels, 0, &choice);
    lj_all_assert(world, status == LJ_ERR_DATA, "one row a class: %d", status);
    lj_case_end(world);
}

Test(probe, one_class, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float x[4] = {1, 2, 3, 4};
    const int32_t labels[2] = {9, 9};
    int32_t predicted[2] = {0};
    struct lj_probe_result result;
    int status = linear_probe(world, x, labels, 2, x, 2, 2, 0.1, predicted, &result);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, predicted[0] == 9 && predicted[1] == 9, "%d, %d", predicted[0],
                  predicted[1]);
    lj_all_assert(world, fabs(result.loss) < 1e-15, "loss %g", result.loss);
    lj_case_end(world);
}

Test(probe, one_row_a_class, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float x[6] = {1, 0, 0, 1, -1, -1};
    const int32_t labels[3] = {2, 0, 1};
    int32_t predicted[3];
    struct lj_probe_result result;
    int status = linear_probe(world, x, labels, 3, x, 3, 2, 0.01, predicted, &result);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, memcmp(predicted, labels, sizeof labels) == 0, "other predictions");
    lj_case_end(world);
}

/* Nothing but constants to learn from: the most frequent class, with the entropy of the classes. */
Test(probe, constant_features, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float x[5] = {0.1f, 0.1f, 0.1f, 0.1f, 0.1f};
    const int32_t labels[5] = {4, 7, 7, 4, 7};
    const double entropy = -(0.4 * log(0.4) + 0.6 * log(0.6));
    int32_t predicted[5];
    struct lj_probe_result result;
    int status = linear_probe(world, x, labels, 5, x, 5, 1, 0.01, predicted, &result);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    for (int i = 0; i < 5; i++)
        lj_all_assert(world, predicted[i] == 7, "row %d: %d", i, predicted[i]);
    lj_all_assert(world, fabs(result.loss - entropy) < 1e-8, "loss %.17g", result.loss);
    lj_case_end(world);
}

Test(probe, failures, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float x[2] = {NAN, 1};
    const int32_t labels[2] = {0, 1};
    int32_t predicted[2];
    struct lj_probe_result result;
    int status = linear_probe(world, x, labels, 0, x, 0, 1, 0.1, predicted, &result);
    lj_all_assert(world, status == LJ_ERR_DATA, "no rows: %d", status);
    status = linear_probe(world, x, labels, 2, x, 2, 1, 0.1, predicted, &result);
    lj_all_assert(world, status == LJ_ERR_NUMERIC, "NaN: %d", status);
    lj_case_end(world);
}

/* Every iteration to the last bit, over several chunks of rows. */
Test(probe, ranks_and_threads_do_not_matter, .timeout = 120)
{
    enum { ROWS = 700, FEATURES = 19, CLASSES = 4 };
    struct lj_comm *world = lj_case_begin();
    static float x[ROWS * FEATURES];
    int32_t labels[ROWS], first[ROWS], other[ROWS];
    struct lj_probe_result a, b;
    struct lj_rng rng;
    lj_rng_begin(&rng, 5, LJ_DRAW_TEST, 0, 0, 0);
    for (int i = 0; i < ROWS; i++)
        labels[i] = (int32_t)lj_rng_below(&rng, CLASSES);
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = (float)(lj_random_normal(&rng) + (i % FEATURES == labels[i / FEATURES]));
    for (int size = 1; size <= world->size; size++) {
        struct lj_comm *few;
        int status = lj_comm_first(world, size, &few);
        lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
        for (int threads = 1; threads <= 3 && few; threads += 2) {
            omp_set_num_threads(threads);
            status = linear_probe(few, x, labels, ROWS, x, ROWS, FEATURES, 1e-3, other, &b);
            lj_all_assert(few, status == LJ_OK, "%s", lj_error_text());
            if (size == 1 && threads == 1) {
                a = b;
                memcpy(first, other, sizeof first);
            }
            lj_broadcast(few, &a, sizeof a, 0);
            lj_broadcast(few, first, sizeof first, 0);
            bool same = a.iterations == b.iterations && a.gradient_norm == b.gradient_norm &&
                        a.loss == b.loss && memcmp(first, other, sizeof first) == 0;
            lj_all_assert(few, same,
                          "%d ranks, %d threads: loss %.17g after %d, not %.17g after %d", size,
                          threads, b.loss, b.iterations, a.loss, a.iterations);
        }
        lj_comm_destroy(few);
        lj_barrier(world);
    }
    lj_case_end(world);
}
