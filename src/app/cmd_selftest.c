/* SPDX-License-Identifier: Apache-2.0 */
/* selftest */
#include "app/app.h"

#include "train/train.h"

int lj_command_selftest(struct lj_comm *comm, struct lj_config *config,
                        const struct lj_call_words *words)
{
    (void)words;
    LJ_TRY(lj_agree(comm, lj_use_example(config)));
    return lj_selftest(comm, config);
}
