/* SPDX-License-Identifier: Apache-2.0 */
/* Distinct labels by sorting, classes of rows by binary search. */
#include "eval/classes.h"

#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* -1: no class has that label. */
static int32_t find(const struct lj_classes *classes, int32_t label)
{
    const int32_t *at =
        bsearch(&label, classes->label, (size_t)classes->count, sizeof label, ascending);
    return at ? (int32_t)(at - classes->label) : -1;
}

int lj_classes_create(struct lj_classes *classes, const int32_t *labels, int64_t rows)
{
    classes->count = 0;
    classes->label = lj_alloc_array(rows, sizeof(int32_t), "classes");
    classes->member = lj_alloc_array(rows, sizeof(int32_t), "classes");
    if (!classes->label || !classes->member) {
        lj_classes_destroy(classes);
        return LJ_ERR_RESOURCE;
    }
    memcpy(classes->label, labels, (size_t)rows * sizeof *labels);
    qsort(classes->label, (size_t)rows, sizeof *labels, ascending);
    for (int64_t i = 0; i < rows; i++)
        if (i == 0 || classes->label[i] != classes->label[classes->count - 1])
            classes->label[classes->count++] = classes->label[i];
    for (int64_t i = 0; i < rows; i++)
        classes->member[i] = find(classes, labels[i]);
    return LJ_OK;
}

void lj_classes_destroy(struct lj_classes *classes)
{
    lj_free(classes->label);
    lj_free(classes->member);
    *classes = (struct lj_classes){0};
}

int lj_count_labels(const int32_t *labels, int64_t rows, int64_t *count)
{
    struct lj_classes classes;
    LJ_TRY(lj_classes_create(&classes, labels, rows));
    *count = classes.count;
    lj_classes_destroy(&classes);
    return LJ_OK;
}

int lj_count_unknown(const int32_t *known, int64_t known_rows, const int32_t *labels, int64_t rows,
                     int64_t *count)
{
    struct lj_classes classes;
    LJ_TRY(lj_classes_create(&classes, known, known_rows));
    *count = 0;
    for (int64_t i = 0; i < rows; i++)
        *count += find(&classes, labels[i]) < 0;
    lj_classes_destroy(&classes);
    return LJ_OK;
}
