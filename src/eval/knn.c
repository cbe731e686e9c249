/* SPDX-License-Identifier: Apache-2.0 */
/* Weighted kNN (Wu et al. 2018, section 3.4): of the k bank rows of largest cosine similarity s
 * each votes for its class with weight exp(s / temperature).
 *
 * Queries come in tiles of 64, the bank in tiles of 1024, with one matmul for each pair of tiles.
 * Threads take whole tiles of queries, so bits do not depend on their number. The similarity of a
 * row of zeros to any other is 0. */
#include "eval/classes.h"

#include "kernels/kernels.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

enum { QUERIES = 64, BANK = 1024 };

struct neighbour {
    float similarity;
    int64_t row;
};

struct search {
    const float *bank, *query;
    float *bank_scale; /* (bank_rows) owned: 1 / norm */
    int64_t bank_rows, rows, width;
    int k;
    double temperature;
    struct lj_classes classes;
};

/* Memory of one thread. */
struct workspace {
    float *tile;               /* (QUERIES, BANK) */
    struct neighbour *nearest; /* (QUERIES, k): heaps, the farthest on top */
    double *votes;             /* (classes) */
};

static bool farther(const struct neighbour *a, const struct neighbour *b)
{
    return a->similarity != b->similarity ? a->similarity < b->similarity : a->row > b->row;
}

static void exchange(struct neighbour *a, struct neighbour *b)
{
    struct neighbour kept = *a;
    *a = *b;
    *b = kept;
}

/* Restores the heap after its top changed. */
static void sift_down(struct neighbour *heap, int64_t count)
{
    for (int64_t at = 0;;) {
        int64_t child = 2 * at + 1;
        if (child >= count)
            return;
        if (child + 1 < count && farther(&heap[child + 1], &heap[child]))
            child++;
        if (!farther(&heap[child], &heap[at]))
            return;
        exchange(&heap[at], &heap[child]);
        at = child;
    }
}

static void sift_up(struct neighbour *heap, int64_t at)
{
    for (; at > 0 && farther(&heap[at], &heap[(at - 1) / 2]); at = (at - 1) / 2)
        exchange(&heap[at], &heap[(at - 1) / 2]);
}

static float scale_of(const float *row, int64_t width)
{
    double square = 0.0;
    for (int64_t j = 0; j < width; j++)
        square += (double)row[j] * (double)row[j];
    return square > 0.0 ? (float)(1.0 / sqrt(square)) : 0.0f;
}

/* Offers bank rows [first, first + count) with their dot products to one query's heap. A dot
 * product that is not a number counts as the least similarity. */
static void offer(const struct search *search, struct neighbour *heap, const float *dots,
                  float query_scale, int64_t first, int64_t count)
{
    for (int64_t j = 0; j < count; j++) {
        struct neighbour next = {dots[j] * query_scale * search->bank_scale[first + j], first + j};
        if (isnan(next.similarity))
            next.similarity = -2.0f;
        if (next.row < search->k) {
            heap[next.row] = next;
            sift_up(heap, next.row);
        } else if (farther(&heap[0], &next)) {
            heap[0] = next;
            sift_down(heap, search->k);
        }
    }
}

static int nearest_first(const void *a, const void *b)
{
    return farther(b, a) ? -1 : farther(a, b);
}

/* Class with the most weight, the lower of equals. Weights are relative to the nearest row's, which
 * changes no winner and cannot overflow. */
static int32_t vote(const struct search *search, struct neighbour *nearest, double *votes)
{
    const int32_t *member = search->classes.member;
    qsort(nearest, (size_t)search->k, sizeof *nearest, nearest_first);
    for (int i = 0; i < search->k; i++)
        votes[member[nearest[i].row]] = 0.0;
    for (int i = 0; i < search->k; i++)
        votes[member[nearest[i].row]] += exp(
            ((double)nearest[i].similarity - (double)nearest[0].similarity) / search->temperature);
    int32_t best = member[nearest[0].row];
    for (int i = 1; i < search->k; i++) {
        int32_t class = member[nearest[i].row];
        if (votes[class] > votes[best] || (votes[class] == votes[best] && class < best))
            best = class;
    }
    return search->classes.label[best];
}

static void predict_tile(const struct search *search, struct workspace *work, int64_t first,
                         int32_t *predicted)
{
    int64_t rows = lj_min_i64(QUERIES, search->rows - first), width = search->width;
    lj_progress();
    const float *query = search->query + first * width;
    for (int64_t b = 0; b < search->bank_rows; b += BANK) {
        int64_t count = lj_min_i64(BANK, search->bank_rows - b);
        /* tile (rows, count) = query (rows, width) bank^T (width, count) */
        lj_gemm(false, true, rows, count, width, 1.0f, query, width, search->bank + b * width,
                width, 0.0f, work->tile, BANK);
        for (int64_t r = 0; r < rows; r++)
            offer(search, work->nearest + r * search->k, work->tile + r * BANK,
                  scale_of(query + r * width, width), b, count);
    }
    for (int64_t r = 0; r < rows; r++)
        predicted[first + r] = vote(search, work->nearest + r * search->k, work->votes);
}

static int run(const struct search *search, int32_t *predicted)
{
    int threads = omp_get_max_threads();
    int64_t k = search->k, classes = search->classes.count;
    float *tiles = lj_alloc_array((int64_t)threads * QUERIES * BANK, sizeof *tiles, "kNN");
    struct neighbour *nearest =
        lj_alloc_array((int64_t)threads * QUERIES * k, sizeof *nearest, "kNN");
    double *votes = lj_alloc_array(threads * classes, sizeof *votes, "kNN");
    int status = tiles && nearest && votes ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (int64_t first = 0; first < search->rows; first += QUERIES) {
            int64_t me = omp_get_thread_num();
            struct workspace work = {tiles + me * QUERIES * BANK, nearest + me * QUERIES * k,
                                     votes + me * classes};
            predict_tile(search, &work, first, predicted);
        }
    }
    lj_free(tiles);
    lj_free(nearest);
    lj_free(votes);
    return status;
}

int lj_knn(const float *bank, const int32_t *bank_labels, int64_t bank_rows, const float *query,
           int64_t rows, int64_t width, int k, double temperature, int32_t *predicted)
{
    if (k < 1 || bank_rows < k)
        return lj_fail(LJ_ERR_DATA,
                       "kNN: k is %d and the bank has %lld rows, expected 1 <= k <= rows; use more "
                       "rows or a smaller k",
                       k, (long long)bank_rows);
    struct search search = {.bank = bank,
                            .query = query,
                            .bank_rows = bank_rows,
                            .rows = rows,
                            .width = width,
                            .k = k,
                            .temperature = temperature};
    LJ_TRY(lj_classes_create(&search.classes, bank_labels, bank_rows));
    search.bank_scale = lj_alloc_array(bank_rows, sizeof(float), "kNN");
    int status = search.bank_scale ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        for (int64_t r = 0; r < bank_rows; r++)
            search.bank_scale[r] = scale_of(bank + r * width, width);
        status = run(&search, predicted);
    }
    lj_free(search.bank_scale);
    lj_classes_destroy(&search.classes);
    return status;
}
