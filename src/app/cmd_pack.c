/* SPDX-License-Identifier: Apache-2.0 */
/* pack */
#include "app/app.h"

#include "data/data.h"

int lj_command_pack(struct lj_comm *comm, struct lj_config *config,
                    const struct lj_call_words *words)
{
    (void)words;
    return lj_agree(comm, lj_comm_is_root(comm) ? lj_pack(config) : LJ_OK);
}
