/* SPDX-License-Identifier: Apache-2.0 */
/* Labelled, aligned, counted memory. A header in front of each block holds its label and size, so
 * that blocks that were never freed can be named at exit. */
#include "base/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, LABELS_MAX = 64 };

struct header {
    int label;
    size_t bytes;
};
_Static_assert(sizeof(struct header) <= ALIGNMENT, "the header fits in front of an aligned block");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lj_memory_use uses[LABELS_MAX];
static int labels;
static int64_t calls;
static size_t open_bytes, peak_bytes;

/* Index of the label in `uses`, added if new. When the table is full, its last line counts all
 * further labels. */
static int find_label(const char *label)
{
    for (int i = 0; i < labels; i++)
        if (strcmp(uses[i].label, label) == 0)
            return i;
    if (labels == LABELS_MAX)
        return LABELS_MAX - 1;
    uses[labels].label = label;
    return labels++;
}

/* Counts a new block; returns the index of its label. */
static int count_block(const char *label, size_t bytes)
{
    pthread_mutex_lock(&lock);
    int i = find_label(label);
    uses[i].bytes += bytes;
    uses[i].blocks++;
    if (uses[i].bytes > uses[i].peak_bytes)
        uses[i].peak_bytes = uses[i].bytes;
    open_bytes += bytes;
    if (open_bytes > peak_bytes)
        peak_bytes = open_bytes;
    calls++;
    pthread_mutex_unlock(&lock);
    return i;
}

void *lj_alloc(size_t bytes, const char *label)
{
    size_t whole = 0;
    void *base = NULL;
    if (__builtin_add_overflow(bytes, 2 * ALIGNMENT, &whole) ||
        posix_memalign(&base, ALIGNMENT, whole) != 0) {
        lj_fail(LJ_ERR_RESOURCE, "out of memory: %zu MiB for %s", bytes >> 20, label);
        return NULL;
    }
    memset(base, 0, whole);
    struct header *header = base;
    header->label = count_block(label, bytes);
    header->bytes = bytes;
    return (char *)base + ALIGNMENT;
}

void *lj_alloc_array(int64_t count, size_t size, const char *label)
{
    size_t bytes = 0;
    if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes))
        bytes = SIZE_MAX;
    return lj_alloc(bytes, label);
}

void lj_free(void *block)
{
    if (!block)
        return;
    struct header *header = (struct header *)(void *)((char *)block - ALIGNMENT);
    pthread_mutex_lock(&lock);
    uses[header->label].bytes -= header->bytes;
    uses[header->label].blocks--;
    open_bytes -= header->bytes;
    pthread_mutex_unlock(&lock);
    free(header);
}

int lj_memory_report(struct lj_memory_use *use, int capacity)
{
    pthread_mutex_lock(&lock);
    int count = labels;
    for (int i = 0; i < count && i < capacity; i++)
        use[i] = uses[i];
    pthread_mutex_unlock(&lock);
    return count;
}

size_t lj_memory_peak(void)
{
    pthread_mutex_lock(&lock);
    size_t peak = peak_bytes;
    pthread_mutex_unlock(&lock);
    return peak;
}

void lj_memory_reset_peaks(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < labels; i++)
        uses[i].peak_bytes = uses[i].bytes;
    peak_bytes = open_bytes;
    pthread_mutex_unlock(&lock);
}

int64_t lj_memory_calls(void)
{
    pthread_mutex_lock(&lock);
    int64_t count = calls;
    pthread_mutex_unlock(&lock);
    return count;
}
