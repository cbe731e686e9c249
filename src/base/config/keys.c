/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys, made from config_keys.h, and the known key nearest to an unknown name. */
#include "base/config/config.h"

#include <string.h>

/* lj_precision_word and the others, and the words that the rows below point to. */
#define WORD_TEXT(constant, word) [constant] = word,
#define WORDS(role, field, key, init, words, text)           \
    static const char *const field##_words[] = {words NULL}; \
    const char *lj_##field##_word(enum lj_##field value)     \
    {                                                        \
        return field##_words[value];                         \
    }
LJ_CHOICE_KEYS(WORDS, WORD_TEXT)

#define AT(field)                offsetof(struct lj_config, field)
#define BAR_WORD(constant, word) "|" word /* the choices begin behind the first bar */
/* clang-format off */
#define ROW_INT(role, field, key, init, low, high, text)                                       \
    {key, LJ_KEY_INT, AT(field), {(double)(init), 0}, NULL, (double)(low), (double)(high), \
     NULL, NULL, text, LJ_KEY_##role},
#define ROW_REAL(role, field, key, init, low, high, text) \
    {key, LJ_KEY_REAL, AT(field), {init, 0}, NULL, low, high, NULL, NULL, text, LJ_KEY_##role},
#define ROW_PAIR(role, field, key, a, b, low, high, text) \
    {key, LJ_KEY_PAIR, AT(field), {a, b}, NULL, low, high, NULL, NULL, text, LJ_KEY_##role},
#define ROW_TEXT(role, field, key, init, text) \
    {key, LJ_KEY_TEXT, AT(field), {0, 0}, init, 0, 0, NULL, NULL, text, LJ_KEY_##role},
#define ROW_CHOICE(role, field, key, init, words, text) \
    {key, LJ_KEY_CHOICE, AT(field), {init, 0}, NULL, 0, 0, field##_words, &(words)[1],             \
     text, LJ_KEY_##role},
/* clang-format on */

static const struct lj_key rows[] = {
    LJ_CONFIG_KEYS(ROW_INT, ROW_REAL, ROW_PAIR, ROW_TEXT, ROW_CHOICE, BAR_WORD)
        LJ_COMMAND_KEYS(ROW_INT, ROW_REAL, ROW_PAIR, ROW_TEXT, ROW_CHOICE, BAR_WORD)};
enum { ROWS = sizeof rows / sizeof rows[0] };

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
        else if (key->type == LJ_KEY_CHOICE)
            *(int *)field = (int)key->init[0];
        else
            memcpy(field, key->init_text, strlen(key->init_text) + 1);
    }
}

enum { NAME_MAX_BYTES = 64 };

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
