/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows of each class a probe knows: the first of a pseudo-random order of the class's rows,
 * which depends on the rows' order alone, not on ranks. */
#include "eval/probe.h"

#include <string.h>

void lj_classes_count(const struct lj_classes *classes, int64_t rows, int64_t *count)
{
    memset(count, 0, (size_t)classes->count * sizeof *count);
    for (int64_t i = 0; i < rows; i++)
        count[classes->member[i]]++;
}

/* The rows sorted by class, each class's ascending.
 *   begin  (classes) in: rows of each; out: where the class ends
 *   sorted (rows)    out */
static void sort_by_class(const struct lj_classes *classes, int64_t rows, int64_t *begin,
                          int64_t *sorted)
{
    int64_t before = 0;
    for (int64_t c = 0; c < classes->count; c++) {
        int64_t count = begin[c];
        begin[c] = before;
        before += count;
    }
    for (int64_t i = 0; i < rows; i++)
        sorted[begin[classes->member[i]]++] = i;
}

int lj_classes_draw(const struct lj_classes *classes, int64_t rows, const int64_t *count,
                    int64_t seed, int draw, uint8_t *drawn)
{
    int64_t *end = lj_alloc_array(classes->count, sizeof *end, "probe");
    int64_t *sorted = lj_alloc_array(rows, sizeof *sorted, "probe");
    int status = end && sorted ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        lj_classes_count(classes, rows, end);
        sort_by_class(classes, rows, end, sorted);
        memset(drawn, 0, (size_t)rows * sizeof *drawn);
    }
    for (int64_t c = 0, begin = 0; c < classes->count && status == LJ_OK; begin = end[c++])
        for (int64_t i = 0; i < count[c]; i++)
            drawn[sorted[begin + lj_permute(seed, LJ_DRAW_LABELS, (uint64_t)draw, (uint64_t)c,
                                            end[c] - begin, i)]] = 1;
    lj_free(end);
    lj_free(sorted);
    return status;
}
