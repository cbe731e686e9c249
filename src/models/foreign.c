/* SPDX-License-Identifier: Apache-2.0 */
/* Settings model.* that an encoder does not read: given to it, they would do nothing. */
#include "models/encoders.h"

#include <string.h>

/* Longer than any value of a model.*, none of which is a text. */
enum { VALUE_BYTES = 64 };

static bool is_foreign(const struct lj_encoder *encoder, const char *name)
{
    const char *const *read = encoder->family->settings;
    if (strncmp(name, "model.", strlen("model.")) != 0)
        return false;
    for (; read && *read; read++)
        if (strcmp(name, *read) == 0)
            return false;
    return true;
}

/* The first foreign setting whose value is not the default, and that default; NULL: there is
 * none. */
static const struct lj_key *find_foreign(const struct lj_encoder *encoder,
                                         const struct lj_config *settings,
                                         const struct lj_config *defaults, char init[VALUE_BYTES])
{
    int count;
    const struct lj_key *keys = lj_config_keys(&count);
    for (int i = 0; i < count; i++) {
        char value[VALUE_BYTES];
        if (!is_foreign(encoder, keys[i].name))
            continue;
        lj_config_value_text(settings, &keys[i], value, VALUE_BYTES);
        lj_config_value_text(defaults, &keys[i], init, VALUE_BYTES);
        if (strcmp(value, init) != 0)
            return &keys[i];
    }
    return NULL;
}

/* Defaults; owned by the caller: lj_free. NULL: LJ_ERR_RESOURCE. */
static struct lj_config *take_defaults(void)
{
    struct lj_config *defaults = lj_alloc(sizeof *defaults, "settings");
    if (defaults)
        lj_config_defaults(defaults);
    return defaults;
}

int lj_encoder_check_foreign(const struct lj_encoder *encoder, const struct lj_config *settings)
{
    char value[VALUE_BYTES], init[VALUE_BYTES];
    struct lj_config *defaults = take_defaults();
    if (!defaults)
        return LJ_ERR_RESOURCE;
    const struct lj_key *key = find_foreign(encoder, settings, defaults, init);
    lj_free(defaults);
    if (!key)
        return LJ_OK;
    lj_config_value_text(settings, key, value, VALUE_BYTES);
    return lj_fail(LJ_ERR_CONFIG,
                   "%s=%s: model=%s has no such setting; leave it out, or say %s=%s where a file "
                   "or a preset gives it",
                   key->name, value, encoder->name, key->name, init);
}

int lj_encoder_forget_foreign(const struct lj_encoder *encoder, struct lj_config *settings)
{
    char init[VALUE_BYTES];
    struct lj_config *defaults = take_defaults();
    if (!defaults)
        return LJ_ERR_RESOURCE;
    int status = LJ_OK;
    const struct lj_key *key = find_foreign(encoder, settings, defaults, init);
    for (; key && status == LJ_OK; key = find_foreign(encoder, settings, defaults, init))
        status = lj_config_set(settings, key->name, init);
    lj_free(defaults);
    return status;
}
