/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions of data.where: parsed, and asked of values. */
#include "data/archive/where.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char blanks[] = " \t\n";

/* ---- parsing ----------------------------------------------------------------------------- */

static int fail_syntax(const char *condition)
{
    return lj_fail(LJ_ERR_CONFIG,
                   "data.where: '%.200s' is no condition; expected DATASET=VALUE, for example "
                   "split=0, split=train, label=1,3..5, z<0.5 or flag!=1, joined by `and`",
                   condition);
}

/* The end of what begins at text: the first of `stops` outside of quotes, or the end. NULL: a quote
 * is not closed. */
static char *end_of(char *text, const char *stops)
{
    char quote = 0;
    for (; *text; text++) {
        if (quote)
            quote = *text == quote ? 0 : quote;
        else if (*text == '"' || *text == '\'')
            quote = *text;
        else if (strchr(stops, *text))
            break;
    }
    return quote ? NULL : text;
}

/* The next word `and` with blanks around it, outside of quotes; NULL: there is none. */
static char *find_and(char *text)
{
    for (char *at = text; (at = end_of(at, blanks)) && *at; at++)
        if (strncasecmp(at + 1, "and", 3) == 0 && at[4] && strchr(blanks, at[4]))
            return at;
    return NULL;
}

/* Without blanks at both ends, in place. */
static char *trimmed(char *text)
{
    text += strspn(text, blanks);
    size_t length = strlen(text);
    while (length > 0 && strchr(blanks, text[length - 1]))
        text[--length] = 0;
    return text;
}

/* The whole of text as a number. */
static bool parse_number(const char *text, double *number)
{
    char *end = NULL;
    *number = strtod(text, &end);
    return end != text && !*end && !isnan(*number);
}

/* "3" or "3..5"; a quoted value is a string. */
static void parse_value(struct lj_where_value *value, char *text)
{
    char low[64], *range = strstr(text, "..");
    size_t length = strlen(text);
    *value = (struct lj_where_value){.text = text};
    if (length >= 2 && (text[0] == '"' || text[0] == '\'') && text[length - 1] == text[0]) {
        text[length - 1] = 0;
        value->text = text + 1;
        return;
    }
    value->number = parse_number(text, &value->low);
    value->high = value->low;
    if (value->number || !range || range - text >= (ptrdiff_t)sizeof low)
        return;
    memcpy(low, text, (size_t)(range - text));
    low[range - text] = 0;
    value->number = parse_number(low, &value->low) && parse_number(range + 2, &value->high);
}

/* The values behind the comparison, separated by commas. */
static bool parse_values(struct lj_where *where, struct lj_condition *condition, char *text)
{
    condition->value = &where->value[where->values];
    for (char *end, *next; text; text = next) {
        end = end_of(text, ",");
        if (!end)
            return false;
        next = *end ? end + 1 : NULL;
        *end = 0;
        text = trimmed(text);
        if (!*text || where->values == LJ_TEXT_MAX / 2)
            return false;
        parse_value(&where->value[where->values++], text);
        condition->values++;
    }
    bool list = condition->comparison == LJ_IS || condition->comparison == LJ_IS_NOT;
    return list || (condition->values == 1 && condition->value->low == condition->value->high);
}

/* Splits "z <= 0.5" into its name, the comparison and what follows. */
static char *parse_comparison(struct lj_condition *condition, char *text)
{
    static const struct {
        const char *sign;
        enum lj_comparison comparison;
    } signs[] = {{"!=", LJ_IS_NOT}, {"<=", LJ_AT_MOST}, {">=", LJ_AT_LEAST}, {"==", LJ_IS},
                 {"=", LJ_IS},      {"<", LJ_LESS},     {">", LJ_MORE}};
    char *at = text + strcspn(text, "=!<>");
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (strncmp(at, signs[i].sign, strlen(signs[i].sign)) == 0) {
            condition->comparison = signs[i].comparison;
            at[0] = 0;
            condition->name = trimmed(text);
            return *condition->name ? at + strlen(signs[i].sign) : NULL;
        }
    return NULL;
}

static bool parse_condition(struct lj_where *where, char *text)
{
    if (where->conditions == LJ_CONDITIONS_MAX)
        return false;
    struct lj_condition *condition = &where->condition[where->conditions++];
    char *values = parse_comparison(condition, text);
    return values && parse_values(where, condition, values);
}

int lj_where_parse(struct lj_where *where, const char *text)
{
    memset(where, 0, sizeof *where);
    size_t length = strlen(text);
    if (length >= LJ_TEXT_MAX)
        return fail_syntax(text);
    char *at = memcpy(where->text, text, length + 1);
    for (char *next; at; at = next) {
        char *end = find_and(at);
        next = end ? end + 1 + strlen("and") : NULL;
        if (end)
            *end = 0;
        const char *original = text + (at - where->text);
        if (!parse_condition(where, at))
            return fail_syntax(original + strspn(original, blanks));
    }
    return LJ_OK;
}

/* ---- asking ------------------------------------------------------------------------------ */

int lj_condition_check(const struct lj_condition *condition, bool strings)
{
    bool list = condition->comparison == LJ_IS || condition->comparison == LJ_IS_NOT;
    if (strings && !list)
        return lj_fail(LJ_ERR_CONFIG,
                       "data.where: %s holds strings, which have no order; compare them by = or !=",
                       condition->name);
    for (int i = 0; i < condition->values && !strings; i++)
        if (!condition->value[i].number)
            return lj_fail(LJ_ERR_CONFIG,
                           "data.where: %s holds numbers, '%.100s' is none; give one that it "
                           "holds",
                           condition->name, condition->value[i].text);
    return LJ_OK;
}

static bool is_one_of(const struct lj_condition *condition, double value)
{
    for (int i = 0; i < condition->values; i++)
        if (value >= condition->value[i].low && value <= condition->value[i].high)
            return true;
    return false;
}

bool lj_condition_holds(const struct lj_condition *condition, double value)
{
    double bound = condition->value->low;
    switch (condition->comparison) {
    case LJ_IS:
        return is_one_of(condition, value);
    case LJ_IS_NOT:
        return !isnan(value) && !is_one_of(condition, value);
    case LJ_LESS:
        return value < bound;
    case LJ_AT_MOST:
        return value <= bound;
    case LJ_MORE:
        return value > bound;
    case LJ_AT_LEAST:
        return value >= bound;
    }
    return false;
}

bool lj_condition_holds_text(const struct lj_condition *condition, const char *value)
{
    bool found = false;
    for (int i = 0; i < condition->values; i++)
        found = found || strcmp(condition->value[i].text, value) == 0;
    return found == (condition->comparison == LJ_IS);
}
