/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: the two rules by which subtrees of the fixed tree grow. */
#ifndef LEJEPA_LANES_H
#define LEJEPA_LANES_H

#include "comm/comm.h"

/* left and right are the two children of one node. */
bool lj_subtree_siblings(struct lj_subtree left, struct lj_subtree right);
/* subtree is a left child whose sibling holds no lane: its sum is the parent's, passed through. */
bool lj_subtree_passes(struct lj_subtree subtree, int64_t lanes);
/* Most subtrees that lie side by side while lanes [first, end) are added one by one. */
int lj_lane_depth(int64_t first, int64_t end, int64_t lanes);

#endif
