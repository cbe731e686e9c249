/* SPDX-License-Identifier: Apache-2.0 */
/* Which classes are taken for which. */
#include "eval/classes.h"

#include <string.h>

/* Classes of the rows, then of their predictions, in one list. */
static int find_classes(struct lj_classes *classes, const int32_t *predicted, const int32_t *truth,
                        int64_t rows)
{
    size_t bytes = (size_t)rows * sizeof *truth;
    int32_t *both = lj_alloc_array(2 * rows, sizeof *both, "confusion");
    if (!both)
        return LJ_ERR_RESOURCE;
    memcpy(both, truth, bytes);
    memcpy(both + rows, predicted, bytes);
    int status = lj_classes_create(classes, both, 2 * rows);
    lj_free(both);
    return status;
}

int lj_confusion_create(struct lj_confusion *confusion, const int32_t *predicted,
                        const int32_t *truth, int64_t rows)
{
    struct lj_classes classes;
    *confusion = (struct lj_confusion){0};
    LJ_TRY(find_classes(&classes, predicted, truth, rows));
    int64_t n = classes.count;
    confusion->classes = n;
    if (n <= LJ_CONFUSION_CLASSES_MAX) {
        confusion->label = lj_alloc_array(n, sizeof *confusion->label, "confusion");
        confusion->rows = lj_alloc_array(n * n, sizeof *confusion->rows, "confusion");
    }
    if (confusion->label && confusion->rows) {
        memcpy(confusion->label, classes.label, (size_t)n * sizeof *classes.label);
        for (int64_t i = 0; i < rows; i++)
            confusion->rows[classes.member[i] * n + classes.member[rows + i]]++;
    }
    lj_classes_destroy(&classes);
    if (n <= LJ_CONFUSION_CLASSES_MAX && !(confusion->label && confusion->rows)) {
        lj_confusion_destroy(confusion);
        return LJ_ERR_RESOURCE;
    }
    return LJ_OK;
}

void lj_confusion_destroy(struct lj_confusion *confusion)
{
    lj_free(confusion->label);
    lj_free(confusion->rows);
    *confusion = (struct lj_confusion){0};
}
