/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the index, one after the other in memory that a node has once. */
#include "data/archive/archive.h"

#include <string.h>

enum { TABLE_ALIGN = 64 };

int64_t lj_tables_bytes(const struct lj_table *table, int count)
{
    int64_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += lj_round_up(table[i].bytes, TABLE_ALIGN);
    return bytes;
}

void lj_tables_place(const struct lj_table *table, int count, struct lj_shared *shared, bool root)
{
    char *at = lj_shared_memory(shared);
    for (int i = 0; i < count; i++)
        if (table[i].bytes > 0) {
            if (root && *table[i].array) {
                memcpy(at, *table[i].array, (size_t)table[i].bytes);
                lj_free(*table[i].array);
            }
            *table[i].array = at;
            at += lj_round_up(table[i].bytes, TABLE_ALIGN);
        }
}
