/* SPDX-License-Identifier: Apache-2.0 */
/* import without a model: which encoder the file holds. */
#include "app/app.h"

#include "models/models.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* Says which settings the file gave. */
static void say_found(const struct lj_config *config, const bool *given)
{
    char text[512] = "", value[LJ_TEXT_MAX];
    size_t at = 0;
    int count;
    const struct lj_key *keys = lj_config_keys(&count);
    for (int i = 0; i < count && at < sizeof text; i++) {
        if (given[i] || !config->given[i])
            continue;
        lj_config_value_text(config, &keys[i], value, sizeof value);
        at += (size_t)snprintf(text + at, sizeof text - at, " %s=%s", keys[i].name, value);
    }
    if (text[0])
        lj_say("found in %s:%s", config->arg_weights, text);
}

static int recognise(struct lj_config *config)
{
    bool given[LJ_KEY_COUNT];
    struct lj_timm_encoder found;
    memcpy(given, config->given, sizeof given);
    int status = lj_timm_read_encoder(config->arg_weights, &found);
    struct lj_encoder_file file = {.path = config->arg_weights,
                                   .architecture = found.architecture,
                                   .pool = found.pool,
                                   .heads = found.heads,
                                   .size = found.size,
                                   .oblong = found.oblong,
                                   .ours = found.ours,
                                   .tensor = found.tensor,
                                   .tensors = found.tensors};
    if (status == LJ_OK)
        status = lj_encoder_recognise(&file, config);
    if (status == LJ_OK)
        say_found(config, given);
    lj_timm_encoder_free(&found);
    return status;
}

int lj_import_encoder(struct lj_comm *comm, struct lj_config *config)
{
    LJ_TRY(lj_agree(comm, lj_comm_is_root(comm) ? recognise(config) : LJ_OK));
    lj_broadcast(comm, config, sizeof *config, 0);
    return LJ_OK;
}
