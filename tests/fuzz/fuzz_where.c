/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions of data.where, asked of a few values. */
#include "data/archive/where.h"
#include "fuzz.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lj_where where;
    static const double values[] = {0, 1, -3.5, 1e300, NAN, INFINITY};
    char *text = lj_alloc(size + 1, "fuzz");
    LJ_CHECK(text, "memory");
    if (size > 0)
        memcpy(text, data, size);
    bool good = lj_where_parse(&where, text) == LJ_OK;
    for (int i = 0; good && i < where.conditions; i++) {
        const struct lj_condition *c = &where.condition[i];
        LJ_CHECK(c->values > 0 && *c->name, "an empty condition from '%s'", text);
        bool numbers = lj_condition_check(c, false) == LJ_OK;
        for (int k = 0; numbers && k < 6; k++)
            LJ_CHECK(!lj_condition_holds(c, NAN), "NaN meets a condition of '%s'", text);
        for (int k = 0; numbers && k < 6; k++)
            (void)lj_condition_holds(c, values[k]);
        if (lj_condition_check(c, true) == LJ_OK)
            (void)lj_condition_holds_text(c, "train");
    }
    lj_free(text);
    return 0;
}
