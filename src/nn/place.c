/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets for the regions of a plan: first fit, largest first. */
#include "nn/plan.h"

#include <stdlib.h>

enum { ALIGN = 16 }; /* floats: a cache line */

static int by_size(const void *a, const void *b)
{
    const struct lj_region *x = *(struct lj_region *const *)a, *y = *(struct lj_region *const *)b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->birth != y->birth ? (x->birth < y->birth ? -1 : 1) : 0;
}

static bool overlap_in_time(const struct lj_region *a, const struct lj_region *b)
{
    return a->birth <= b->death && b->birth <= a->death;
}

/* The lowest offset at which `wanted` overlaps no placed region that is in use at the same time. */
static int64_t first_fit(struct lj_region *const *placed, int count, const struct lj_region *wanted)
{
    int64_t offset = 0, size = lj_round_up(wanted->size, ALIGN);
    bool moved = true;
    while (moved) {
        moved = false;
        for (int i = 0; i < count; i++) {
            int64_t end = placed[i]->offset + lj_round_up(placed[i]->size, ALIGN);
            if (overlap_in_time(placed[i], wanted) && offset < end &&
                placed[i]->offset < offset + size) {
                offset = end;
                moved = true;
            }
        }
    }
    return offset;
}

int lj_plan_place(struct lj_plan *plan)
{
    int nodes = plan->net->count, count = 0;
    struct lj_region **list = lj_alloc_array(5 * nodes, sizeof *list, "memory plan");
    if (!list)
        return LJ_ERR_RESOURCE;
    for (int i = 0; i < nodes; i++) {
        struct lj_placing *at = &plan->at[i];
        struct lj_region *own[] = {&at->value[0], &at->value[1], &at->saved[0], &at->saved[1],
                                   &at->gradient};
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            if (own[k]->size > 0)
                list[count++] = own[k];
    }
    qsort(list, (size_t)count, sizeof *list, by_size);
    for (int i = 0; i < count; i++) {
        list[i]->offset = first_fit(list, i, list[i]);
        plan->arena = lj_max_i64(plan->arena, list[i]->offset + lj_round_up(list[i]->size, ALIGN));
    }
    lj_free(list);
    return LJ_OK;
}
