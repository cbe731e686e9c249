/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <criterion/criterion.h>

Test(words, ends)
{
    cr_assert(lj_ends_with("a.yaml", ".yaml") && lj_ends_with(".yaml", ".yaml"));
    cr_assert(lj_ends_with("name", "") && !lj_ends_with("yaml", ".yaml"));
    cr_assert(!lj_ends_with("a.yaml.h5", ".yaml"));
}

Test(words, one_of)
{
    static const char *const names[] = {"first", "second", NULL}, *const none[] = {NULL};
    cr_assert(lj_is_one_of("first", names) && lj_is_one_of("second", names));
    cr_assert(!lj_is_one_of("fir", names) && !lj_is_one_of("", names));
    cr_assert(!lj_is_one_of("first", none));
}

Test(words, numbers)
{
    static const char *const bad[] = {"",    ",", "1,", ",1",  "1,,2", "1;2",
                                      "1 2", "x", "1x", "nan", "inf",  "1,2,3,4"};
    double values[3];
    cr_assert_eq(lj_read_numbers("1.5,-2, 3e2", 3, values), 3);
    cr_assert(values[0] == 1.5 && values[1] == -2 && values[2] == 300);
    cr_assert_eq(lj_read_numbers("7", 3, values), 1);
    cr_assert_eq(values[0], 7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(lj_read_numbers(bad[i], 3, values), -1, "%s", bad[i]);
}
