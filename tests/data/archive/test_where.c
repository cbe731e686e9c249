/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions of data.where: what is parsed, and what is not. */
#include "data/archive/where.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct lj_where where;

Test(where, parts_of_a_condition)
{
    cr_assert_eq(lj_where_parse(&where, " a/b <= -1e3 and name != 'x, y' , z and k=1..2,7"), LJ_OK);
    cr_assert_eq(where.conditions, 3);
    cr_assert_str_eq(where.condition[0].name, "a/b");
    cr_assert_eq(where.condition[0].comparison, LJ_AT_MOST);
    cr_assert_eq(where.condition[0].value->low, -1000);
    cr_assert_eq(where.condition[1].comparison, LJ_IS_NOT);
    cr_assert_eq(where.condition[1].values, 2);
    cr_assert_str_eq(where.condition[1].value[0].text, "x, y");
    cr_assert_str_eq(where.condition[1].value[1].text, "z");
    cr_assert(!where.condition[1].value[0].number);
    cr_assert_eq(where.condition[2].value[0].high, 2);
    cr_assert_eq(where.condition[2].value[1].low, 7);
}

Test(where, holds)
{
    cr_assert_eq(lj_where_parse(&where, "k=1..2,7"), LJ_OK);
    const struct lj_condition *c = where.condition;
    cr_assert(lj_condition_holds(c, 1) && lj_condition_holds(c, 1.5) && lj_condition_holds(c, 7));
    cr_assert(!lj_condition_holds(c, 2.5) && !lj_condition_holds(c, NAN));
    cr_assert_eq(lj_where_parse(&where, "k!=1..2,7"), LJ_OK);
    cr_assert(!lj_condition_holds(c, 2) && lj_condition_holds(c, 3));
    cr_assert(!lj_condition_holds(c, NAN), "no number meets no condition");
}

/* A word `and` inside of a name or of quotes joins nothing. */
Test(where, and_inside)
{
    cr_assert_eq(lj_where_parse(&where, "band=sand"), LJ_OK);
    cr_assert_eq(where.conditions, 1);
    cr_assert_eq(lj_where_parse(&where, "name=\"salt and pepper\" and a=1"), LJ_OK);
    cr_assert_eq(where.conditions, 2);
    cr_assert_str_eq(where.condition[0].value->text, "salt and pepper");
}

Test(where, refuses)
{
    const char *bad[] = {"",      " ",    "a",         "a=",  "=1",        "a=1,",
                         "a<1,2", "a='1", "a=1 and b", "a!1", "a=1 and =2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(lj_where_parse(&where, bad[i]), LJ_ERR_CONFIG, "'%s'", bad[i]);
    char text[LJ_TEXT_MAX + 1] = "a=1";
    for (int i = 1; i < LJ_CONDITIONS_MAX; i++)
        strcat(text, " and a=1");
    cr_assert_eq(lj_where_parse(&where, text), LJ_OK);
    strcat(text, " and a=1");
    cr_assert_eq(lj_where_parse(&where, text), LJ_ERR_CONFIG, "one condition too many");
    memset(text, 'a', LJ_TEXT_MAX);
    cr_assert_eq(lj_where_parse(&where, text), LJ_ERR_CONFIG, "a text that is too long");
}
