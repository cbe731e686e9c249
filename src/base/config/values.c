/* SPDX-License-Identifier: Apache-2.0 */
/* Values from text and back. Numbers are read and written in the C locale, whatever locale the
 * process has. */
#include "base/config/config.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_CAPACITY = 128 }; /* longer than any key */

_Static_assert(sizeof(enum lj_precision) == sizeof(int), "the value of a CHOICE is set as an int");

static locale_t c_locale(void)
{
    static locale_t
        locale; /* glibc's own object for "C": nothing to free, the same in each thread */
    if (!locale)
        locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return locale;
}

/* ---- to text ----------------------------------------------------------------------------- */

/* The shortest of 15 to 17 digits that reads back to the same double. */
static void real_text(double value, char *text, size_t capacity)
{
    locale_t before = uselocale(c_locale());
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, capacity, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    uselocale(before);
}

void lj_config_value_text(const struct lj_config *config, const struct lj_key *key, char *text,
                          size_t capacity)
{
    const void *field = lj_config_field(config, key);
    if (key->type == LJ_KEY_INT) {
        snprintf(text, capacity, "%lld", (long long)*(const int64_t *)field);
    } else if (key->type == LJ_KEY_REAL) {
        real_text(*(const double *)field, text, capacity);
    } else if (key->type == LJ_KEY_PAIR) {
        char a[32], b[32];
        real_text(((const double *)field)[0], a, sizeof a);
        real_text(((const double *)field)[1], b, sizeof b);
        snprintf(text, capacity, "%s,%s", a, b);
    } else if (key->type == LJ_KEY_CHOICE) {
        snprintf(text, capacity, "%s", key->words[*(const int *)field]);
    } else {
        snprintf(text, capacity, "%s", (const char *)field);
    }
}

/* ---- from text --------------------------------------------------------------------------- */

/* The whole of text as a decimal number: no blanks, no hexadecimal, no infinity, no NaN. */
static bool parse_real(const char *text, double *value)
{
    char *end = NULL;
    if (!*text || text[strspn(text, "0123456789+-.eE")])
        return false;
    *value = strtod_l(text, &end, c_locale());
    return *end == 0;
}

/* Digits alone are read exactly; other forms (1e3) when they are whole and doubles are exact. */
static bool parse_int(const char *text, int64_t *value)
{
    char *end = NULL;
    double real = 0;
    if (!parse_real(text, &real))
        return false;
    *value = strtoll(text, &end, 10);
    if (*end == 0)
        return true;
    if (real != trunc(real))
        return false;
    *value = fabs(real) < 0x1p62 ? (int64_t)real : real < 0 ? INT64_MIN : INT64_MAX;
    return true;
}

static int fail_range(const struct lj_key *key, const char *value)
{
    char low[32], high[32];
    real_text(key->low, low, sizeof low);
    real_text(key->high, high, sizeof high);
    return lj_fail(LJ_ERR_CONFIG, "%s: %.80s is out of range; expected %s .. %s", key->name, value,
                   low, high);
}

static int set_int(int64_t *field, const struct lj_key *key, const char *value)
{
    int64_t number = 0;
    if (!parse_int(value, &number))
        return lj_fail(LJ_ERR_CONFIG, "%s: expected a whole number, found '%.80s'", key->name,
                       value);
    if (number < (int64_t)key->low || number > (int64_t)key->high)
        return fail_range(key, value);
    *field = number;
    return LJ_OK;
}

static int set_real(double *field, const struct lj_key *key, const char *value)
{
    double number = 0;
    if (!parse_real(value, &number))
        return lj_fail(LJ_ERR_CONFIG, "%s: expected a number, found '%.80s'", key->name, value);
    if (!(number >= key->low && number <= key->high))
        return fail_range(key, value);
    *field = number;
    return LJ_OK;
}

static int set_pair(double field[2], const struct lj_key *key, const char *value)
{
    char first[64];
    double pair[2];
    size_t length = strcspn(value, ",");
    if (value[length] != ',' || length >= sizeof first)
        return lj_fail(LJ_ERR_CONFIG, "%s: expected two numbers a,b, found '%.80s'", key->name,
                       value);
    memcpy(first, value, length);
    first[length] = 0;
    LJ_TRY(set_real(&pair[0], key, first));
    LJ_TRY(set_real(&pair[1], key, value + length + 1));
    if (pair[0] > pair[1])
        return lj_fail(LJ_ERR_CONFIG, "%s: %.80s has the larger number first; expected a <= b",
                       key->name, value);
    memcpy(field, pair, sizeof pair);
    return LJ_OK;
}

static int set_text(char *field, const struct lj_key *key, const char *value)
{
    size_t length = strlen(value);
    if (length >= LJ_TEXT_MAX)
        return lj_fail(LJ_ERR_CONFIG,
                       "%s: the value has %zu bytes, at most %d fit; use a shorter path or a glob",
                       key->name, length, LJ_TEXT_MAX - 1);
    for (const char *at = value; *at;)
        if (lj_utf8_next(&at) < 0)
            return lj_fail(LJ_ERR_CONFIG,
                           "%s: byte %td of the value is not UTF-8, which config.yaml is written "
                           "in; rename the file or use a link to it",
                           key->name, at - value + 1);
    memcpy(field, value, length + 1);
    return LJ_OK;
}

static int set_choice(int *field, const struct lj_key *key, const char *value)
{
    for (int i = 0; key->words[i]; i++)
        if (strcmp(key->words[i], value) == 0) {
            *field = i;
            return LJ_OK;
        }
    return lj_fail(LJ_ERR_CONFIG, "%s: '%.80s' is not a choice; expected one of %s", key->name,
                   value, key->choices);
}

static int set_field(void *field, const struct lj_key *key, const char *value)
{
    switch (key->type) {
    case LJ_KEY_INT:
        return set_int(field, key, value);
    case LJ_KEY_REAL:
        return set_real(field, key, value);
    case LJ_KEY_PAIR:
        return set_pair(field, key, value);
    case LJ_KEY_TEXT:
        return set_text(field, key, value);
    case LJ_KEY_CHOICE:
        break;
    }
    return set_choice(field, key, value);
}

int lj_config_set(struct lj_config *config, const char *name, const char *value)
{
    int count = 0;
    const struct lj_key *key = lj_config_key(name);
    if (!key)
        return lj_config_unknown_key(name);
    LJ_TRY(set_field(lj_config_field(config, key), key, value));
    config->given[key - lj_config_keys(&count)] = true;
    return LJ_OK;
}

bool lj_config_is_given(const struct lj_config *config, const char *name)
{
    int count = 0;
    const struct lj_key *key = lj_config_key(name);
    return key && config->given[key - lj_config_keys(&count)];
}

int lj_config_assign(struct lj_config *config, const char *assignment)
{
    char name[KEY_CAPACITY];
    size_t length = strcspn(assignment, "=");
    if (!assignment[length])
        return lj_fail(LJ_ERR_CONFIG, "'%.80s' has no '='; expected key=value", assignment);
    if (length >= sizeof name)
        length = sizeof name - 1; /* unknown, whatever follows */
    memcpy(name, assignment, length);
    name[length] = 0;
    return lj_config_set(config, name, strchr(assignment, '=') + 1);
}
