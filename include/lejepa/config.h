/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. Configuration: one struct, filled from defaults < preset < YAML files in order <
 * key=value. Local; text in, values out. The table of keys is config_keys.h.
 *
 *     lj_config_defaults(&c);
 *     lj_config_read_file(&c, "run.yaml");       nested mappings are flattened to dotted keys
 *     lj_config_assign(&c, "optim.lr=1e-3");
 */
#ifndef LEJEPA_CONFIG_H
#define LEJEPA_CONFIG_H

#include "lejepa/base.h"

#include <stdio.h>

#include "lejepa/config_keys.h"

enum { LJ_TEXT_MAX = 4096 };

/* One enum for each CHOICE row: enum lj_precision { LJ_PRECISION_FP32, ... }, counted from 0. */
#define LJ_ENUM(role, field, key, init, words, text) enum lj_##field{words};
#define LJ_ENUM_CONSTANT(constant, word)             constant,
LJ_CHOICE_KEYS(LJ_ENUM, LJ_ENUM_CONSTANT)

#define LJ_FIELD_INT(role, field, key, init, low, high, text)  int64_t field;
#define LJ_FIELD_REAL(role, field, key, init, low, high, text) double field;
#define LJ_FIELD_PAIR(role, field, key, a, b, low, high, text) double field[2];
#define LJ_FIELD_TEXT(role, field, key, init, text)            char field[LJ_TEXT_MAX];
#define LJ_FIELD_CHOICE(role, field, key, init, words, text)   enum lj_##field field;

/* clang-format off */
#define LJ_ONE(...) + 1
enum {
    LJ_KEY_COUNT = 0 LJ_CONFIG_KEYS(LJ_ONE, LJ_ONE, LJ_ONE, LJ_ONE, LJ_ONE, LJ_NO_ROW)
                     LJ_COMMAND_KEYS(LJ_ONE, LJ_ONE, LJ_ONE, LJ_ONE, LJ_ONE, LJ_NO_ROW)
};
/* clang-format on */

struct lj_config {
    LJ_CONFIG_KEYS(LJ_FIELD_INT, LJ_FIELD_REAL, LJ_FIELD_PAIR, LJ_FIELD_TEXT, LJ_FIELD_CHOICE,
                   LJ_ENUM_CONSTANT)
    LJ_COMMAND_KEYS(LJ_FIELD_INT, LJ_FIELD_REAL, LJ_FIELD_PAIR, LJ_FIELD_TEXT, LJ_FIELD_CHOICE,
                    LJ_ENUM_CONSTANT)
    bool given[LJ_KEY_COUNT]; /* by the rows of lj_config_keys: set, be it to the default */
};

/* One function for each CHOICE row: lj_precision_word(LJ_PRECISION_FP32) is "fp32". Local. */
#define LJ_WORD_FUNCTION(role, field, key, init, words, text) \
    LJ_API const char *lj_##field##_word(enum lj_##field value);
LJ_CHOICE_KEYS(LJ_WORD_FUNCTION, LJ_ENUM_CONSTANT)

/* What a key means to a run; the comment of config_keys.h. */
enum lj_key_role { LJ_KEY_BITS, LJ_KEY_FREE, LJ_KEY_ARGUMENT };
enum lj_key_type { LJ_KEY_INT, LJ_KEY_REAL, LJ_KEY_PAIR, LJ_KEY_TEXT, LJ_KEY_CHOICE };

/* One row of the table. */
struct lj_key {
    const char *name; /* dotted */
    enum lj_key_type type;
    size_t offset;            /* of the field in struct lj_config */
    double init[2];           /* INT, REAL, CHOICE: [0]; PAIR: both */
    const char *init_text;    /* TEXT */
    double low, high;         /* INT, REAL, PAIR: inclusive range */
    const char *const *words; /* CHOICE: by the enum's values, NULL at the end */
    const char *choices;      /* CHOICE: words separated by | */
    const char *text;
    enum lj_key_role role;
};

/* The rows; *count receives their number. */
LJ_API const struct lj_key *lj_config_keys(int *count);
/* The row named name, or NULL. */
LJ_API const struct lj_key *lj_config_key(const char *name);

LJ_API void lj_config_defaults(struct lj_config *config);

/* Was the key set, be it to its default? false for a name that is no key. Local. */
LJ_API bool lj_config_is_given(const struct lj_config *config, const char *name);

/* "key=value", split at the first '='. Errors: LJ_ERR_CONFIG with the nearest known key, the range
 * or the choices. `preset=` only records the name; lj_config_apply_preset applies it. */
LJ_API int lj_config_assign(struct lj_config *config, const char *assignment) LJ_MUST_USE;
LJ_API int lj_config_set(struct lj_config *config, const char *key, const char *value) LJ_MUST_USE;

/* Reads a YAML file of scalars (sequences of two for pairs); origin of errors is file:line. */
LJ_API int lj_config_read_file(struct lj_config *config, const char *path) LJ_MUST_USE;

/* The same from a text; origin names it in errors. */
LJ_API int lj_config_read_text(struct lj_config *config, const char *text,
                               const char *origin) LJ_MUST_USE;

/* Defaults < preset < files < assignments, from the command line's words after the command.
 *   words, count  in   FILE.yaml and key=value in any order */
LJ_API int lj_config_from_words(struct lj_config *config, const char *const *words,
                                int count) LJ_MUST_USE;

/* Refuses arguments that the command of that name does not take, wherever they were given.
 * Errors: LJ_ERR_CONFIG, naming the commands that do. */
LJ_API int lj_config_check_arguments(const struct lj_config *config,
                                     const char *command) LJ_MUST_USE;

/* The words on top of the values that config holds: files in order, then key=value. No preset. */
LJ_API int lj_config_apply_words(struct lj_config *config, const char *const *words,
                                 int count) LJ_MUST_USE;

/* Writes the values of named presets, separated by commas, in this order. Errors: LJ_ERR_CONFIG
 * with the known names. */
LJ_API int lj_config_apply_preset(struct lj_config *config, const char *names) LJ_MUST_USE;

/* Value of one key as text that lj_config_set reads back exactly. */
LJ_API void lj_config_value_text(const struct lj_config *config, const struct lj_key *key,
                                 char *text, size_t capacity);

/* Every value as YAML, reloadable, values exact. */
LJ_API void lj_config_write_yaml(const struct lj_config *config, FILE *out);

/* Only the values that differ from those of `base`, in the same form. */
LJ_API void lj_config_write_differences(const struct lj_config *config,
                                        const struct lj_config *base, FILE *out);

/* All as a text. Owned by the caller: lj_free. NULL: LJ_ERR_RESOURCE. */
LJ_API char *lj_config_yaml(const struct lj_config *config);

/* Help of one key (or, with NULL, of all), and the table of src/SETTINGS.md. */
LJ_API int lj_config_help(const char *key, FILE *out) LJ_MUST_USE;
LJ_API void lj_config_write_table(FILE *out);
/* Help of the arguments that a command takes, and of the settings that it reads.
 *   command   in  its name
 *   settings  in  beginnings of the settings' names, separated by blanks: "data. threads"; NULL:
 *                 all */
LJ_API void lj_config_help_command(const char *command, const char *settings, FILE *out);

#endif
