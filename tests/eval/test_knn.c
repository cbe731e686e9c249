/* SPDX-License-Identifier: Apache-2.0 */
/* kNN against a plain search in double; ties, edges; on several ranks. */
#include "eval/knn.h"

#include "mpi_case.h"
#include "random.h"
#include "share.h"

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

static int knn(struct lj_comm *comm, const float *x, const int32_t *of_x, int64_t bank_rows,
               const float *q, int64_t rows, int64_t width, int k, double temperature,
               int32_t *predicted)
{
    struct lj_features mine = share_of(comm, x, bank_rows, width);
    struct lj_features queries = share_of(comm, q, rows, width);
    return lj_knn(comm, &mine, of_x, &queries, k, temperature, predicted);
}

static void agrees_with_plain_search(struct lj_comm *comm, int k)
{
    int32_t predicted[QUERY];
    int compared = 0, wrong = 0;
    int status = knn(comm, bank, labels, BANK, query, QUERY, WIDTH, k, 0.07, predicted);
    lj_all_assert(comm, status == LJ_OK, "%s", lj_error_text());
    for (int q = 0; q < QUERY; q++) {
        double gap;
        int32_t expected = plain_search(query + q * WIDTH, k, 0.07, &gap);
        if (gap < 1e-3)
            continue; /* float32 may decide otherwise */
        compared++;
        wrong += predicted[q] != expected;
    }
    lj_all_assert(comm, wrong == 0, "k %d: %d predictions differ", k, wrong);
    lj_all_assert(comm, compared > QUERY * 9 / 10, "only %d compared", compared);
}

Test(knn, as_a_plain_search, .timeout = 120)
{
    struct lj_comm *world = lj_case_begin();
    fill();
    for (int pieces = 0; pieces < 2; pieces++) {
        agrees_with_plain_search(world, 1);
        agrees_with_plain_search(world, 20);
        agrees_with_plain_search(world, 200);
        lj_knn_piece_floats = 1; /* one tile a piece */
    }
    lj_case_end(world);
}

Test(knn, scale_and_threads_do_not_matter, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    int32_t one[QUERY], three[QUERY];
    fill();
    omp_set_num_threads(1);
    int status = knn(world, bank, labels, BANK, query, QUERY, WIDTH, 20, 0.07, one);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    for (int i = 0; i < QUERY * WIDTH; i++)
        query[i] *= 1024;
    omp_set_num_threads(3);
    status = knn(world, bank, labels, BANK, query, QUERY, WIDTH, 20, 0.07, three);
    lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
    lj_all_assert(world, memcmp(one, three, sizeof one) == 0, "other predictions");
    lj_case_end(world);
}

Test(knn, ties, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float same[8] = {1, 0, 1, 0, 1, 0, 1, 0}, zero[2] = {0, 0};
    const int32_t of_same[4] = {9, 3, 3, 9};
    /* nearest: the lowest row; rows 0 to 2: two votes against one; two against two: the lower
     * class; a row of zeros is equally far from all */
    const struct {
        int k, expected;
        const float *query;
    } cases[4] = {{1, 9, same}, {3, 3, same}, {4, 3, same}, {1, 9, zero}};
    for (int i = 0; i < 4; i++) {
        int32_t predicted = 0;
        int status =
            knn(world, same, of_same, 4, cases[i].query, 1, 2, cases[i].k, 0.1, &predicted);
        lj_all_assert(world, status == LJ_OK, "%s", lj_error_text());
        lj_all_assert(world, predicted == cases[i].expected, "case %d: %d", i, predicted);
    }
    lj_case_end(world);
}

Test(knn, edges, .timeout = 60)
{
    struct lj_comm *world = lj_case_begin();
    const float x[2] = {1, -1};
    const int32_t of_x[2] = {-5, 70000};
    int32_t predicted = 0;
    int status = knn(world, x, of_x, 2, x, 1, 1, 3, 0.1, &predicted);
    lj_all_assert(world, status == LJ_ERR_DATA && strstr(lj_error_text(), "2 rows"), "%d: %s",
                  status, lj_error_text());
    status = knn(world, x, of_x, 2, x, 1, 1, 0, 0.1, &predicted);
    lj_all_assert(world, status == LJ_ERR_DATA, "k 0: %d", status);
    status = knn(world, x, of_x, 2, x, 0, 1, 2, 0.1, &predicted);
    lj_all_assert(world, status == LJ_OK && predicted == 0, "no queries: %d", status);
    /* exp(2 / 1e-3) overflows unless taken relative */
    status = knn(world, x, of_x, 2, x + 1, 1, 1, 2, 1e-3, &predicted);
    lj_all_assert(world, status == LJ_OK && predicted == 70000, "%d: %d", status, predicted);
    lj_case_end(world);
}
