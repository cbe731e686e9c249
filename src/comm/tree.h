/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: the fixed tree along which gradients are added. Its leaves are the lanes of the
 * batch, 0 .. lanes - 1, padded to a power of two by lanes that are absent.
 *
 * A forest is the row of subtrees that have been summed so far, from left to right. A subtree
 * appended on the right grows by two rules, as often as one of them applies:
 *
 *   siblings  it and its left neighbour are the two children of one node: their sum is that node;
 *   passing   it is a left child whose sibling has only absent lanes: its sum is the parent's, too.
 *
 * Where gradients are bf16, every leaf and every sum is rounded, whoever adds it; a sum that is
 * passed on is a rounded one.
 *
 * So the same pairs are added wherever the subtrees come from. The same walk plans (which subtrees
 * the lanes of a rank end in, how many sums lie side by side meanwhile) and adds. */
#ifndef LEJEPA_COMM_TREE_H
#define LEJEPA_COMM_TREE_H

#include "comm/comm.h"

/* The node over lanes [start, start + 2^level); start is a multiple of 2^level. */
struct lj_subtree {
    int64_t start;
    int level;
};
enum { LJ_SUBTREES_MAX = 128 }; /* in one forest: two a level at most */

struct lj_forest {
    int64_t lanes; /* of the batch */
    int count;     /* subtrees now */
    int most;      /* largest count so far */
    struct lj_subtree subtree[LJ_SUBTREES_MAX];
    float *sum[LJ_SUBTREES_MAX]; /* the caller's buffers; NULL in a plan */
};

/* What there is to add when two siblings join: left += right, then right is no longer needed. */
struct lj_forest_sums {
    int64_t elements;    /* of a sum */
    const bool *rounded; /* (elements / LJ_SHARD_ALIGN) units rounded to bf16; NULL: none */
    void (*release)(void *context, float *buffer); /* takes right back; NULL: nobody does */
    void *context;
};

/* Appends a subtree and lets it grow. Subtrees come in ascending order without gaps. Local; splits
 * elements over OpenMP threads.
 *   sum   (elements) in/out: the subtree's; lent to the forest
 *   sums  in  NULL when only planning */
void lj_forest_append(struct lj_forest *forest, struct lj_subtree subtree, float *sum,
                      const struct lj_forest_sums *sums);

/* The forest that lanes [first, end) of `lanes` grow into, one after the other, without sums: the
 * maximal subtrees they fill, and in `most` how many sums have to be kept at once. Local. */
void lj_forest_plan(struct lj_forest *forest, int64_t lanes, int64_t first, int64_t end);

/* How a row of subtrees in ascending order grows where lanes may be missing between them: each
 * grows by the same two rules as it is appended. Returns how many are left, the maximal subtrees
 * that the row fills. Local.
 *   row    (count) in: subtrees; out: those that are left
 *   joins  (count) out: after subtree i is appended, the last two sums become one so many times
 *   most   out  how many sums lie side by side then, at most */
int lj_subtrees_grow(struct lj_subtree *row, int count, int64_t lanes, int *joins, int *most);

/* True if left and right are the two children of one node. */
bool lj_subtree_siblings(struct lj_subtree left, struct lj_subtree right);
/* True if the subtree's sibling has no lane, so that its sum is its parent's. */
bool lj_subtree_passes(struct lj_subtree subtree, int64_t lanes);

/* y += x; y = x. Elements split over OpenMP threads. */
void lj_add_in_parallel(float *y, const float *x, int64_t count);
void lj_copy_in_parallel(float *y, const float *x, int64_t count);

#endif
