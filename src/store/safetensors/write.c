/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters as a safetensors file: float32, timm's names, in order of the table. The header is
 * padded with spaces to a multiple of 8 bytes, so that the tensors lie aligned in the file. */
#include "store/publish.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool skipped(const struct lj_param *param, const char *skip_prefix)
{
    return skip_prefix && strncmp(param->name, skip_prefix, strlen(skip_prefix)) == 0;
}

/* {"dtype": "F32", "shape": [...], "data_offsets": [begin, end]} */
static json_t *entry_of(const struct lj_param *param, int64_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < param->dims; i++)
        json_array_append_new(shape, json_integer(param->dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)(begin + 4 * param->count));
}

static int add_metadata(json_t *header, const char *metadata)
{
    if (!metadata)
        return LJ_OK;
    json_t *object = json_loads(metadata, JSON_REJECT_DUPLICATES, NULL), *value;
    const char *key;
    bool good = json_is_object(object);
    json_object_foreach(object, key, value) good = good && json_is_string(value);
    if (good && json_object_set_new(header, "__metadata__", object) == 0)
        return LJ_OK;
    if (!good)
        json_decref(object);
    return lj_fail(LJ_ERR_CHECKPOINT, "safetensors metadata must be a JSON object of strings: %s",
                   metadata);
}

/* The padded header. *text is the caller's (lj_free); NULL on failure. */
static int make_header(const struct lj_params *params, const char *skip_prefix,
                       const char *metadata, char **text, size_t *length)
{
    json_t *header = json_object();
    int64_t at = 0;
    *text = NULL;
    int status = add_metadata(header, metadata);
    for (int i = 0; i < params->count && status == LJ_OK; i++) {
        const struct lj_param *param = &params->list[i];
        if (skipped(param, skip_prefix))
            continue;
        if (json_object_set_new(header, param->name, entry_of(param, at)) != 0)
            status = lj_fail(LJ_ERR_RESOURCE, "safetensors: tensor %s does not fit into JSON",
                             param->name);
        at += 4 * param->count;
    }
    size_t bare_length = status == LJ_OK ? json_dumpb(header, NULL, 0, JSON_COMPACT) : 0;
    if (status == LJ_OK && bare_length == 0)
        status = lj_fail(LJ_ERR_RESOURCE, "out of memory: safetensors header");
    *length = (bare_length + 7) / 8 * 8;
    *text = status == LJ_OK ? lj_alloc(*length, "safetensors header") : NULL;
    if (*text) {
        memset(*text, ' ', *length);
        json_dumpb(header, *text, bare_length, JSON_COMPACT);
    } else if (status == LJ_OK) {
        status = LJ_ERR_RESOURCE;
    }
    json_decref(header);
    return status;
}

static bool write_all(FILE *file, const struct lj_params *params, const float *weights,
                      const char *skip_prefix, const char *header, size_t length)
{
    unsigned char size[8];
    for (int i = 0; i < 8; i++)
        size[i] = (unsigned char)(length >> 8 * i);
    bool good = fwrite(size, 1, 8, file) == 8 && fwrite(header, 1, length, file) == length;
    for (int i = 0; i < params->count && good; i++) {
        const struct lj_param *param = &params->list[i];
        size_t count = (size_t)param->count;
        if (!skipped(param, skip_prefix))
            good = fwrite(weights + param->offset, sizeof(float), count, file) == count;
    }
    return good;
}

static int write_file(const char *path, const struct lj_params *params, const float *weights,
                      const char *skip_prefix, const char *header, size_t length)
{
    FILE *file = fopen(path, "wbe");
    bool good = file && write_all(file, params, weights, skip_prefix, header, length);
    return lj_store_close(file, good, path);
}

int lj_safetensors_write(const char *path, const struct lj_params *params, const float *weights,
                         const char *skip_prefix, const char *metadata)
{
    char temporary[LJ_PATH_MAX], *header;
    size_t length = 0;
    LJ_TRY(lj_store_temporary(temporary, path));
    LJ_TRY(make_header(params, skip_prefix, metadata, &header, &length));
    int status = write_file(temporary, params, weights, skip_prefix, header, length);
    lj_free(header);
    if (status == LJ_OK)
        status = lj_store_publish(temporary, path, -1);
    if (status != LJ_OK)
        unlink(temporary);
    return status;
}
