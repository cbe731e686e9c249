/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the files of the configuration: what the table, YAML, help and presets share. */
#ifndef LEJEPA_CONFIG_PRIVATE_H
#define LEJEPA_CONFIG_PRIVATE_H

#include "lejepa/config.h"

#include "base/base.h"

/* The address of the row's field in config. */
static inline void *lj_config_field(const struct lj_config *config, const struct lj_key *key)
{
    return (char *)config + key->offset;
}

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
