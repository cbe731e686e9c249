/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors into parameters. */
#include "store/safetensors/header.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN = 5 };

static int read_tensor(const struct lj_safetensors_reading *r, const struct lj_safetensor *tensor,
                       const struct lj_param *param)
{
    bool fits = tensor->dims == param->dims &&
                memcmp(tensor->dim, param->dim, (size_t)param->dims * sizeof *param->dim) == 0;
    if (fits && !(r->adaption && lj_safetensors_has_layouts(param)))
        return lj_safetensors_values(r, tensor, r->weights + param->offset);
    if (r->adaption)
        return lj_safetensors_fit(r, tensor, param);
    return lj_safetensors_refuse_shape(r, tensor, param);
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

/* One warning for all tensors that nobody asked for; an error where an encoder is to be taken
 * whole. */
static int answer_surplus(const struct lj_safetensors_reading *r)
{
    char names[SHOWN * (LJ_NAME_MAX + 2) + 1] = "";
    int64_t surplus = 0;
    size_t at = 0;
    for (int64_t i = 0; i < r->table->count; i++) {
        const char *name = r->table->list[i].name;
        if (wanted(r->params, name) || starts_with(name, r->left) ||
            (r->adaption && lj_safetensors_is_settled(r, name)))
            continue;
        if (surplus++ < SHOWN)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s", at ? ", " : "",
                                   LJ_NAME_MAX, name);
    }
    const char *more = surplus > SHOWN ? ", ..." : "";
    if (surplus > 0 && r->adaption)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: %lld tensors have no place in this encoder: %s%s; its embeddings would "
                       "be others without them",
                       r->path, (long long)surplus, names, more);
    if (surplus > 0)
        lj_warn("%s: %lld tensors are not in the model and were ignored: %s%s", r->path,
                (long long)surplus, names, more);
    return LJ_OK;
}

static bool holds_any(const struct lj_safetensors *table, const char *prefix)
{
    for (int64_t i = 0; i < table->count; i++)
        if (starts_with(table->list[i].name, prefix))
            return true;
    return false;
}

static int read_wanted(const struct lj_safetensors_reading *r, const char *optional_prefix,
                       bool *whole)
{
    bool none_optional = r->left || !holds_any(r->table, optional_prefix);
    *whole = true;
    for (int i = 0; i < r->params->count; i++) {
        const struct lj_param *param = &r->params->list[i];
        const struct lj_safetensor *tensor = lj_safetensors_find(r->table, param->name);
        lj_progress();
        if (none_optional && starts_with(param->name, optional_prefix))
            *whole = false;
        else if (tensor)
            LJ_TRY(read_tensor(r, tensor, param));
        else if (r->adaption && lj_safetensors_is_zero(r, param))
            memset(r->weights + param->offset, 0, (size_t)param->count * sizeof *r->weights);
        else
            return lj_fail(LJ_ERR_CHECKPOINT,
                           "%s: tensor %s is missing; the file must come from the same kind of "
                           "model (timm's names)",
                           r->path, param->name);
    }
    LJ_TRY(answer_surplus(r));
    return r->adaption ? lj_safetensors_finish_adaption(r) : LJ_OK;
}

static int read_images(struct lj_safetensors_reading *r)
{
    char from[LJ_PATH_MAX];
    json_t *config = NULL;
    LJ_TRY(lj_timm_read_config(r->path, from, &config));
    lj_timm_images(&r->images, config);
    json_decref(config);
    return LJ_OK;
}

int lj_safetensors_read_adapted(const char *path, const struct lj_params *params,
                                const char *optional_prefix, bool leave,
                                const struct lj_adaption *adaption, float *weights, bool *whole)
{
    struct lj_safetensors table;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: %s; expected a safetensors file", path,
                       strerror(errno));
    int status = lj_safetensors_open(&table, file, path);
    struct lj_safetensors_reading reading = {.file = file,
                                             .path = path,
                                             .table = &table,
                                             .params = params,
                                             .left = leave ? optional_prefix : NULL,
                                             .adaption = adaption,
                                             .weights = weights};
    if (status == LJ_OK && adaption)
        status = read_images(&reading);
    if (status == LJ_OK)
        status = read_wanted(&reading, optional_prefix, whole);
    lj_safetensors_close(&table);
    close(file);
    return status;
}

int lj_safetensors_read(const char *path, const struct lj_params *params,
                        const char *optional_prefix, float *weights, bool *whole)
{
    return lj_safetensors_read_adapted(path, params, optional_prefix, false, NULL, weights, whole);
}
