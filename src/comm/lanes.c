/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns which lanes, and the blocks of the fixed tree they reduce to (DESIGN: exactness). */
#include "comm/lanes.h"

void lj_lanes_of_rank(int64_t lanes, int size, int rank, int64_t *first, int64_t *end)
{
    *first = rank * lanes / size;
    *end = (rank + 1) * lanes / size;
}

/* Level of the root: the tree spans 2^level >= lanes leaves. */
static int root_level(int64_t lanes)
{
    int level = 0;
    while (((int64_t)1 << level) < lanes)
        level++;
    return level;
}

static bool is_left_child(struct lj_block block)
{
    return (block.start >> block.level) % 2 == 0;
}

bool lj_block_siblings(struct lj_block left, struct lj_block right)
{
    return left.level == right.level && is_left_child(left) &&
           right.start == left.start + ((int64_t)1 << left.level);
}

bool lj_block_passes(struct lj_block block, int64_t lanes)
{
    return block.level < root_level(lanes) && is_left_child(block) &&
           block.start + ((int64_t)1 << block.level) >= lanes;
}

/* Walks the lanes through the chain of carries; blocks receives what is left, *deepest how many lay
 * side by side at most. */
static int walk(int64_t first, int64_t end, int64_t lanes, struct lj_block *blocks, int *deepest)
{
    int depth = 0;
    *deepest = 0;
    for (int64_t lane = first; lane < end; lane++) {
        struct lj_block block = {lane, 0};
        for (;;) {
            if (depth > 0 && lj_block_siblings(blocks[depth - 1], block))
                block = (struct lj_block){blocks[--depth].start, block.level + 1};
            else if (lj_block_passes(block, lanes))
                block.level++;
            else
                break;
        }
        LJ_CHECK(depth < LJ_BLOCKS_MAX, "more blocks than a tree can have");
        blocks[depth++] = block;
        *deepest = depth > *deepest ? depth : *deepest;
    }
    return depth;
}

int lj_lane_blocks(int64_t first, int64_t end, int64_t lanes, struct lj_block *blocks)
{
    int deepest;
    return walk(first, end, lanes, blocks, &deepest);
}

int lj_lane_depth(int64_t first, int64_t end, int64_t lanes)
{
    struct lj_block blocks[LJ_BLOCKS_MAX];
    int deepest;
    walk(first, end, lanes, blocks, &deepest);
    return deepest;
}
