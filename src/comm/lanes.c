/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns which lanes, and the subtrees of the fixed tree they reduce to (DESIGN: exactness). */
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

static bool is_left_child(struct lj_subtree subtree)
{
    return (subtree.start >> subtree.level) % 2 == 0;
}

bool lj_subtree_siblings(struct lj_subtree left, struct lj_subtree right)
{
    return left.level == right.level && is_left_child(left) &&
           right.start == left.start + ((int64_t)1 << left.level);
}

bool lj_subtree_passes(struct lj_subtree subtree, int64_t lanes)
{
    return subtree.level < root_level(lanes) && is_left_child(subtree) &&
           subtree.start + ((int64_t)1 << subtree.level) >= lanes;
}

/* Walks the lanes through the chain of carries; subtrees receives what is left, *deepest how many lay
 * side by side at most. */
static int walk(int64_t first, int64_t end, int64_t lanes, struct lj_subtree *subtrees,
                int *deepest)
{
    int depth = 0;
    *deepest = 0;
    for (int64_t lane = first; lane < end; lane++) {
        struct lj_subtree subtree = {lane, 0};
        for (;;) {
            if (depth > 0 && lj_subtree_siblings(subtrees[depth - 1], subtree))
                subtree = (struct lj_subtree){subtrees[--depth].start, subtree.level + 1};
            else if (lj_subtree_passes(subtree, lanes))
                subtree.level++;
            else
                break;
        }
        LJ_CHECK(depth < LJ_SUBTREES_MAX, "more subtrees than a tree can have");
        subtrees[depth++] = subtree;
        *deepest = depth > *deepest ? depth : *deepest;
    }
    return depth;
}

int lj_lane_subtrees(int64_t first, int64_t end, int64_t lanes, struct lj_subtree *subtrees)
{
    int deepest;
    return walk(first, end, lanes, subtrees, &deepest);
}

int lj_lane_depth(int64_t first, int64_t end, int64_t lanes)
{
    struct lj_subtree subtrees[LJ_SUBTREES_MAX];
    int deepest;
    walk(first, end, lanes, subtrees, &deepest);
    return deepest;
}
