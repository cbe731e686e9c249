/* SPDX-License-Identifier: Apache-2.0 */
/* Forests against a tree drawn here by recursion: a node is (start, level) over the span of the
 * next power of two, and "present" lanes of a node are those below G. */
#include "comm/tree.h"

#include <criterion/criterion.h>

enum { LANES_MOST = 40, RANKS_MOST = 12 };

static int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int root_of(int64_t lanes)
{
    int level = 0;
    while ((INT64_C(1) << level) < lanes)
        level++;
    return level;
}

/* ---- subtrees ---------------------------------------------------------------------------- */

struct cover {
    int64_t first, end, lanes;
    struct lj_subtree subtree[LJ_SUBTREES_MAX];
    int count;
};

/* The largest nodes whose present lanes all lie in [first, end), from the root down. */
static void cover_from(struct cover *c, int64_t start, int level)
{
    int64_t width = INT64_C(1) << level, stop = minimum(start + width, c->lanes);
    if (start >= c->lanes || stop <= c->first || start >= c->end)
        return;
    if (c->first <= start && stop <= c->end) {
        c->subtree[c->count++] = (struct lj_subtree){start, level};
        return;
    }
    cover_from(c, start, level - 1);
    cover_from(c, start + width / 2, level - 1);
}

static void check_plan(int64_t first, int64_t end, int64_t lanes)
{
    struct cover expected = {.first = first, .end = end, .lanes = lanes};
    struct lj_forest plan;
    cover_from(&expected, 0, root_of(lanes));
    lj_forest_plan(&plan, lanes, first, end);
    cr_assert_eq(plan.count, expected.count, "[%lld, %lld) of %lld: %d subtrees, expected %d",
                 (long long)first, (long long)end, (long long)lanes, plan.count, expected.count);
    for (int i = 0; i < plan.count; i++) {
        cr_assert_eq(plan.subtree[i].start, expected.subtree[i].start);
        cr_assert_eq(plan.subtree[i].level, expected.subtree[i].level,
                     "[%lld, %lld) of %lld, subtree %d", (long long)first, (long long)end,
                     (long long)lanes, i);
    }
}

Test(tree, subtrees_are_the_largest_nodes)
{
    for (int64_t lanes = 1; lanes <= LANES_MOST; lanes++)
        for (int64_t first = 0; first <= lanes; first++)
            for (int64_t end = first; end <= lanes; end++)
                check_plan(first, end, lanes);
    check_plan(1, 99999, 100000);
    check_plan(12345, 87654, 100000);
}

/* ---- the tree over everybody's subtrees -------------------------------------------------- */

/* Joins neighbours until nothing moves any more: siblings, and subtrees without
 * a present sibling. */
static int settle(struct lj_subtree *subtree, int count, int64_t lanes)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < count; i++) {
            while (lj_subtree_passes(subtree[i], lanes)) {
                subtree[i].level++;
                moved = true;
            }
            if (i + 1 < count && lj_subtree_siblings(subtree[i], subtree[i + 1])) {
                subtree[i].level++;
                for (int j = i + 1; j + 1 < count; j++)
                    subtree[j] = subtree[j + 1];
                count--;
                moved = true;
            }
        }
    }
    return count;
}

Test(tree, subtrees_of_all_ranks_have_one_root)
{
    for (int64_t lanes = 1; lanes <= LANES_MOST; lanes++)
        for (int size = 1; size <= RANKS_MOST; size++) {
            struct lj_subtree subtree[RANKS_MOST * LJ_SUBTREES_MAX];
            int64_t first, end;
            int count = 0;
            for (int rank = 0; rank < size; rank++) {
                struct lj_forest plan;
                lj_lanes_of_rank(lanes, size, rank, &first, &end);
                lj_forest_plan(&plan, lanes, first, end);
                for (int i = 0; i < plan.count; i++)
                    subtree[count++] = plan.subtree[i];
            }
            count = settle(subtree, count, lanes);
            cr_assert_eq(count, 1, "%lld lanes, %d ranks: %d roots", (long long)lanes, size, count);
            cr_assert_eq(subtree[0].start, 0);
            cr_assert_eq(subtree[0].level, root_of(lanes));
        }
}

/* ---- a row with gaps --------------------------------------------------------------------- */

/* The largest nodes of which all present lanes are in the set, from the root down. */
static int cover_set(uint64_t set, int64_t lanes, int64_t start, int level, uint64_t *covered)
{
    uint64_t node = 0;
    for (int64_t lane = start; lane < minimum(start + (INT64_C(1) << level), lanes); lane++)
        node |= UINT64_C(1) << lane;
    if (node == 0 || (node & set) == 0)
        return 0;
    if ((node & set) == node) {
        *covered = node;
        return 1;
    }
    int left = cover_set(set, lanes, start, level - 1, covered);
    return left +
           cover_set(set, lanes, start + (INT64_C(1) << (level - 1)), level - 1, covered + left);
}

/* Lanes of a set come one by one; a sum is here the set of lanes in it. */
static void check_row(uint64_t set, int64_t lanes)
{
    struct lj_subtree row[64];
    uint64_t sum[65], expected[64];
    int joins[64], count = 0, top = 0, deepest = 0, most;
    for (int64_t lane = 0; lane < lanes; lane++)
        if (set >> lane & 1)
            row[count++] = (struct lj_subtree){lane, 0};
    int left = lj_subtrees_grow(row, count, lanes, joins, &most), lane = 0;
    for (int i = 0; i < count; i++, lane++) {
        while (!(set >> lane & 1))
            lane++;
        sum[top++] = UINT64_C(1) << lane;
        for (int join = 0; join < joins[i]; join++, top--)
            sum[top - 2] |= sum[top - 1];
        deepest = top > deepest ? top : deepest;
    }
    cr_assert_eq(deepest, most);
    cr_assert(left == top && left == cover_set(set, lanes, 0, root_of(lanes), expected),
              "lanes %llx of %lld: %d subtrees", (unsigned long long)set, (long long)lanes, left);
    for (int i = 0; i < left; i++)
        cr_assert(sum[i] == expected[i] && (expected[i] >> row[i].start & 1),
                  "lanes %llx of %lld: sum %d", (unsigned long long)set, (long long)lanes, i);
}

Test(tree, rows_with_gaps_grow_to_the_largest_nodes)
{
    uint64_t bits = 1;
    for (int64_t lanes = 1; lanes <= 63; lanes++) {
        uint64_t all = (UINT64_C(1) << lanes) - 1;
        check_row(all, lanes);
        for (int i = 0; i < 300; i++) {
            bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            check_row((bits >> 1 | bits << 17 | (i % 3 ? bits << 5 : 0)) & all, lanes);
        }
    }
}

/* ---- sums in use ------------------------------------------------------------------------- */

/* After each lane, the subtrees of the lanes so far lie side by side: that many buffers
 * are in use. */
Test(tree, most_sums_in_use_are_planned)
{
    for (int64_t lanes = 1; lanes <= LANES_MOST; lanes++)
        for (int64_t first = 0; first < lanes; first++)
            for (int64_t end = first; end <= lanes; end++) {
                int most = 0;
                for (int64_t so_far = first + 1; so_far <= end; so_far++) {
                    struct cover c = {.first = first, .end = so_far, .lanes = lanes};
                    cover_from(&c, 0, root_of(lanes));
                    most = c.count > most ? c.count : most;
                }
                struct lj_forest plan;
                lj_forest_plan(&plan, lanes, first, end);
                cr_assert_eq(plan.most, most, "[%lld, %lld) of %lld", (long long)first,
                             (long long)end, (long long)lanes);
            }
}

Test(tree, rules)
{
    struct lj_subtree a = {0, 0}, b = {1, 0}, c = {2, 0}, d = {4, 1}, e = {4, 2}, root = {0, 3};
    cr_assert(lj_subtree_siblings(a, b));
    cr_assert_not(lj_subtree_siblings(b, c), "neighbours with different parents");
    cr_assert_not(lj_subtree_siblings(b, a), "right before left");
    cr_assert_not(lj_subtree_siblings(a, d));
    cr_assert(lj_subtree_passes(d, 6), "lanes 6 and 7 are absent");
    cr_assert_not(lj_subtree_passes(d, 7));
    cr_assert_not(lj_subtree_passes(e, 6), "a right child waits for its left one");
    cr_assert_not(lj_subtree_passes(root, 6), "nothing lies above the root");
    cr_assert_not(lj_subtree_passes(a, 1), "one lane is its own root");
}
