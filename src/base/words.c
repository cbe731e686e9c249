/* SPDX-License-Identifier: Apache-2.0 */
/* Names and lists in texts. */
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool lj_ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

bool lj_is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

int lj_read_numbers(const char *text, int most, double *values)
{
    for (int count = 0; count < most; text++) {
        char *end;
        values[count] = strtod(text, &end);
        if (end == text || !isfinite(values[count]) || (*end && *end != ','))
            return -1;
        count++;
        if (!*end)
            return count;
        text = end;
    }
    return -1;
}
