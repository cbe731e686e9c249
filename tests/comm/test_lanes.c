/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes and subtrees against a tree drawn here by recursion: a node is (start, level) over the span of
 * the next power of two, and "present" lanes of a node are those below G. */
#include "comm/lanes.h"

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

/* ---- lanes of a rank ------------------------------------------------------------------------- */

Test(lanes, ranks_share_all_lanes_in_order)
{
    const int64_t lanes[] = {1, 2, 3, 5, 6, 7, 63, 64, 65, 1000003, INT64_C(1) << 40};
    const int sizes[] = {1, 2, 3, 4, 5, 7, 12, 64, 100, 4096};
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            int64_t next = 0, least = lanes[i], most = 0;
            for (int rank = 0; rank < sizes[j]; rank++) {
                int64_t first = -1, end = -1;
                lj_lanes_of_rank(lanes[i], sizes[j], rank, &first, &end);
                cr_assert_eq(first, next, "rank %d of %d", rank, sizes[j]);
                cr_assert_geq(end, first);
                least = minimum(least, end - first);
                most = end - first > most ? end - first : most;
                next = end;
            }
            cr_assert_eq(next, lanes[i]);
            cr_assert_leq(most - least, 1, "%lld lanes on %d ranks", (long long)lanes[i], sizes[j]);
        }
}

/* ---- subtrees ---------------------------------------------------------------------------------- */

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

static void check_blocks(int64_t first, int64_t end, int64_t lanes)
{
    struct cover expected = {.first = first, .end = end, .lanes = lanes};
    struct lj_subtree subtree[LJ_SUBTREES_MAX];
    cover_from(&expected, 0, root_of(lanes));
    int count = lj_lane_subtrees(first, end, lanes, subtree);
    cr_assert_eq(count, expected.count, "[%lld, %lld) of %lld: %d subtrees, expected %d",
                 (long long)first, (long long)end, (long long)lanes, count, expected.count);
    for (int i = 0; i < count; i++) {
        cr_assert_eq(subtree[i].start, expected.subtree[i].start);
        cr_assert_eq(subtree[i].level, expected.subtree[i].level,
                     "[%lld, %lld) of %lld, subtree %d", (long long)first, (long long)end,
                     (long long)lanes, i);
    }
}

Test(lanes, blocks_are_the_largest_nodes_of_the_tree)
{
    for (int64_t lanes = 1; lanes <= LANES_MOST; lanes++)
        for (int64_t first = 0; first <= lanes; first++)
            for (int64_t end = first; end <= lanes; end++)
                check_blocks(first, end, lanes);
    check_blocks(1, 99999, 100000);
    check_blocks(12345, 87654, 100000);
}

/* ---- the tree over everybody's subtrees -------------------------------------------------------- */

/* Joins neighbours until nothing moves any more: siblings, and subtrees without a present sibling. */
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

Test(lanes, blocks_of_all_ranks_have_one_root)
{
    for (int64_t lanes = 1; lanes <= LANES_MOST; lanes++)
        for (int size = 1; size <= RANKS_MOST; size++) {
            struct lj_subtree subtree[RANKS_MOST * LJ_SUBTREES_MAX];
            int64_t first, end;
            int count = 0;
            for (int rank = 0; rank < size; rank++) {
                lj_lanes_of_rank(lanes, size, rank, &first, &end);
                count += lj_lane_subtrees(first, end, lanes, subtree + count);
            }
            count = settle(subtree, count, lanes);
            cr_assert_eq(count, 1, "%lld lanes, %d ranks: %d roots", (long long)lanes, size, count);
            cr_assert_eq(subtree[0].start, 0);
            cr_assert_eq(subtree[0].level, root_of(lanes));
        }
}

/* ---- depth ----------------------------------------------------------------------------------- */

/* After each lane, the subtrees of the lanes so far lie side by side: that many buffers are in use. */
Test(lanes, depth_is_the_most_blocks_in_use)
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
                cr_assert_eq(lj_lane_depth(first, end, lanes), most, "[%lld, %lld) of %lld",
                             (long long)first, (long long)end, (long long)lanes);
            }
}

Test(lanes, rules_of_the_tree)
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
