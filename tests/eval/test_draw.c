/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/probe.h"

#include <criterion/criterion.h>
#include <string.h>

/* So many of each class; the rows of a smaller count are among those of a larger; others in another
 * draw. */
Test(draw, rows_of_each_class)
{
    enum { ROWS = 300 };
    int32_t labels[ROWS];
    uint8_t few[ROWS], many[ROWS], other[ROWS];
    int64_t of_class[3] = {0}, less[3] = {0, 1, 9}, more[3] = {5, 1, 40}, rows[3] = {0};
    struct lj_classes classes;
    for (int i = 0; i < ROWS; i++)
        labels[i] = i == 77 ? 4 : i % 2 ? -2 : 9;
    cr_assert_eq(lj_classes_create(&classes, labels, ROWS), LJ_OK);
    lj_classes_count(&classes, ROWS, of_class);
    cr_assert(of_class[0] == 149 && of_class[1] == 1 && of_class[2] == 150);
    cr_assert_eq(lj_classes_draw(&classes, ROWS, less, 1, 2, few), LJ_OK);
    cr_assert_eq(lj_classes_draw(&classes, ROWS, more, 1, 2, many), LJ_OK);
    cr_assert_eq(lj_classes_draw(&classes, ROWS, more, 1, 3, other), LJ_OK);
    for (int i = 0; i < ROWS; i++) {
        cr_assert(!few[i] || many[i], "row %d", i);
        rows[classes.member[i]] += many[i];
    }
    cr_assert(memcmp(rows, more, sizeof rows) == 0);
    cr_assert(memcmp(many, other, sizeof many) != 0);
    lj_classes_destroy(&classes);
}
