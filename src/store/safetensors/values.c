/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of safetensors by name, and their elements; half precision is widened. */
#include "store/safetensors/header.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK = 16384 };

/* IEEE binary16 to binary32, exact. */
static float widen_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31;
    uint32_t fraction = half & 1023, bits;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24f; /* zero and subnormal */
        return sign ? -value : value;
    }
    if (exponent == 31)
        bits = sign | 0x7f800000u | fraction << 13;
    else
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bfloat16 is the upper half of binary32. */
static float widen_bfloat(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int read_halves(const struct lj_safetensors_reading *r, const struct lj_safetensor *tensor,
                       float *values)
{
    uint16_t block[BLOCK];
    for (int64_t first = 0; first < tensor->count; first += BLOCK) {
        int64_t count = lj_min_i64(BLOCK, tensor->count - first);
        LJ_TRY(lj_safetensors_pread(r->file, r->path, block, 2 * count, tensor->begin + 2 * first));
        for (int64_t i = 0; i < count; i++)
            values[first + i] =
                tensor->type == LJ_ST_F16 ? widen_half(block[i]) : widen_bfloat(block[i]);
    }
    return LJ_OK;
}

const struct lj_safetensor *lj_safetensors_find(const struct lj_safetensors *table,
                                                const char *name)
{
    for (int64_t i = 0; i < table->count; i++)
        if (strcmp(table->list[i].name, name) == 0)
            return &table->list[i];
    return NULL;
}

static void shape_text(char text[128], int dims, const int64_t *dim)
{
    int at = snprintf(text, 128, "(");
    for (int i = 0; i < dims && i < LJ_DIMS_MAX; i++)
        at += snprintf(text + at, 128 - (size_t)at, i ? ", %lld" : "%lld", (long long)dim[i]);
    snprintf(text + at, 128 - (size_t)at, dims > LJ_DIMS_MAX ? ", ...)" : ")");
}

int lj_safetensors_refuse_shape(const struct lj_safetensors_reading *r,
                                const struct lj_safetensor *tensor, const struct lj_param *param)
{
    char has[128], wants[128];
    shape_text(has, tensor->dims, tensor->dim);
    shape_text(wants, param->dims, param->dim);
    return lj_fail(LJ_ERR_CHECKPOINT,
                   "%s: tensor %s has shape %s, expected %s; choose model.* and views.global_size "
                   "as the file wants",
                   r->path, param->name, has, wants);
}

int lj_safetensors_values(const struct lj_safetensors_reading *r,
                          const struct lj_safetensor *tensor, float *values)
{
    if (tensor->type == LJ_ST_OTHER)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: tensor %s has dtype %s, expected F32, F16 or BF16",
                       r->path, tensor->name, tensor->dtype);
    if (tensor->type == LJ_ST_F32)
        return lj_safetensors_pread(r->file, r->path, values, 4 * tensor->count, tensor->begin);
    return read_halves(r, tensor, values);
}
