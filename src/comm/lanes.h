/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: the two rules by which blocks of the fixed tree grow. */
#ifndef LEJEPA_LANES_H
#define LEJEPA_LANES_H

#include "comm/comm.h"

/* left and right are the two children of one node. */
bool lj_block_siblings(struct lj_block left, struct lj_block right);
/* block is a left child whose sibling holds no lane: its sum is the parent's, passed through. */
bool lj_block_passes(struct lj_block block, int64_t lanes);
/* Most blocks that lie side by side while lanes [first, end) are added one by one. */
int lj_lane_depth(int64_t first, int64_t end, int64_t lanes);

#endif
