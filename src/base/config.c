/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys, made from config_keys.h, and values from text and back. Numbers are read and
 * written in the C locale, whatever locale the process has. */
#include "base/config_private.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct lj_config, field)
#define ROW_INT(field, key, init, low, high, text)                                          \
    {key,  LJ_KEY_INT, AT(field), {(double)(init), 0}, NULL, (double)(low), (double)(high), \
     NULL, text,       COMMAND},
#define ROW_REAL(field, key, init, low, high, text) \
    {key, LJ_KEY_REAL, AT(field), {init, 0}, NULL, low, high, NULL, text, COMMAND},
#define ROW_PAIR(field, key, a, b, low, high, text) \
    {key, LJ_KEY_PAIR, AT(field), {a, b}, NULL, low, high, NULL, text, COMMAND},
#define ROW_TEXT(field, key, init, text) \
    {key, LJ_KEY_TEXT, AT(field), {0, 0}, init, 0, 0, NULL, text, COMMAND},
#define ROW_CHOICE(field, key, init, choices, text) \
    {key, LJ_KEY_CHOICE, AT(field), {0, 0}, init, 0, 0, choices, text, COMMAND},

static const struct lj_key rows[] = {
#define COMMAND false
    LJ_CONFIG_KEYS(ROW_INT, ROW_REAL, ROW_PAIR, ROW_TEXT, ROW_CHOICE)
#undef COMMAND
#define COMMAND true
        LJ_COMMAND_KEYS(ROW_INT, ROW_REAL, ROW_PAIR, ROW_TEXT, ROW_CHOICE)
#undef COMMAND
};
enum { ROWS = sizeof rows / sizeof rows[0], NAME_MAX_BYTES = 64 };

const struct lj_key *lj_config_keys(int *count)
{
    *count = ROWS;
    return rows;
}

const struct lj_key *lj_config_key(const char *name)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

void lj_config_defaults(struct lj_config *config)
{
    memset(config, 0, sizeof *config);
    for (int i = 0; i < ROWS; i++) {
        const struct lj_key *key = &rows[i];
        void *field = lj_config_field(config, key);
        if (key->type == LJ_KEY_INT)
            *(int64_t *)field = (int64_t)key->init[0];
        else if (key->type == LJ_KEY_REAL)
            *(double *)field = key->init[0];
        else if (key->type == LJ_KEY_PAIR)
            memcpy(field, key->init, sizeof key->init);
        else
            memcpy(field, key->init_text, strlen(key->init_text) + 1);
    }
}

/* ---- unknown keys ------------------------------------------------------------------------- */

/* Levenshtein's distance; what lies beyond NAME_MAX_BYTES of either is ignored. */
static int edit_distance(const char *a, const char *b)
{
    int m = (int)strnlen(a, NAME_MAX_BYTES), n = (int)strnlen(b, NAME_MAX_BYTES);
    int cost[NAME_MAX_BYTES + 1];
    for (int j = 0; j <= n; j++)
        cost[j] = j;
    for (int i = 1; i <= m; i++) {
        int diagonal = cost[0];
        cost[0] = i;
        for (int j = 1; j <= n; j++) {
            int changed = diagonal + (a[i - 1] != b[j - 1]);
            int moved = 1 + (cost[j] < cost[j - 1] ? cost[j] : cost[j - 1]);
            diagonal = cost[j];
            cost[j] = changed < moved ? changed : moved;
        }
    }
    return cost[n];
}

/* A name without its section ("lr") is as near as one wrong letter. */
static int key_distance(const char *name, const char *known)
{
    int whole = edit_distance(name, known);
    const char *dot = strrchr(known, '.');
    int last = dot ? 1 + 2 * edit_distance(name, dot + 1) : whole;
    return last < whole ? last : whole;
}

int lj_config_unknown_key(const char *name)
{
    int best = 0;
    for (int i = 1; i < ROWS; i++)
        if (key_distance(name, rows[i].name) < key_distance(name, rows[best].name))
            best = i;
    return lj_fail(LJ_ERR_CONFIG,
                   "unknown key '%.64s'; did you mean '%s'? `lejepa_mpi help` lists all keys", name,
                   rows[best].name);
}

/* ---- values from text ---------------------------------------------------------------------- */

static locale_t c_locale(void)
{
    static locale_t
        locale; /* glibc's own object for "C": nothing to free, the same in each thread */
    if (!locale)
        locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return locale;
}

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

static void real_text(double value, char *text, size_t capacity);

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

static int set_choice(char *field, const struct lj_key *key, const char *value)
{
    size_t length = strlen(value);
    for (const char *word = key->choices; length > 0;) {
        size_t span = strcspn(word, "|");
        if (span == length && memcmp(word, value, length) == 0) {
            memcpy(field, value, length + 1);
            return LJ_OK;
        }
        if (!word[span])
            break;
        word += span + 1;
    }
    return lj_fail(LJ_ERR_CONFIG, "%s: '%.80s' is not a choice; expected one of %s", key->name,
                   value, key->choices);
}

int lj_config_set(struct lj_config *config, const char *name, const char *value)
{
    const struct lj_key *key = lj_config_key(name);
    if (!key)
        return lj_config_unknown_key(name);
    void *field = lj_config_field(config, key);
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

int lj_config_assign(struct lj_config *config, const char *assignment)
{
    char name[2 * NAME_MAX_BYTES];
    size_t length = strcspn(assignment, "=");
    if (!assignment[length])
        return lj_fail(LJ_ERR_CONFIG, "'%.80s' has no '='; expected key=value", assignment);
    if (length >= sizeof name)
        length = sizeof name - 1; /* longer than any key: unknown, whatever follows */
    memcpy(name, assignment, length);
    name[length] = 0;
    return lj_config_set(config, name, strchr(assignment, '=') + 1);
}

/* ---- values to text ------------------------------------------------------------------------ */

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
    } else {
        snprintf(text, capacity, "%s", (const char *)field);
    }
}

/* ---- precedence ---------------------------------------------------------------------------- */

/* A '/' before the first '=' makes it a path: no key has one. */
static bool is_assignment(const char *word)
{
    return word[strcspn(word, "=/")] == '=';
}

static int check_file_word(const char *word)
{
    const char *dot = strrchr(word, '.');
    if (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG, "'%.80s' is neither key=value nor a file named *.yaml", word);
}

/* Files in order, then assignments in order, onto what config holds. */
static int read_words(struct lj_config *config, const char *const *words, int count)
{
    for (int i = 0; i < count; i++) {
        if (is_assignment(words[i]))
            continue;
        LJ_TRY(check_file_word(words[i]));
        LJ_TRY(lj_config_read_file(config, words[i]));
    }
    for (int i = 0; i < count; i++)
        if (is_assignment(words[i]))
            LJ_TRY(lj_config_assign(config, words[i]));
    return LJ_OK;
}

int lj_config_apply_words(struct lj_config *config, const char *const *words, int count)
{
    return read_words(config, words, count);
}

int lj_config_from_words(struct lj_config *config, const char *const *words, int count)
{
    char preset[LJ_TEXT_MAX];
    lj_config_defaults(config);
    LJ_TRY(read_words(config, words, count)); /* tells the preset, wherever it stands */
    if (!config->preset[0])
        return LJ_OK;
    memcpy(preset, config->preset, sizeof preset);
    lj_config_defaults(config);
    LJ_TRY(lj_config_apply_preset(config, preset));
    return read_words(config, words, count);
}
