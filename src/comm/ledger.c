/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger: calls, bytes and seconds of each collective that training uses. */
#include "comm/comm.h"

#include <string.h>

struct lj_ledger_entry *lj_ledger_entry(struct lj_ledger *ledger, const char *name,
                                        const char *collective)
{
    for (int i = 0; i < ledger->count; i++)
        if (strcmp(ledger->entry[i].name, name) == 0)
            return &ledger->entry[i];
    LJ_CHECK(ledger->count < LJ_LEDGER_MAX, "the ledger has no line left for %s", name);
    struct lj_ledger_entry *entry = &ledger->entry[ledger->count++];
    *entry = (struct lj_ledger_entry){.name = name, .collective = collective};
    return entry;
}

void lj_ledger_restart(struct lj_ledger *ledger)
{
    for (int i = 0; i < ledger->count; i++) {
        struct lj_ledger_entry *e = &ledger->entry[i];
        e->calls = e->bytes = e->messages = 0;
        e->seconds = e->exposed_seconds = 0;
    }
}
