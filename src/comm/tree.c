/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed tree as a chain of carries. */
#include "comm/tree.h"

#include "comm/lanes.h"

void lj_add_in_parallel(float *y, const float *x, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > 1 << 16)
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

void lj_chain_add(struct lj_chain *chain, struct lj_subtree subtree, float *data, int64_t count,
                  void (*release)(void *context, float *buffer), void *context)
{
    for (;;) {
        int top = chain->depth - 1;
        if (top >= 0 && lj_subtree_siblings(chain->subtree[top], subtree)) {
            lj_add_in_parallel(chain->data[top], data, count);
            if (release)
                release(context, data);
            data = chain->data[top];
            subtree = (struct lj_subtree){chain->subtree[top].start, subtree.level + 1};
            chain->depth--;
        } else if (lj_subtree_passes(subtree, chain->lanes)) {
            subtree.level++;
        } else {
            break;
        }
    }
    LJ_CHECK(chain->depth < LJ_SUBTREES_MAX, "more subtrees than a tree can have");
    chain->subtree[chain->depth] = subtree;
    chain->data[chain->depth++] = data;
}
