/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: how sums look on their way between ranks. A unit whose leaves and sums
 * are rounded travels as bf16, in half the bytes and without loss; others as float32. */
#include "comm/bf16.h"
#include "comm/gradsync/gradsync.h"

#include <string.h>

int lj_wire_create(struct lj_wire *wire, const struct lj_gradsync_plan *plan)
{
    const int64_t units = plan->bounds[plan->buckets] / LJ_SHARD_ALIGN;
    *wire = (struct lj_wire){0};
    wire->before = lj_alloc_array(units + 1, sizeof *wire->before, "gradient reduction");
    if (!wire->before)
        return LJ_ERR_RESOURCE;
    if (plan->rounded) {
        wire->rounded = lj_alloc_array(units, sizeof *wire->rounded, "gradient reduction");
        if (!wire->rounded)
            return LJ_ERR_RESOURCE;
        memcpy(wire->rounded, plan->rounded, (size_t)units * sizeof *wire->rounded);
    }
    for (int64_t u = 0; u < units; u++) {
        bool half = wire->rounded && wire->rounded[u];
        size_t width = half ? sizeof(uint16_t) : sizeof(float);
        wire->before[u + 1] = wire->before[u] + LJ_SHARD_ALIGN * (int64_t)width;
    }
    return LJ_OK;
}

void lj_wire_free(struct lj_wire *wire)
{
    lj_free(wire->rounded);
    lj_free(wire->before);
}

int64_t lj_wire_bytes(const struct lj_wire *wire, int64_t first, int64_t count)
{
    return wire->before[(first + count) / LJ_SHARD_ALIGN] - wire->before[first / LJ_SHARD_ALIGN];
}

const bool *lj_wire_rounded(const struct lj_wire *wire, int64_t first)
{
    return wire->rounded ? wire->rounded + first / LJ_SHARD_ALIGN : NULL;
}

void lj_wire_pack(const struct lj_wire *wire, int64_t first, int64_t count, const float *sum,
                  void *packed)
{
    const bool *rounded = lj_wire_rounded(wire, first);
    if (!rounded) {
        memcpy(packed, sum, (size_t)count * sizeof *sum);
        return;
    }
    for (int64_t i = 0; i < count; i += LJ_SHARD_ALIGN) {
        char *to = (char *)packed + lj_wire_bytes(wire, first, i);
        if (rounded[i / LJ_SHARD_ALIGN])
            lj_bf16_from_f32((uint16_t *)to, sum + i);
        else
            memcpy(to, sum + i, LJ_SHARD_ALIGN * sizeof *sum);
    }
}

/* A unit's place ends behind the bytes that it becomes, which are not read any more. */
void lj_wire_pack_in_place(const struct lj_wire *wire, int64_t first, int64_t count, float *sums,
                           int number)
{
    const bool *rounded = lj_wire_rounded(wire, first);
    char *to = (char *)sums;
    uint16_t half[LJ_SHARD_ALIGN];
    for (int64_t i = 0; rounded && i < number * count; i += LJ_SHARD_ALIGN) {
        if (rounded[i % count / LJ_SHARD_ALIGN]) {
            lj_bf16_from_f32(half, sums + i);
            memcpy(to, half, sizeof half);
            to += sizeof half;
        } else {
            memmove(to, sums + i, LJ_SHARD_ALIGN * sizeof *sums);
            to += LJ_SHARD_ALIGN * sizeof *sums;
        }
    }
}

/* A unit's place begins before the bytes that are yet to be read, and ends there at the latest. */
void lj_wire_unpack(const struct lj_wire *wire, int64_t first, int64_t count, float *sums,
                    int number)
{
    const bool *rounded = lj_wire_rounded(wire, first);
    const char *from = lj_wire_arrival(wire, first, count, sums, number);
    uint16_t half[LJ_SHARD_ALIGN];
    for (int64_t i = 0; rounded && i < number * count; i += LJ_SHARD_ALIGN) {
        if (rounded[i % count / LJ_SHARD_ALIGN]) {
            memcpy(half, from, sizeof half);
            lj_bf16_to_f32(sums + i, half);
            from += sizeof half;
        } else {
            memmove(sums + i, from, LJ_SHARD_ALIGN * sizeof *sums);
            from += LJ_SHARD_ALIGN * sizeof *sums;
        }
    }
}

void *lj_wire_arrival(const struct lj_wire *wire, int64_t first, int64_t count, float *sums,
                      int number)
{
    int64_t room = count * (int64_t)sizeof *sums - lj_wire_bytes(wire, first, count);
    return (char *)sums + number * room;
}
