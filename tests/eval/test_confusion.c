/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/eval.h"

#include <criterion/criterion.h>

#include <stdlib.h>

Test(confusion, counts)
{
    const int32_t truth[] = {5, 5, 5, 5, -3, 2000000000, -3},
                  predicted[] = {5, 5, 1, 1, -3, 5, 5}; /* 1 is no true class */
    const int32_t label[] = {-3, 1, 5, 2000000000};
    const int64_t rows[4][4] = {{1, 0, 1, 0}, {0, 0, 0, 0}, {0, 2, 2, 0}, {0, 0, 1, 0}};
    struct lj_confusion c;
    cr_assert_eq(lj_confusion_create(&c, predicted, truth, 7), LJ_OK);
    cr_assert_eq(c.classes, 4);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(c.label[i], label[i]);
        for (int j = 0; j < 4; j++)
            cr_assert_eq(c.rows[i * 4 + j], rows[i][j], "%d %d", i, j);
    }
    lj_confusion_destroy(&c);
}

Test(confusion, too_many_classes)
{
    enum { CLASSES = LJ_CONFUSION_CLASSES_MAX + 1 };
    int32_t *label = calloc(CLASSES, sizeof *label);
    struct lj_confusion c;
    cr_assert(label);
    for (int32_t i = 0; i < CLASSES; i++)
        label[i] = i;
    cr_assert_eq(lj_confusion_create(&c, label, label, CLASSES), LJ_OK);
    cr_assert_eq(c.classes, CLASSES);
    cr_assert_null(c.label);
    cr_assert_null(c.rows);
    lj_confusion_destroy(&c);
    cr_assert_eq(lj_confusion_create(&c, label, label, CLASSES - 1), LJ_OK);
    cr_assert_eq(c.rows[CLASSES * 5 - 4], 0);
    cr_assert_eq(c.rows[CLASSES * 5 - 5], 0);
    cr_assert_eq(c.rows[(CLASSES - 1) * 5 + 5], 1);
    lj_confusion_destroy(&c);
    free(label);
}
