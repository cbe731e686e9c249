/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors into parameters; half precision is widened. */
#include "store/safetensors/header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 16384, SHOWN = 5 };

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

static int read_halves(int file, const char *path, const struct lj_safetensor *tensor,
                       float *values)
{
    uint16_t block[BLOCK];
    for (int64_t first = 0; first < tensor->count; first += BLOCK) {
        int64_t count = lj_min_i64(BLOCK, tensor->count - first);
        LJ_TRY(lj_safetensors_pread(file, path, block, 2 * count, tensor->begin + 2 * first));
        for (int64_t i = 0; i < count; i++)
            values[first + i] =
                tensor->type == LJ_ST_F16 ? widen_half(block[i]) : widen_bfloat(block[i]);
    }
    return LJ_OK;
}

static const struct lj_safetensor *find(const struct lj_safetensors *table, const char *name)
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

static int read_tensor(int file, const char *path, const struct lj_safetensor *tensor,
                       const struct lj_param *param, float *values)
{
    char has[128], wants[128];
    if (tensor->dims != param->dims ||
        memcmp(tensor->dim, param->dim, (size_t)param->dims * sizeof *param->dim) != 0) {
        shape_text(has, tensor->dims, tensor->dim);
        shape_text(wants, param->dims, param->dim);
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: tensor %s has shape %s, expected %s; choose model.* and "
                       "views.global_size as the file wants",
                       path, param->name, has, wants);
    }
    if (tensor->type == LJ_ST_OTHER)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: tensor %s has dtype %s, expected F32, F16 or BF16",
                       path, param->name, tensor->dtype);
    if (tensor->type == LJ_ST_F32)
        return lj_safetensors_pread(file, path, values, 4 * tensor->count, tensor->begin);
    return read_halves(file, path, tensor, values);
}

static bool starts_with(const char *name, const char *prefix)
{
    return prefix && strncmp(name, prefix, strlen(prefix)) == 0;
}

static bool wanted(const struct lj_params *params, const char *name)
{
    for (int i = 0; i < params->count; i++)
        if (strcmp(params->list[i].name, name) == 0)
            return true;
    return false;
}

/* One warning for all tensors that nobody asked for. */
static void warn_of_surplus(const char *path, const struct lj_safetensors *table,
                            const struct lj_params *params)
{
    char names[SHOWN * (LJ_NAME_MAX + 2) + 1] = "";
    int64_t surplus = 0;
    size_t at = 0;
    for (int64_t i = 0; i < table->count; i++) {
        if (wanted(params, table->list[i].name))
            continue;
        if (surplus++ < SHOWN)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s", at ? ", " : "",
                                   LJ_NAME_MAX, table->list[i].name);
    }
    if (surplus > 0)
        lj_warn("%s: %lld tensors are not in the model and were ignored: %s%s", path,
                (long long)surplus, names, surplus > SHOWN ? ", ..." : "");
}

static bool holds_any(const struct lj_safetensors *table, const char *prefix)
{
    for (int64_t i = 0; i < table->count; i++)
        if (starts_with(table->list[i].name, prefix))
            return true;
    return false;
}

static int read_wanted(int file, const char *path, const struct lj_safetensors *table,
                       const struct lj_params *params, const char *optional_prefix, float *weights,
                       bool *whole)
{
    bool none_optional = !holds_any(table, optional_prefix);
    *whole = true;
    for (int i = 0; i < params->count; i++) {
        const struct lj_param *param = &params->list[i];
        const struct lj_safetensor *tensor = find(table, param->name);
        lj_progress();
        if (tensor)
            LJ_TRY(read_tensor(file, path, tensor, param, weights + param->offset));
        else if (none_optional && starts_with(param->name, optional_prefix))
            *whole = false;
        else
            return lj_fail(LJ_ERR_CHECKPOINT,
                           "%s: tensor %s is missing; the file must come from the same kind of "
                           "model (timm's names)",
                           path, param->name);
    }
    warn_of_surplus(path, table, params);
    return LJ_OK;
}

int lj_safetensors_read(const char *path, const struct lj_params *params,
                        const char *optional_prefix, float *weights, bool *whole)
{
    struct lj_safetensors table;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: %s; expected a safetensors file", path,
                       strerror(errno));
    int status = lj_safetensors_open(&table, file, path);
    if (status == LJ_OK)
        status = read_wanted(file, path, &table, params, optional_prefix, weights, whole);
    lj_safetensors_close(&table);
    close(file);
    return status;
}
