/* SPDX-License-Identifier: Apache-2.0 */
/* Which command takes which argument: the text of an argument begins with the commands that take
 * it, as in "embed, export: checkpoint file or run directory". */
#include "base/config/config.h"

#include <string.h>

static bool takes(const struct lj_key *key, const char *command)
{
    size_t length = strlen(command);
    const char *end = strchr(key->text, ':');
    for (const char *name = key->text; end && name < end; name += strcspn(name, ",:") + 1) {
        name += strspn(name, " ");
        if (strncmp(name, command, length) == 0 && strchr(",:", name[length]))
            return true;
    }
    return false;
}

static bool is_given(const struct lj_config *config, const struct lj_key *key)
{
    const void *field = lj_config_field(config, key);
    switch (key->type) {
    case LJ_KEY_INT:
        return (double)*(const int64_t *)field != key->init[0];
    case LJ_KEY_REAL:
        return *(const double *)field != key->init[0];
    case LJ_KEY_PAIR:
        return memcmp(field, key->init, sizeof key->init) != 0;
    case LJ_KEY_CHOICE:
        return *(const int *)field != (int)key->init[0];
    case LJ_KEY_TEXT:
        return strcmp(field, key->init_text) != 0;
    }
    return false;
}

int lj_config_check_arguments(const struct lj_config *config, const char *command)
{
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    for (int i = 0; i < count; i++)
        if (key[i].command && is_given(config, &key[i]) && !takes(&key[i], command))
            return lj_fail(LJ_ERR_CONFIG,
                           "%s=: the command %s does not take it, but %.*s; `lejepa_mpi help %s`",
                           key[i].name, command, (int)strcspn(key[i].text, ":"), key[i].text,
                           key[i].name);
    return LJ_OK;
}
