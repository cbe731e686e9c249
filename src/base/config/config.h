/* SPDX-License-Identifier: Apache-2.0 */
/* Private to base. What the files of the configuration share. Each calls only files above it:
 *
 *   utf8.c        code points
 *   keys.c        the table, its defaults, unknown keys
 *   values.c      one value from text and to text               calls utf8, keys
 *   yaml.c        values from YAML, all values to YAML          calls utf8, keys, values
 *   presets.c     named sets of values                          calls values
 *   arguments.c   which command takes which argument            calls keys
 *   help.c        the table for people                     calls keys, values, presets, arguments
 *   precedence.c  the words of a command line                calls keys, values, yaml, presets */
#ifndef LEJEPA_BASE_CONFIG_CONFIG_H
#define LEJEPA_BASE_CONFIG_CONFIG_H

#include "lejepa/config.h"

#include "base/base.h"

/* The address of the row's field in config. */
static inline void *lj_config_field(const struct lj_config *config, const struct lj_key *key)
{
    return (char *)config + key->offset;
}

/* Does the command of that name take this argument? */
bool lj_config_takes(const struct lj_key *key, const char *command);

/* Fails with LJ_ERR_CONFIG and the known key nearest to name. */
int lj_config_unknown_key(const char *name);

/* A named set of values. */
struct lj_preset {
    const char *name;
    const char *text;
    const char *const *values; /* "key=value", NULL at the end */
};
/* All of them; *count receives their number. */
const struct lj_preset *lj_config_presets(int *count);

/* Decodes one code point of UTF-8 at *text and moves *text behind it; -1 where it is malformed. */
long lj_utf8_next(const char **text);

#endif
