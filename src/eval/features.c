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

void lj_features_gather(struct lj_comm *comm, int64_t rows, void *values, size_t bytes,
                        int64_t *bytes_of_rank)
{
    int64_t first, end;
    for (int r = 0; r < comm->size; r++) {
        lj_features_share(rows, comm->size, r, &first, &end);
        bytes_of_rank[r] = (end - first) * (int64_t)bytes;
    }
    lj_features_share(rows, comm->size, comm->rank, &first, &end);
    lj_all_gather_bytes(comm, (char *)values + first * (int64_t)bytes, values, bytes_of_rank);
}

int64_t lj_features_set_turns(struct lj_comm *comm, const struct lj_features *x)
{
    int64_t blocks = lj_all_max(comm, (x->rows + x->block - 1) / x->block);
    return lj_progress_set_turns(lj_max_i64(blocks, 1));
}
