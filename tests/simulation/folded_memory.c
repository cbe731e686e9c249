/* SPDX-License-Identifier: Apache-2.0 */
/* In place of src/base/memory.c under SMPI, where all ranks are in one process: large blocks of
 * gradients, weights and messages are SMPI's shared allocations, all of which lie on the same few
 * pages. What they hold means nothing then, and SMPI does not copy it. Ranks take turns on one
 * thread, and a rank has variables of its own. */
#include "base/base.h"

#include <smpi/smpi.h>
#include <stdlib.h>
#include <string.h>

enum { FOLDED_MAX = 4096, ALIGNMENT = 64 };

static void *folded[FOLDED_MAX]; /* blocks of this rank; NULL: none */

/* Other blocks hold counts, requests and places, by which ranks go on. */
static bool is_folded(size_t bytes, const char *label)
{
    static const char *const labels[] = {"gradient leaves", "gradient sums", "gradient buffers",
                                         "network",         "simulation",    NULL};
    return bytes >= SIM_FOLDED_BYTES && lj_is_one_of(label, labels);
}

static void *fold(size_t bytes)
{
    for (int i = 0; i < FOLDED_MAX; i++)
        if (!folded[i])
            return folded[i] = SMPI_SHARED_MALLOC(bytes);
    return NULL;
}

void *lj_alloc(size_t bytes, const char *label)
{
    void *block = NULL;
    if (is_folded(bytes, label))
        block = fold(bytes);
    else if (posix_memalign(&block, ALIGNMENT, bytes + ALIGNMENT) == 0)
        memset(block, 0, bytes + ALIGNMENT);
    if (!block)
        lj_fail(LJ_ERR_RESOURCE, "out of memory: %zu MiB for %s", bytes >> 20, label);
    return block;
}

void *lj_alloc_array(int64_t count, size_t size, const char *label)
{
    size_t bytes = 0;
    if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes))
        bytes = SIZE_MAX / 2;
    return lj_alloc(bytes, label);
}

void lj_free(void *block)
{
    for (int i = 0; i < FOLDED_MAX && block; i++)
        if (folded[i] == block) {
            folded[i] = NULL;
            SMPI_SHARED_FREE(block);
            return;
        }
    free(block);
}
