/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed tree as a chain of carries. */
#include "comm/chain.h"

#include "comm/lanes.h"

void lj_add_in_parallel(float *y, const float *x, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > 1 << 16)
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

void lj_chain_add(struct lj_chain *chain, struct lj_block block, float *data, int64_t count,
                  void (*release)(void *context, float *buffer), void *context)
{
    for (;;) {
        int top = chain->depth - 1;
        if (top >= 0 && lj_block_siblings(chain->block[top], block)) {
            lj_add_in_parallel(chain->data[top], data, count);
            if (release)
                release(context, data);
            data = chain->data[top];
            block = (struct lj_block){chain->block[top].start, block.level + 1};
            chain->depth--;
        } else if (lj_block_passes(block, chain->lanes)) {
            block.level++;
        } else {
            break;
        }
    }
    LJ_CHECK(chain->depth < LJ_BLOCKS_MAX, "more blocks than a tree can have");
    chain->block[chain->depth] = block;
    chain->data[chain->depth++] = data;
}
