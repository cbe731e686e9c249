/* SPDX-License-Identifier: Apache-2.0 */
/* What encoders of four stages share. */
#include "models/encoders.h"

/* A bucket of gradients ends at least at each normalisation over the global batch, of which a block
 * has up to three, and a model has LJ_SEGMENTS_MAX buckets. */
enum { DEPTH_MAX = 256 };

void lj_blocks_of_stages(int64_t blocks[LJ_STAGES], const int64_t *row,
                         const struct lj_config *settings)
{
    for (int stage = 0; stage < LJ_STAGES; stage++)
        blocks[stage] = settings->model_depth ? settings->model_depth : row[stage];
}

int64_t lj_sum_of_stages(const int64_t blocks[LJ_STAGES])
{
    int64_t sum = 0;
    for (int stage = 0; stage < LJ_STAGES; stage++)
        sum += blocks[stage];
    return sum;
}

int lj_check_stages(const struct lj_config *settings)
{
    if (settings->model_depth <= DEPTH_MAX)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "model.depth: %lld blocks a stage; model=%s has at most %d, in each of its %d "
                   "stages",
                   (long long)settings->model_depth, settings->model, DEPTH_MAX, LJ_STAGES);
}
