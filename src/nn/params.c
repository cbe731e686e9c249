/* SPDX-License-Identifier: Apache-2.0 */
/* The table of parameters: how it lies in memory, and its initial values. */
#include "kernels/kernels.h"
#include "nn/nn.h"

#include <string.h>

enum {
    TENSOR_ALIGN = 16, /* elements: a cache line */
    INIT_CHUNK = 4096  /* elements of a tensor that are drawn from one stream */
};

void lj_params_destroy(struct lj_params *params)
{
    lj_free(params->list);
    lj_free(params->bounds);
    lj_free(params->trained_only);
    *params = (struct lj_params){0};
}

int lj_params_find(const struct lj_params *params, const char *name)
{
    for (int i = 0; i < params->count; i++)
        if (strcmp(params->list[i].name, name) == 0)
            return i;
    return -1;
}

/* Draws the first `count` elements of a chunk of a tensor. */
static void draw_chunk(float *values, int64_t count, const struct lj_param *param, int index,
                       int64_t seed, int64_t chunk)
{
    struct lj_rng rng;
    float scale = (float)param->init_scale;
    lj_rng_begin(&rng, seed, LJ_DRAW_INIT, (uint64_t)index, (uint64_t)chunk, 0);
    switch (param->init) {
    case LJ_INIT_ZERO:
        memset(values, 0, (size_t)count * sizeof *values);
        break;
    case LJ_INIT_ONE:
        for (int64_t i = 0; i < count; i++)
            values[i] = 1;
        break;
    case LJ_INIT_UNIFORM:
        for (int64_t i = 0; i < count; i++)
            values[i] = (float)lj_rng_between(&rng, -param->init_scale, param->init_scale);
        break;
    case LJ_INIT_NORMAL:
        lj_draw_normals(values, count, &rng);
        for (int64_t i = 0; i < count; i++)
            values[i] *= scale;
        break;
    }
}

/* Draws elements [low, high) of a tensor. Chunks are drawn whole, also those that
 * lie partly outside. */
static void init_tensor(float *values, const struct lj_param *param, int index, int64_t seed,
                        int64_t low, int64_t high)
{
#pragma omp parallel for schedule(static)
    for (int64_t chunk = low / INIT_CHUNK; chunk <= (high - 1) / INIT_CHUNK; chunk++) {
        float drawn[INIT_CHUNK];
        int64_t start = chunk * INIT_CHUNK;
        int64_t from = lj_max_i64(low, start), to = lj_min_i64(high, start + INIT_CHUNK);
        draw_chunk(drawn, lj_min_i64(INIT_CHUNK, param->count - start), param, index, seed, chunk);
        memcpy(values + (from - low), drawn + (from - start), (size_t)(to - from) * sizeof *drawn);
    }
}

void lj_params_init(const struct lj_params *params, int64_t seed, int64_t first, int64_t count,
                    float *values)
{
    memset(values, 0, (size_t)count * sizeof *values);
    for (int p = 0; p < params->count; p++) {
        const struct lj_param *param = &params->list[p];
        int64_t low = lj_max_i64(first, param->offset);
        int64_t high = lj_min_i64(first + count, param->offset + param->count);
        if (low < high)
            init_tensor(values + (low - first), param, p, seed, low - param->offset,
                        high - param->offset);
    }
}

static int64_t node_bytes(const struct lj_params *params, const struct lj_node *node)
{
    int64_t bytes = 0;
    for (int i = 0; i < node->params; i++)
        bytes += params->list[node->param[i]].count * (int64_t)sizeof(float);
    return bytes;
}

/* Gives the node's tensors their offsets from `at` on; returns the end of the last one. */
static int64_t place(struct lj_params *params, const struct lj_node *node, int64_t at)
{
    for (int i = 0; i < node->params; i++) {
        struct lj_param *param = &params->list[node->param[i]];
        param->offset = at;
        at = lj_round_up(at + param->count, TENSOR_ALIGN);
        if (param->role == LJ_ROLE_WEIGHT)
            params->trained += param->count;
    }
    return at;
}

/* Is node i the first of its block, or outside blocks? */
static bool begins_unit(const struct lj_net *net, int i)
{
    return i == 0 || net->node[i].block < 0 || net->node[i].block != net->node[i - 1].block;
}

/* Bytes of the tensors of node i and of those after it in its block. */
static int64_t unit_bytes(const struct lj_params *params, const struct lj_net *net, int i)
{
    int64_t bytes = node_bytes(params, &net->node[i]);
    for (int j = i + 1; j < net->count && !begins_unit(net, j); j++)
        bytes += node_bytes(params, &net->node[j]);
    return bytes;
}

/* Does node i come after a node with statistics of the global batch? Backward of that node
 * waits for all lanes, so it must be the first node that backward of its bucket runs: node i
 * opens a new bucket. */
static bool follows_sync(const struct lj_net *net, int i)
{
    return lj_node_sync_count(&net->node[i - 1]) > 0;
}

static int find_statistics(struct lj_params *params)
{
    const int64_t units = params->elements / LJ_PARAMS_UNIT;
    params->trained_only = lj_alloc_array(units, sizeof *params->trained_only, "network");
    if (!params->trained_only)
        return LJ_ERR_RESOURCE;
    for (int64_t u = 0; u < units; u++)
        params->trained_only[u] = true;
    for (int p = 0; p < params->count; p++) {
        const struct lj_param *param = &params->list[p];
        int64_t last = (param->offset + param->count - 1) / LJ_PARAMS_UNIT;
        for (int64_t u = param->offset / LJ_PARAMS_UNIT; u <= last; u++)
            params->trained_only[u] &= param->role == LJ_ROLE_WEIGHT;
    }
    return LJ_OK;
}

int lj_params_layout(struct lj_params *params, struct lj_net *const *nets, int count,
                     int64_t bucket_bytes, struct lj_segment *segments, int capacity)
{
    params->bounds = lj_alloc_array(capacity + 1, sizeof *params->bounds, "network");
    if (!params->bounds)
        return LJ_ERR_RESOURCE;
    int64_t at = 0;
    params->buckets = 0;
    params->trained = 0;
    for (int n = 0; n < count; n++) {
        int64_t filled = 0;
        for (int i = 0; i < nets[n]->count; i++) {
            int64_t bytes = unit_bytes(params, nets[n], i);
            bool full = bytes > 0 && filled > 0 && filled + bytes > bucket_bytes;
            bool opens = i == 0 || follows_sync(nets[n], i) || (begins_unit(nets[n], i) && full);
            if (opens) {
                LJ_CHECK(params->buckets < capacity, "more than %d buckets", capacity);
                at = lj_round_up(at, LJ_PARAMS_UNIT);
                params->bounds[params->buckets] = at;
                segments[params->buckets++] = (struct lj_segment){.net = n, .first = i};
                filled = 0;
            }
            at = place(params, &nets[n]->node[i], at);
            filled += node_bytes(params, &nets[n]->node[i]);
            segments[params->buckets - 1].end = i + 1;
        }
    }
    params->elements = lj_round_up(lj_max_i64(at, 1), LJ_PARAMS_UNIT);
    params->bounds[params->buckets] = params->elements;
    return find_statistics(params);
}

void lj_params_clear_gaps(const struct lj_params *params, int bucket, float *values)
{
    int64_t first = params->bounds[bucket], end = params->bounds[bucket + 1], at = first;
    for (int p = 0; p <= params->count; p++) {
        int64_t next = p < params->count ? params->list[p].offset : end;
        if (next > end)
            next = end;
        if (next > at)
            memset(values + (at - first), 0, (size_t)(next - at) * sizeof *values);
        if (next == end)
            return;
        if (next >= first)
            at = next + params->list[p].count;
    }
}
