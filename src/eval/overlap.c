/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are in two files of embeddings. A row is known by the part of an archive that it lies
 * in and its number there, wherever the part's file is and whatever else the archive holds. */
#include "eval/eval.h"

#include <stdlib.h>
#include <string.h>

/* A row of an archive. */
struct place {
    uint64_t part; /* its fingerprint; 0 where rows are counted over one archive */
    int64_t row;   /* in the part */
};

static int compare(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->part != y->part)
        return x->part < y->part ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* The part that a row of the archive lies in; false: in none. */
static bool find_place(const struct lj_embeddings_source *source, int64_t row, struct place *place)
{
    int64_t low = 0, high = source->parts;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (source->first_row[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    int64_t within = row - source->first_row[low];
    *place = (struct place){source->fingerprints[low], within};
    return within >= 0 && within < source->rows[low];
}

/* The places of all rows, in order; owned by the caller.
 *   by_part  in  else by the row of the archive */
static int list_places(const struct lj_embeddings *e, bool by_part, struct place **places)
{
    *places = lj_alloc_array(e->rows, sizeof **places, "probe");
    if (!*places)
        return LJ_ERR_RESOURCE;
    bool sorted = true;
    for (int64_t i = 0; i < e->rows; i++) {
        struct place *place = &(*places)[i];
        *place = (struct place){0, e->row[i]};
        if (by_part && !find_place(&e->source, e->row[i], place))
            return lj_fail(LJ_ERR_DATA,
                           "row %lld of the embeddings is row %lld of an archive of which it names "
                           "no such row; embed again",
                           (long long)i, (long long)e->row[i]);
        sorted = sorted && (i == 0 || compare(place - 1, place) <= 0);
    }
    if (!sorted)
        qsort(*places, (size_t)e->rows, sizeof **places, compare);
    return LJ_OK;
}

/* Of the places b, how many are among a; both in order. */
static int64_t count_shared(const struct place *a, int64_t a_count, const struct place *b,
                            int64_t b_count)
{
    int64_t shared = 0;
    for (int64_t i = 0, j = 0; j < b_count; j++) {
        while (i < a_count && compare(&a[i], &b[j]) < 0)
            i++;
        shared += i < a_count && compare(&a[i], &b[j]) == 0;
    }
    return shared;
}

static bool same_archive(const struct lj_embeddings *a, const struct lj_embeddings *b)
{
    return a->source.fingerprint && b->source.fingerprint &&
           strcmp(a->source.fingerprint, b->source.fingerprint) == 0;
}

int lj_embeddings_shared(const struct lj_embeddings *train, const struct lj_embeddings *test,
                         int64_t *shared)
{
    bool by_part = train->source.parts > 0 && test->source.parts > 0;
    *shared = -1;
    if (!train->row || !test->row || !(by_part || same_archive(train, test)))
        return LJ_OK;
    struct place *a = NULL, *b = NULL;
    int status = list_places(train, by_part, &a);
    if (status == LJ_OK)
        status = list_places(test, by_part, &b);
    if (status == LJ_OK)
        *shared = count_shared(a, train->rows, b, test->rows);
    lj_free(a);
    lj_free(b);
    return status;
}
