/* SPDX-License-Identifier: Apache-2.0 */
/* What lies along single directions: a histogram, and the rows at both ends. A row's place on a
 * direction is a dot product in double in one order, and counts are integers, so that nothing
 * depends on who has which rows. */
#include "eval/eval.h"

#include <math.h>
#include <stdlib.h>

double lj_slice_edge(int bin)
{
    return -3.0 + 0.5 * (bin - 1);
}

double lj_slice_gaussian(int bin)
{
    double below = bin == 0 ? 0.0 : 0.5 * erfc(-lj_slice_edge(bin) / sqrt(2.0));
    double up_to = bin + 1 == LJ_SLICE_BINS ? 1.0 : 0.5 * erfc(-lj_slice_edge(bin + 1) / sqrt(2.0));
    return up_to - below;
}

static int bin_of(double value)
{
    if (value < lj_slice_edge(1))
        return 0;
    if (value >= lj_slice_edge(LJ_SLICE_BINS - 1))
        return LJ_SLICE_BINS - 1;
    return 1 + (int)floor((value - lj_slice_edge(1)) / 0.5);
}

/* Ascending; of equal values the lower row, then the lower view. */
static int by_place(const void *a, const void *b)
{
    const struct lj_slice_row *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return (x->view > y->view) - (x->view < y->view);
}

/* Puts a row into a list of `kept` ascending ones, which loses its last if it is full; sign -1: the
 * list is of the largest, descending. */
static int insert(struct lj_slice_row *list, int kept, const struct lj_slice_row *row, int sign)
{
    int at = kept;
    while (at > 0 && sign * by_place(row, &list[at - 1]) < 0)
        at--;
    if (at == LJ_SLICE_TAIL)
        return kept;
    kept = kept < LJ_SLICE_TAIL ? kept + 1 : kept;
    for (int i = kept - 1; i > at; i--)
        list[i] = list[i - 1];
    list[at] = *row;
    return kept;
}

static void take(struct lj_slice *slice, const struct lj_slice_row *row)
{
    slice->count[bin_of(row->value)]++;
    int low = insert(slice->low, slice->tail, row, 1);
    insert(slice->high, slice->tail, row, -1);
    slice->tail = low;
}

void lj_slice_take(struct lj_slice *slice, const struct lj_projections *p, int64_t first)
{
    const float *z = p->values;
    for (int64_t i = 0; i < p->samples; i++) {
        if (i % LJ_FEATURES_BLOCK == 0)
            lj_progress();
        for (int64_t v = 0; v < p->views; v++, z += p->width) {
            struct lj_slice_row row = {.row = first + i, .view = v};
            for (int64_t d = 0; d < p->width; d++)
                row.value += (double)z[d] * (double)slice->direction[d];
            take(slice, &row);
        }
    }
}

/* The tails of all ranks' slices, (ranks), make one. */
static void merge(struct lj_slice *slice, const struct lj_slice *all, int ranks)
{
    slice->tail = 0;
    for (int r = 0; r < ranks; r++)
        for (int i = 0; i < all[r].tail; i++) {
            int low = insert(slice->low, slice->tail, &all[r].low[i], 1);
            insert(slice->high, slice->tail, &all[r].high[i], -1);
            slice->tail = low;
        }
}

int lj_slices_look(struct lj_comm *comm, const struct lj_projections *p, int64_t count,
                   struct lj_slice *slice)
{
    struct lj_slice *all = lj_alloc_array(comm->size, sizeof *all, "slices");
    int64_t *bytes = lj_alloc_array(comm->size, sizeof *bytes, "slices");
    int status = lj_agree(comm, all && bytes ? LJ_OK : LJ_ERR_RESOURCE);
    int64_t first, end, samples = lj_all_sum(comm, p->samples);
    lj_features_share(samples, comm->size, comm->rank, &first, &end);
    struct lj_features rows = lj_projections_rows(p);
    int64_t before = lj_features_set_turns(comm, &rows);
    for (int64_t i = 0; i < count && status == LJ_OK; i++) {
        const float *direction = slice[i].direction;
        lj_slice_take(&slice[i], p, first);
        for (int r = 0; r < comm->size; r++)
            bytes[r] = (int64_t)sizeof *slice;
        lj_all_gather_bytes(comm, &slice[i], all, bytes);
        merge(&slice[i], all, comm->size);
        lj_sum_exact(comm, NULL, slice[i].count, LJ_SLICE_BINS);
        slice[i].direction = direction;
    }
    lj_progress_set_turns(before);
    lj_free(all);
    lj_free(bytes);
    return status;
}
