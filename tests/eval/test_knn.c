/* SPDX-License-Identifier: Apache-2.0 */
/* kNN against a plain search in double; ties, edges. */
#include "eval/eval.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

enum { BANK = 2049, QUERY = 131, WIDTH = 13, CLASSES = 5 };

static float bank[BANK * WIDTH], query[QUERY * WIDTH];
static int32_t labels[BANK];

static void fill(void)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 3, LJ_DRAW_TEST, 0, 0, 0);
    for (int i = 0; i < BANK; i++)
        labels[i] = (int32_t)lj_rng_below(&rng, CLASSES);
    for (int i = 0; i < BANK * WIDTH; i++)
        bank[i] = (float)(lj_random_normal(&rng) + (i % WIDTH == labels[i / WIDTH]));
    for (int i = 0; i < QUERY * WIDTH; i++)
        query[i] = (float)lj_random_normal(&rng);
}

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

/* Votes of one query by k passes over all similarities. *gap: lead of the winner, relative. */
static int32_t plain_search(const float *one, int k, double temperature, double *gap)
{
    static double similarity[BANK];
    double votes[CLASSES] = {0};
    for (int i = 0; i < BANK; i++)
        similarity[i] = cosine(one, bank + i * WIDTH);
    for (int n = 0; n < k; n++) {
        int best = 0;
        for (int i = 1; i < BANK; i++)
            if (similarity[i] > similarity[best])
                best = i;
        votes[labels[best]] += exp(similarity[best] / temperature);
        similarity[best] = -9;
    }
    int32_t winner = 0;
    for (int32_t c = 1; c < CLASSES; c++)
        winner = votes[c] > votes[winner] ? c : winner;
    *gap = 1;
    for (int32_t c = 0; c < CLASSES; c++)
        if (c != winner)
            *gap = fmin(*gap, 1 - votes[c] / votes[winner]);
    return winner;
}

Test(knn, as_a_plain_search)
{
    const int ks[] = {1, 20, 200};
    int32_t predicted[QUERY];
    fill();
    for (int n = 0; n < 3; n++) {
        int compared = 0;
        cr_assert_eq(lj_knn(bank, labels, BANK, query, QUERY, WIDTH, ks[n], 0.07, predicted), LJ_OK,
                     "%s", lj_error_text());
        for (int q = 0; q < QUERY; q++) {
            double gap;
            int32_t expected = plain_search(query + q * WIDTH, ks[n], 0.07, &gap);
            if (gap < 1e-3)
                continue; /* float32 may decide otherwise */
            compared++;
            cr_assert_eq(predicted[q], expected, "k %d, query %d", ks[n], q);
        }
        cr_assert_gt(compared, QUERY * 9 / 10);
    }
}

Test(knn, scale_and_threads_do_not_matter)
{
    int32_t one[QUERY], three[QUERY];
    fill();
    omp_set_num_threads(1);
    cr_assert_eq(lj_knn(bank, labels, BANK, query, QUERY, WIDTH, 20, 0.07, one), LJ_OK);
    for (int i = 0; i < QUERY * WIDTH; i++)
        query[i] *= 1024;
    omp_set_num_threads(3);
    cr_assert_eq(lj_knn(bank, labels, BANK, query, QUERY, WIDTH, 20, 0.07, three), LJ_OK);
    cr_assert_arr_eq(one, three, sizeof one);
}

Test(knn, ties)
{
    const float same[8] = {1, 0, 1, 0, 1, 0, 1, 0}, zero[2] = {0, 0};
    const int32_t of_same[4] = {9, 3, 3, 9};
    int32_t predicted;
    cr_assert_eq(lj_knn(same, of_same, 4, same, 1, 2, 1, 0.1, &predicted), LJ_OK);
    cr_assert_eq(predicted, 9); /* nearest: the lowest row */
    cr_assert_eq(lj_knn(same, of_same, 4, same, 1, 2, 3, 0.1, &predicted), LJ_OK);
    cr_assert_eq(predicted, 3); /* rows 0 to 2: two votes against one */
    cr_assert_eq(lj_knn(same, of_same, 4, same, 1, 2, 4, 0.1, &predicted), LJ_OK);
    cr_assert_eq(predicted, 3); /* two against two: the lower class */
    cr_assert_eq(lj_knn(same, of_same, 4, zero, 1, 2, 1, 0.1, &predicted), LJ_OK);
    cr_assert_eq(predicted, 9); /* a row of zeros is equally far from all */
}

Test(knn, edges)
{
    const float x[2] = {1, -1};
    const int32_t of_x[2] = {-5, 70000};
    int32_t predicted = 0;
    cr_assert_eq(lj_knn(x, of_x, 2, x, 1, 1, 3, 0.1, &predicted), LJ_ERR_DATA);
    cr_assert(strstr(lj_error_text(), "2 rows"), "%s", lj_error_text());
    cr_assert_eq(lj_knn(x, of_x, 2, x, 1, 1, 0, 0.1, &predicted), LJ_ERR_DATA);
    cr_assert_eq(lj_knn(x, of_x, 2, x, 0, 1, 2, 0.1, &predicted), LJ_OK);
    cr_assert_eq(predicted, 0);
    cr_assert_eq(lj_knn(x, of_x, 2, x + 1, 1, 1, 2, 1e-3, &predicted), LJ_OK);
    cr_assert_eq(predicted, 70000); /* exp(2 / 1e-3) overflows unless taken relative */
}
