/* SPDX-License-Identifier: Apache-2.0 */
/* What encoders of four stages share. */
#include "models/encoders.h"

#include <string.h>

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

void lj_places_of_stages(struct lj_encoder_places *places, const struct lj_net *net, int32_t stage,
                         int32_t pooled)
{
    int32_t last = net->node[lj_net_find(net, "pool")].in[0];
    const struct lj_shape *map = &net->node[last].shape;
    *places = (struct lj_encoder_places){.layer = {net->node[stage].in[0], last},
                                         .pooled = pooled,
                                         .tokens = last,
                                         .attention = -1,
                                         .grid = {map->dim[0], map->dim[1]}};
}

int lj_check_stages(const struct lj_config *settings)
{
    if (settings->model_depth <= LJ_STAGE_BLOCKS_MAX)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "model.depth: %lld blocks a stage; model=%s has at most %d, in each of its %d "
                   "stages",
                   (long long)settings->model_depth, settings->model, LJ_STAGE_BLOCKS_MAX,
                   LJ_STAGES);
}

/* ---- in a file of timm ------------------------------------------------------------------- */

int lj_check_mean_pool(const struct lj_encoder_file *file)
{
    if (!file->pool[0] || strcmp(file->pool, "avg") == 0)
        return LJ_OK;
    return lj_refuse_encoder(file, "pools in another way than avg");
}

static bool has_blocks(const struct lj_encoder *row, const int64_t blocks[LJ_STAGES])
{
    return memcmp(&row->number[2], blocks, LJ_STAGES * sizeof *blocks) == 0;
}

/* A row with this flag and these blocks (NULL: any blocks), of this width if there is one. */
static const struct lj_encoder *find_row(const struct lj_encoder_family *family, int64_t width,
                                         bool flag, const int64_t *blocks)
{
    int rows;
    const struct lj_encoder *encoders = lj_encoders(&rows), *found = NULL;
    for (int i = 0; i < rows; i++) {
        const struct lj_encoder *row = &encoders[i];
        if (row->family != family || row->number[1] != flag || (blocks && !has_blocks(row, blocks)))
            continue;
        if (row->number[0] == width)
            return row;
        if (!found)
            found = row;
    }
    return found;
}

int lj_recognise_stages(const struct lj_encoder_file *file, const struct lj_encoder_family *family,
                        int64_t width, bool flag, const int64_t blocks[LJ_STAGES],
                        struct lj_config *settings)
{
    const struct lj_encoder *row = find_row(family, width, flag, blocks);
    bool even = blocks[0] > 0 && lj_sum_of_stages(blocks) == LJ_STAGES * blocks[0];
    if (!row && even) {
        row = find_row(family, width, flag, NULL);
        LJ_TRY(lj_take_number(settings, "model.depth", blocks[0]));
    }
    if (!row)
        return lj_fail(
            LJ_ERR_CHECKPOINT,
            "%s: its encoder has stages of %lld, %lld, %lld and %lld blocks, as no model "
            "of `lejepa_mpi help model` does",
            file->path, (long long)blocks[0], (long long)blocks[1], (long long)blocks[2],
            (long long)blocks[3]);
    LJ_TRY(lj_take_text(settings, "model", row->name));
    return row->number[0] == width ? LJ_OK : lj_take_number(settings, "model.width", width);
}
