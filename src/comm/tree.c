/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed tree: subtrees grow as carries do in a binary counter. */
#include "comm/tree.h"

#include "comm/bf16.h"

#include <string.h>

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

void lj_add_in_parallel(float *y, const float *x, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > 1 << 16)
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

void lj_copy_in_parallel(float *y, const float *x, int64_t count)
{
    enum { PIECE = 4096 };
#pragma omp parallel for schedule(static) if (count > 1 << 16)
    for (int64_t first = 0; first < count; first += PIECE)
        memcpy(y + first, x + first, (size_t)lj_min_i64(PIECE, count - first) * sizeof *y);
}

static void add_rounded(float *y, const float *x, int64_t count, const bool *rounded)
{
#pragma omp parallel for schedule(static) if (count > 1 << 16)
    for (int64_t first = 0; first < count; first += LJ_SHARD_ALIGN) {
        if (rounded[first / LJ_SHARD_ALIGN])
            lj_bf16_add(y + first, x + first);
        else
            for (int64_t i = first; i < first + LJ_SHARD_ALIGN; i++)
                y[i] += x[i];
    }
}

static void add_sums(const struct lj_forest_sums *sums, float *left, float *right)
{
    if (sums->rounded)
        add_rounded(left, right, sums->elements, sums->rounded);
    else
        lj_add_in_parallel(left, right, sums->elements);
    if (sums->release)
        sums->release(sums->context, right);
}

void lj_forest_append(struct lj_forest *forest, struct lj_subtree subtree, float *sum,
                      const struct lj_forest_sums *sums)
{
    for (;;) {
        int top = forest->count - 1;
        if (top >= 0 && lj_subtree_siblings(forest->subtree[top], subtree)) {
            if (sums)
                add_sums(sums, forest->sum[top], sum);
            sum = forest->sum[top];
            subtree = (struct lj_subtree){forest->subtree[top].start, subtree.level + 1};
            forest->count--;
        } else if (lj_subtree_passes(subtree, forest->lanes)) {
            subtree.level++;
        } else {
            break;
        }
    }
    LJ_CHECK(forest->count < LJ_SUBTREES_MAX, "more subtrees than a tree can have");
    forest->subtree[forest->count] = subtree;
    forest->sum[forest->count++] = sum;
    forest->most = forest->count > forest->most ? forest->count : forest->most;
}

void lj_forest_plan(struct lj_forest *forest, int64_t lanes, int64_t first, int64_t end)
{
    *forest = (struct lj_forest){.lanes = lanes};
    for (int64_t lane = first; lane < end; lane++)
        lj_forest_append(forest, (struct lj_subtree){lane, 0}, NULL, NULL);
}

int lj_subtrees_grow(struct lj_subtree *row, int count, int64_t lanes, int *joins, int *most)
{
    int left = 0;
    *most = 0;
    for (int i = 0; i < count; i++) {
        struct lj_subtree grown = row[i];
        joins[i] = 0;
        for (;;) {
            if (left > 0 && lj_subtree_siblings(row[left - 1], grown)) {
                grown = (struct lj_subtree){row[--left].start, grown.level + 1};
                joins[i]++;
            } else if (lj_subtree_passes(grown, lanes)) {
                grown.level++;
            } else {
                break;
            }
        }
        row[left++] = grown;
        *most = left > *most ? left : *most;
    }
    return left;
}
