/* SPDX-License-Identifier: Apache-2.0 */
/* The most similar other rows against a plain search in double; what neighbours vote for. */
#include "eval/eval.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

enum { ROWS = 1100, WIDTH = 9, K = 20 }; /* rows of two tiles */

static float x[ROWS * WIDTH];
static int32_t near[ROWS * K], again[ROWS * K];
static float similarity[ROWS * K], of_again[ROWS * K];

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int j = 0; j < WIDTH; j++) {
        ab += (double)a[j] * b[j];
        aa += (double)a[j] * a[j];
        bb += (double)b[j] * b[j];
    }
    return ab / sqrt(aa * bb);
}

/* Each place has the similarity of the row that it names, none of them is larger than the one
 * before it, and no row that is left out is more similar than the last. */
static void check_row(int r)
{
    const int32_t *mine = near + r * K;
    bool taken[ROWS] = {false};
    for (int i = 0; i < K; i++) {
        double value = (double)similarity[r * K + i];
        cr_assert(mine[i] >= 0 && mine[i] < ROWS && mine[i] != r && !taken[mine[i]],
                  "row %d: place %d has row %d", r, i, mine[i]);
        taken[mine[i]] = true;
        cr_assert_float_eq(value, cosine(x + r * WIDTH, x + mine[i] * WIDTH), 1e-6);
        cr_assert(i == 0 || similarity[r * K + i] <= similarity[r * K + i - 1], "row %d", r);
    }
    for (int other = 0; other < ROWS; other++)
        cr_assert(other == r || taken[other] ||
                      cosine(x + r * WIDTH, x + other * WIDTH) <
                          (double)similarity[r * K + K - 1] + 1e-6,
                  "row %d: row %d is nearer", r, other);
}

Test(neighbours, as_a_plain_search_on_any_threads)
{
    const struct lj_features rows = {x, ROWS, WIDTH, LJ_FEATURES_BLOCK};
    lj_random_normal_f32(x, ROWS * WIDTH, 4);
    omp_set_num_threads(1);
    cr_assert_eq(lj_neighbours(&rows, K, near, similarity), LJ_OK, "%s", lj_error_text());
    for (int r = 0; r < ROWS; r++)
        check_row(r);
    omp_set_num_threads(3);
    cr_assert_eq(lj_neighbours(&rows, K, again, of_again), LJ_OK, "%s", lj_error_text());
    cr_assert_arr_eq(again, near, sizeof near);
    cr_assert_arr_eq(of_again, similarity, sizeof similarity);
}

/* Equal rows: the lowest of the others first; then there are no more. */
Test(neighbours, ties_and_few_rows)
{
    const float same[6] = {1, 0, 1, 0, 1, 0};
    const struct lj_features three = {same, 3, 2, LJ_FEATURES_BLOCK},
                             one = {same, 1, 2, LJ_FEATURES_BLOCK};
    const int32_t expected[12] = {1, 2, -1, -1, 0, 2, -1, -1, 0, 1, -1, -1};
    cr_assert_eq(lj_neighbours(&three, 4, near, similarity), LJ_OK, "%s", lj_error_text());
    cr_assert_arr_eq(near, expected, sizeof expected);
    cr_assert_eq(lj_neighbours(&one, 2, near, similarity), LJ_OK, "%s", lj_error_text());
    cr_assert(near[0] == -1 && near[1] == -1);
}

Test(neighbours, votes)
{
    const int32_t label[4] = {9, 3, 3, 9};
    const double weight[4] = {1, 0.5, 0.4, 0.25}, equal[4] = {1, 1, 1, 1};
    cr_assert_eq(lj_knn_vote(label, weight, 3), 9);
    cr_assert_eq(lj_knn_vote(label + 1, weight, 3), 3);
    cr_assert_eq(lj_knn_vote(label, equal, 4), 3); /* the lower of equals */
    cr_assert_eq(lj_knn_vote(label, equal, 0), -1);
    cr_assert_float_eq(lj_knn_weight(0.5, 0.9, 0.1), exp(-4), 1e-15);
}
