/* SPDX-License-Identifier: Apache-2.0 */
/* How sure accuracies are: test rows are drawn with replacement, as many as there are, and the
 * accuracy of each such draw is taken. Ranks and threads share the draws, each of which is a stream
 * of random numbers of its own. */
#include "eval/classes.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS = LJ_BOOTSTRAP_DRAWS };

struct bootstrap {
    const struct lj_classes *classes;
    const uint8_t *right; /* (rows) */
    int64_t rows, seed;
};

/* The accuracies of one draw.
 *   count  (2 classes) work space */
static void draw(const struct bootstrap *b, int64_t d, int64_t *count, double *top1,
                 double *balanced)
{
    int64_t *right = count + b->classes->count, all_right = 0, occurring = 0;
    struct lj_rng rng;
    lj_rng_begin(&rng, b->seed, LJ_DRAW_BOOTSTRAP, (uint64_t)d, 0, 0);
    memset(count, 0, (size_t)(2 * b->classes->count) * sizeof *count);
    for (int64_t i = 0; i < b->rows; i++) {
        int64_t row = lj_rng_below(&rng, b->rows);
        count[b->classes->member[row]]++;
        right[b->classes->member[row]] += b->right[row];
    }
    *balanced = 0.0;
    for (int64_t c = 0; c < b->classes->count; c++) {
        all_right += right[c];
        occurring += count[c] > 0;
        *balanced += count[c] > 0 ? (double)right[c] / (double)count[c] : 0.0;
    }
    *top1 = (double)all_right / (double)b->rows;
    *balanced /= (double)occurring;
}

/* Between the neighbours of the place (DRAWS - 1) share, in proportion. */
static double quantile(const double *sorted, double share)
{
    double place = share * (DRAWS - 1), below = floor(place);
    int64_t i = (int64_t)below, next = lj_min_i64(i + 1, DRAWS - 1);
    return sorted[i] + (place - below) * (sorted[next] - sorted[i]);
}

static struct lj_interval interval_of(double *values)
{
    qsort(values, DRAWS, sizeof *values, lj_ascending_f64);
    return (struct lj_interval){quantile(values, 0.025), quantile(values, 0.975)};
}

/* top1, balanced: (DRAWS) each; bytes: (ranks). Collective. */
static void draw_all(struct lj_comm *comm, const struct bootstrap *b, int64_t *count, double *top1,
                     double *balanced, int64_t *bytes)
{
    int64_t first, end, turns = (DRAWS + comm->size - 1) / comm->size;
    for (int r = 0; r < comm->size; r++) {
        lj_lanes_of_rank(DRAWS, comm->size, r, &first, &end);
        bytes[r] = (end - first) * (int64_t)sizeof *top1;
    }
    lj_lanes_of_rank(DRAWS, comm->size, comm->rank, &first, &end);
    int64_t before = lj_progress_set_turns(turns);
#pragma omp parallel for schedule(static)
    for (int64_t d = first; d < end; d++) {
        lj_progress();
        draw(b, d, count + 2 * b->classes->count * omp_get_thread_num(), &top1[d], &balanced[d]);
    }
    lj_all_gather_bytes(comm, top1 + first, top1, bytes);
    lj_all_gather_bytes(comm, balanced + first, balanced, bytes);
    lj_progress_set_turns(before);
}

static int allocate(struct lj_classes *classes, const int32_t *predicted, const int32_t *truth,
                    int64_t rows, uint8_t **right, int64_t **count)
{
    LJ_TRY(lj_classes_create(classes, truth, rows));
    *right = lj_alloc_array(rows, sizeof **right, "bootstrap");
    *count =
        lj_alloc_array(2 * classes->count * omp_get_max_threads(), sizeof **count, "bootstrap");
    for (int64_t i = 0; *right && i < rows; i++)
        (*right)[i] = predicted[i] == truth[i];
    return *right && *count ? LJ_OK : LJ_ERR_RESOURCE;
}

int lj_accuracy_intervals(struct lj_comm *comm, const int32_t *predicted, const int32_t *truth,
                          int64_t rows, int64_t seed, struct lj_interval *top1,
                          struct lj_interval *balanced)
{
    struct lj_classes classes = {0};
    uint8_t *right = NULL;
    int64_t *count = NULL, *bytes = lj_alloc_array(comm->size, sizeof *bytes, "bootstrap");
    double *values = lj_alloc_array(2 * DRAWS, sizeof *values, "bootstrap");
    int status = bytes && values ? allocate(&classes, predicted, truth, rows, &right, &count)
                                 : LJ_ERR_RESOURCE;
    status = lj_agree(comm, status);
    if (status == LJ_OK) {
        const struct bootstrap b = {&classes, right, rows, seed};
        draw_all(comm, &b, count, values, values + DRAWS, bytes);
        *top1 = interval_of(values);
        *balanced = interval_of(values + DRAWS);
    }
    lj_classes_destroy(&classes);
    lj_free(right);
    lj_free(count);
    lj_free(bytes);
    lj_free(values);
    return status;
}
