/* SPDX-License-Identifier: Apache-2.0 */
/* Which command takes which argument: the text of an argument begins with the commands that take
 * it, as in "embed, export: checkpoint file or run directory". */
#include "base/config/config.h"

#include <string.h>

bool lj_config_takes(const struct lj_key *key, const char *command)
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

int lj_config_check_arguments(const struct lj_config *config, const char *command)
{
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    for (int i = 0; i < count; i++)
        if (key[i].role == LJ_KEY_ARGUMENT && config->given[i] &&
            !lj_config_takes(&key[i], command))
            return lj_fail(LJ_ERR_CONFIG,
                           "%s=: the command %s does not take it, but %.*s; `lejepa_mpi help %s`",
                           key[i].name, command, (int)strcspn(key[i].text, ":"), key[i].text,
                           key[i].name);
    return LJ_OK;
}
