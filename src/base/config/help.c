/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys for people: `help`, and the table in src/SETTINGS.md. */
#include "base/config/config.h"

#include <string.h>

static void default_text(const struct lj_key *key, char *text, size_t capacity)
{
    static struct lj_config defaults; /* too large for a stack frame of each call */
    lj_config_defaults(&defaults);
    lj_config_value_text(&defaults, key, text, capacity);
}

/* "integer 0 .. 10", "a|b", "text" */
static void values_text(const struct lj_key *key, char *text, size_t capacity)
{
    static const char *const kinds[] = {"integer", "number", "a,b each", "text"};
    if (key->choices)
        snprintf(text, capacity, "%s", key->choices);
    else if (key->type == LJ_KEY_TEXT)
        snprintf(text, capacity, "text");
    else
        snprintf(text, capacity, "%s %.16g .. %.16g", kinds[key->type], key->low, key->high);
}

static void help_presets(FILE *out)
{
    int count = 0;
    const struct lj_preset *presets = lj_config_presets(&count);
    for (int i = 0; i < count; i++)
        fprintf(out, "    %s: %s\n", presets[i].name, presets[i].text);
}

static void help_key(const struct lj_key *key, FILE *out)
{
    char init[LJ_TEXT_MAX], values[256];
    default_text(key, init, sizeof init);
    values_text(key, values, sizeof values);
    fprintf(out, "%s=%s  (%s)\n    %s\n", key->name, init, values, key->text);
    if (strcmp(key->name, "preset") == 0)
        help_presets(out);
}

int lj_config_help(const char *name, FILE *out)
{
    int count = 0;
    const struct lj_key *keys = lj_config_keys(&count);
    if (name) {
        const struct lj_key *key = lj_config_key(name);
        if (!key)
            return lj_config_unknown_key(name);
        help_key(key, out);
        if (key->role == LJ_KEY_BITS)
            fprintf(out,
                    "    weights depend on it: a run continues with another value only with "
                    "resume.change=%s\n",
                    key->name);
        return LJ_OK;
    }
    for (int i = 0; i < count; i++) {
        if (keys[i].role == LJ_KEY_ARGUMENT && keys[i - 1].role != LJ_KEY_ARGUMENT)
            fputs("\nArguments of single commands:\n", out);
        help_key(&keys[i], out);
    }
    return LJ_OK;
}

/* Does the name begin with one of the beginnings, separated by blanks? */
static bool begins_with(const char *name, const char *beginnings)
{
    for (size_t length; *beginnings; beginnings += length) {
        beginnings += strspn(beginnings, " ");
        length = strcspn(beginnings, " ");
        if (length > 0 && strncmp(name, beginnings, length) == 0)
            return true;
    }
    return false;
}

void lj_config_help_command(const char *command, const char *settings, FILE *out)
{
    int count = 0;
    const struct lj_key *keys = lj_config_keys(&count);
    for (int i = 0; i < count; i++)
        if (keys[i].role == LJ_KEY_ARGUMENT && lj_config_takes(&keys[i], command))
            help_key(&keys[i], out);
    for (int i = 0; i < count; i++)
        if (keys[i].role != LJ_KEY_ARGUMENT && (!settings || begins_with(keys[i].name, settings)))
            help_key(&keys[i], out);
}

/* Text in a cell: GitHub takes a bare '|' as the next column, also between back quotes. */
static void put_cell(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void put_row(const struct lj_key *key, FILE *out)
{
    char init[LJ_TEXT_MAX], values[256];
    default_text(key, init, sizeof init);
    values_text(key, values, sizeof values);
    fprintf(out, "| `%s` | %s", key->name, init[0] ? "`" : "");
    put_cell(init, out);
    fputs(init[0] ? "` | " : " | ", out);
    put_cell(values, out);
    if (key->role != LJ_KEY_ARGUMENT)
        fputs(key->role == LJ_KEY_BITS ? " | yes" : " | no", out);
    fputs(" | ", out);
    put_cell(key->text, out);
    fputs(" |\n", out);
}

static void put_rows(bool arguments, FILE *out)
{
    int count = 0;
    const struct lj_key *keys = lj_config_keys(&count);
    for (int i = 0; i < count; i++)
        if ((keys[i].role == LJ_KEY_ARGUMENT) == arguments)
            put_row(&keys[i], out);
}

void lj_config_write_table(FILE *out)
{
    fputs("| key | default | values | bits | meaning |\n|---|---|---|---|---|\n", out);
    put_rows(false, out);
    fputs("\nArguments of single commands, never part of `config.yaml`:\n\n", out);
    fputs("| key | default | values | meaning |\n|---|---|---|---|\n", out);
    put_rows(true, out);
}
