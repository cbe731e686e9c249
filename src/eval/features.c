/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows a rank has, and how long it may have to wait for the others' work on theirs. */
#include "eval/eval.h"

void lj_features_share(int64_t rows, int size, int rank, int64_t *first, int64_t *end)
{
    int64_t blocks = (rows + LJ_FEATURES_BLOCK - 1) / LJ_FEATURES_BLOCK;
    lj_lanes_of_rank(blocks, size, rank, first, end);
    *first = lj_min_i64(*first * LJ_FEATURES_BLOCK, rows);
    *end = lj_min_i64(*end * LJ_FEATURES_BLOCK, rows);
}

int64_t lj_features_set_turns(struct lj_comm *comm, const struct lj_features *x)
{
    int64_t blocks = lj_all_max(comm, (x->rows + x->block - 1) / x->block);
    return lj_progress_set_turns(lj_max_i64(blocks, 1));
}
