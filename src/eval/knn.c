/* SPDX-License-Identifier: Apache-2.0 */
/* Weighted kNN (Wu et al. 2018, section 3.4): of the k bank rows of largest cosine similarity s
 * each votes for its class with weight exp(s / temperature).
 *
 * Queries come in tiles of 64, the bank in tiles of 1024, with one matmul for each pair of tiles.
 * Ranks have whole tiles of queries, and threads take whole ones, so bits do not depend on their
 * numbers. Every rank meets the whole bank, piece by piece: the ranks that have rows of a piece
 * send them to all. The similarity of a row of zeros to any other is 0. */
#include "eval/knn.h"

#include "kernels/kernels.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

enum { QUERIES = LJ_FEATURES_BLOCK, BANK = 1024 };

int64_t lj_knn_piece_floats = (int64_t)1 << 24;

struct neighbour {
    float similarity;
    int64_t row;
};

struct search {
    struct lj_comm *comm; /* NULL: this rank has all rows */
    const struct lj_features *bank, *query;
    const int32_t *bank_labels; /* (bank_rows) */
    int64_t bank_rows, rows;    /* of all ranks */
    int k;
    bool others;               /* the bank is the query, and a row is not its own neighbour */
    int64_t most;              /* rows of a piece of the bank */
    float *piece;              /* (most, width) owned; unused on one rank, which has them all */
    float *scale;              /* (most) owned: 1 / norm of each row of the piece */
    struct neighbour *nearest; /* (query->rows, k) owned: heaps, the farthest on top */
    float *tile;               /* (threads, QUERIES, BANK) owned */
    int32_t *label;            /* (threads, k) owned: of a query's neighbours */
    double *weight;            /* (threads, k) owned: theirs */
    int64_t *bytes;            /* (ranks) owned: what each sends */
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

/* Offers `count` bank rows from `first` with their dot products and scales to one query's heap. A
 * dot product that is not a number counts as the least similarity.
 *   itself  in  the query's own row of the bank, which is left out; -1: it is none of it */
static void offer(struct neighbour *heap, int k, const float *dots, const float *scale,
                  float query_scale, int64_t first, int64_t count, int64_t itself)
{
    for (int64_t j = 0; j < count; j++) {
        struct neighbour next = {dots[j] * query_scale * scale[j], first + j};
        int64_t before = next.row - (itself >= 0 && next.row > itself);
        if (next.row == itself)
            continue;
        if (isnan(next.similarity))
            next.similarity = -2.0f;
        if (before < k) {
            heap[before] = next;
            sift_up(heap, before);
        } else if (farther(&heap[0], &next)) {
            heap[0] = next;
            sift_down(heap, k);
        }
    }
}

static int nearest_first(const void *a, const void *b)
{
    return farther(b, a) ? -1 : farther(a, b);
}

double lj_knn_weight(double similarity, double nearest, double temperature)
{
    return exp((similarity - nearest) / temperature);
}

int32_t lj_knn_vote(const int32_t *label, const double *weight, int count)
{
    double most = 0;
    int32_t best = -1;
    for (int i = 0; i < count; i++) {
        double votes = 0;
        for (int j = 0; j < count; j++)
            votes += label[j] == label[i] ? weight[j] : 0;
        if (i == 0 || votes > most || (votes == most && label[i] < best)) {
            most = votes;
            best = label[i];
        }
    }
    return best;
}

/* My queries of the tile from `at` meet bank rows [first, first + count). */
static void scan_tile(const struct search *s, int64_t at, const float *piece, int64_t first,
                      int64_t count, float *tile)
{
    int64_t rows = lj_min_i64(QUERIES, s->query->rows - at), width = s->query->width;
    const float *query = s->query->values + at * width;
    lj_progress();
    for (int64_t b = 0; b < count; b += BANK) {
        int64_t n = lj_min_i64(BANK, count - b);
        /* tile (rows, n) = query (rows, width) bank^T (width, n) */
        lj_gemm(false, true, rows, n, width, 1.0f, query, width, piece + b * width, width, 0.0f,
                tile, BANK);
        for (int64_t r = 0; r < rows; r++)
            offer(s->nearest + (at + r) * s->k, s->k, tile + r * BANK, s->scale + b,
                  scale_of(query + r * width, width), first + b, n, s->others ? at + r : -1);
    }
}

/* Bank rows [first, first + count) on this rank, until the next call. Collective. */
static const float *fetch_piece(const struct search *s, int64_t first, int64_t count)
{
    int64_t width = s->bank->width, begin = 0, end = 0, mine = 0;
    if (!s->comm || s->comm->size == 1)
        return s->bank->values + first * width;
    for (int r = 0; r < s->comm->size; r++) {
        lj_features_share(s->bank_rows, s->comm->size, r, &begin, &end);
        int64_t from = lj_max_i64(begin, first), to = lj_min_i64(end, first + count);
        s->bytes[r] = lj_max_i64(to - from, 0) * width * (int64_t)sizeof(float);
        if (r == s->comm->rank && to > from)
            mine = from - begin;
    }
    lj_all_gather_bytes(s->comm, s->bank->values + mine * width, s->piece, s->bytes);
    return s->piece;
}

static void scan_bank(struct search *s)
{
    int64_t width = s->bank->width;
    for (int64_t first = 0; first < s->bank_rows; first += s->most) {
        int64_t count = lj_min_i64(s->most, s->bank_rows - first);
        const float *piece = fetch_piece(s, first, count);
#pragma omp parallel
        {
#pragma omp for schedule(static)
            for (int64_t r = 0; r < count; r++)
                s->scale[r] = scale_of(piece + r * width, width);
#pragma omp for schedule(dynamic, 1)
            for (int64_t at = 0; at < s->query->rows; at += QUERIES)
                scan_tile(s, at, piece, first, count,
                          s->tile + (int64_t)omp_get_thread_num() * QUERIES * BANK);
        }
    }
}

/* Sorts the neighbours of a query; returns the class that they tell.
 *   label, weight  (k) work space */
static int32_t predict_one(const struct search *s, struct neighbour *nearest, double temperature,
                           int32_t *label, double *weight)
{
    qsort(nearest, (size_t)s->k, sizeof *nearest, nearest_first);
    for (int i = 0; i < s->k; i++) {
        label[i] = s->bank_labels[nearest[i].row];
        weight[i] = lj_knn_weight((double)nearest[i].similarity, (double)nearest[0].similarity,
                                  temperature);
    }
    return lj_knn_vote(label, weight, s->k);
}

/* predicted: of all ranks' queries; every rank fills in its own, then all receive them. */
static void predict(const struct search *s, double temperature, int32_t *predicted)
{
    int64_t first, end;
    lj_features_share(s->rows, s->comm->size, s->comm->rank, &first, &end);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < s->query->rows; r++) {
        int64_t mine = (int64_t)omp_get_thread_num() * s->k;
        predicted[first + r] =
            predict_one(s, s->nearest + r * s->k, temperature, s->label + mine, s->weight + mine);
    }
    lj_features_gather(s->comm, s->rows, predicted, sizeof *predicted, s->bytes);
}

static int allocate(struct search *s)
{
    int64_t threads = omp_get_max_threads(), ranks = s->comm ? s->comm->size : 1;
    int64_t tiles = lj_knn_piece_floats / lj_max_i64(s->bank->width * BANK, 1);
    s->most = lj_min_i64(lj_max_i64(tiles, 1) * BANK, s->bank_rows);
    s->piece = lj_alloc_array(ranks > 1 ? s->most * s->bank->width : 0, sizeof *s->piece, "kNN");
    s->scale = lj_alloc_array(s->most, sizeof *s->scale, "kNN");
    s->nearest = lj_alloc_array(s->query->rows * s->k, sizeof *s->nearest, "kNN");
    s->tile = lj_alloc_array(threads * QUERIES * BANK, sizeof *s->tile, "kNN");
    s->label = lj_alloc_array(threads * s->k, sizeof *s->label, "kNN");
    s->weight = lj_alloc_array(threads * s->k, sizeof *s->weight, "kNN");
    s->bytes = lj_alloc_array(ranks, sizeof *s->bytes, "kNN");
    bool all = s->piece && s->scale && s->nearest && s->tile && s->label && s->weight && s->bytes;
    return all ? LJ_OK : LJ_ERR_RESOURCE;
}

static void release(struct search *s)
{
    lj_free(s->piece);
    lj_free(s->scale);
    lj_free(s->nearest);
    lj_free(s->tile);
    lj_free(s->label);
    lj_free(s->weight);
    lj_free(s->bytes);
}

int lj_knn(struct lj_comm *comm, const struct lj_features *bank, const int32_t *bank_labels,
           const struct lj_features *query, int k, double temperature, int32_t *predicted)
{
    struct search s = {.comm = comm,
                       .bank = bank,
                       .query = query,
                       .bank_labels = bank_labels,
                       .bank_rows = lj_all_sum(comm, bank->rows),
                       .rows = lj_all_sum(comm, query->rows),
                       .k = k};
    if (k < 1 || s.bank_rows < k)
        return lj_fail(LJ_ERR_DATA,
                       "kNN: k is %d and the bank has %lld rows, expected 1 <= k <= rows; use more "
                       "rows or a smaller k",
                       k, (long long)s.bank_rows);
    int64_t before = lj_features_set_turns(comm, query);
    int status = lj_agree(comm, allocate(&s));
    if (status == LJ_OK) {
        scan_bank(&s);
        predict(&s, temperature, predicted);
    }
    lj_progress_set_turns(before);
    release(&s);
    return status;
}

int lj_neighbours(const struct lj_features *x, int k, int32_t *near, float *similarity)
{
    int found = (int)lj_min_i64(k, x->rows - 1);
    struct search s = {
        .bank = x, .query = x, .bank_rows = x->rows, .rows = x->rows, .k = found, .others = true};
    int status = allocate(&s);
    if (status == LJ_OK)
        scan_bank(&s);
    for (int64_t r = 0; status == LJ_OK && r < x->rows; r++) {
        struct neighbour *nearest = s.nearest + r * found;
        qsort(nearest, (size_t)found, sizeof *nearest, nearest_first);
        for (int i = 0; i < k; i++) {
            near[r * k + i] = i < found ? (int32_t)nearest[i].row : -1;
            similarity[r * k + i] = i < found ? nearest[i].similarity : 0;
        }
    }
    release(&s);
    return status;
}
