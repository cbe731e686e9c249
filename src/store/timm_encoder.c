/* SPDX-License-Identifier: Apache-2.0 */
/* What a file of timm says of its encoder: by its tensors, and by the configuration in its metadata
 * or beside it. */
#include "store/safetensors/header.h"
#include "store/timm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Arguments of timm's functions that show in tensors, in sizes that are adapted, or only while
 * training; and those that are compared. */
static const char *const known[] = {"attn_drop_rate",
                                    "class_token",
                                    "conv_mlp",
                                    "depth",
                                    "depths",
                                    "dims",
                                    "drop_path_rate",
                                    "drop_rate",
                                    "dynamic_img_pad",
                                    "dynamic_img_size",
                                    "embed_dim",
                                    "fc_norm",
                                    "global_pool",
                                    "img_size",
                                    "in_chans",
                                    "init_values",
                                    "layers",
                                    "ls_init_value",
                                    "mlp_ratio",
                                    "no_embed_class",
                                    "num_classes",
                                    "num_heads",
                                    "patch_drop_rate",
                                    "patch_size",
                                    "pos_drop_rate",
                                    "pre_norm",
                                    "proj_drop_rate",
                                    "qkv_bias",
                                    "qk_norm",
                                    "reg_tokens",
                                    "strict_img_size",
                                    "use_grn",
                                    "weight_init",
                                    "zero_init_last",
                                    NULL};
static const char *const compared[] = {"global_pool", "num_heads", NULL};

/* An argument that is not known may change what the tensors compute. */
static int check_known(const char *from, const json_t *arguments)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)arguments, key, value)
    {
        if (!lj_is_one_of(key, known))
            return lj_fail(LJ_ERR_CHECKPOINT,
                           "%s: its encoder was made with the argument %.64s, which this program "
                           "does not know; if it changes nothing, remove it there",
                           from, key);
    }
    return LJ_OK;
}

/* Compares the arguments that both have. */
static int compare_arguments(const char *from, const json_t *theirs, const json_t *ours,
                             bool adapted)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)ours, key, value)
    {
        const json_t *other = json_object_get(theirs, key);
        if (!other || json_equal(other, value) || (adapted && !lj_is_one_of(key, compared)) ||
            (json_is_number(other) && json_number_value(other) == json_number_value(value)))
            continue;
        char *has = lj_timm_text_of(other, JSON_ENCODE_ANY);
        char *wants = lj_timm_text_of(value, JSON_ENCODE_ANY);
        int status = lj_fail(LJ_ERR_CHECKPOINT,
                             "%s: its encoder has %s %s, this configuration's has %s; choose "
                             "model.* as the file wants",
                             from, key, has ? has : "?", wants ? wants : "?");
        lj_free(has);
        lj_free(wants);
        return status;
    }
    return LJ_OK;
}

int lj_timm_check_arguments(const char *path, const char *arguments, bool adapted)
{
    json_t *config = NULL, *ours = json_loads(arguments, 0, NULL);
    char from[LJ_PATH_MAX];
    int status = lj_timm_read_config(path, from, &config);
    const json_t *theirs = json_object_get(config, "model_args");
    if (status == LJ_OK && adapted)
        status = check_known(from, theirs);
    if (status == LJ_OK)
        status = compare_arguments(from, theirs, ours, adapted);
    json_decref(config);
    json_decref(ours);
    return status;
}

/* ---- what it is -------------------------------------------------------------------------- */

static void copy_text(char *text, size_t capacity, const json_t *value)
{
    const char *string = json_string_value(value);
    snprintf(text, capacity, "%s", string ? string : "");
}

/* The pool: timm takes an argument, else that of pretrained_cfg; what stands at the top is that of
 * the encoder when it was saved. */
static const json_t *pool_of(const json_t *config, const json_t *cfg, const json_t *arguments)
{
    const json_t *pool = json_object_get(arguments, "global_pool");
    if (!pool)
        pool = json_object_get(cfg, "global_pool");
    return pool ? pool : json_object_get(config, "global_pool");
}

static void take_config(struct lj_timm_encoder *encoder, const json_t *config)
{
    const json_t *cfg = json_object_get(config, "pretrained_cfg");
    const json_t *arguments = json_object_get(config, "model_args");
    if (!json_is_object(cfg))
        cfg = config; /* an older form: everything in one object */
    copy_text(encoder->architecture, sizeof encoder->architecture,
              json_object_get(config, "architecture"));
    copy_text(encoder->pool, sizeof encoder->pool, pool_of(config, cfg, arguments));
    encoder->heads = lj_max_i64(json_integer_value(json_object_get(arguments, "num_heads")), 0);
    encoder->ours = json_object_get(config, LJ_TIMM_OURS) != NULL;
}

static int take_tensors(struct lj_timm_encoder *encoder, const struct lj_safetensors *table)
{
    encoder->tensor = lj_alloc_array(table->count, sizeof *encoder->tensor, "imported tensors");
    if (!encoder->tensor)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < table->count; i++) {
        struct lj_tensor *tensor = &encoder->tensor[encoder->tensors++];
        snprintf(tensor->name, sizeof tensor->name, "%s", table->list[i].name);
        tensor->dims = table->list[i].dims;
        memcpy(tensor->dim, table->list[i].dim, sizeof tensor->dim);
    }
    return LJ_OK;
}

/* The size of the images, from pos_embed where the configuration does not say it. */
static int take_size(struct lj_timm_encoder *encoder, const struct lj_timm_images *images,
                     const char *path, const struct lj_safetensors *table)
{
    const struct lj_safetensor *pos = lj_safetensors_find(table, "pos_embed");
    const struct lj_safetensor *patch = lj_safetensors_find(table, "patch_embed.proj.weight");
    const struct lj_safetensor *registers = lj_safetensors_find(table, "reg_token");
    encoder->size = images->size;
    encoder->oblong = images->oblong;
    if (!pos || pos->dims != 3 || !patch || patch->dims != 4)
        return LJ_OK;
    int64_t prefix = 1 + (registers && registers->dims == 3 ? registers->dim[1] : 0), first, side;
    LJ_TRY(lj_timm_find_positions(path, images, pos->dim[1], prefix, patch->dim[2], &first, &side));
    if (encoder->size == 0)
        encoder->size = side * patch->dim[2];
    return LJ_OK;
}

int lj_timm_read_encoder(const char *path, struct lj_timm_encoder *encoder)
{
    struct lj_safetensors table;
    struct lj_timm_images images;
    json_t *config = NULL;
    *encoder = (struct lj_timm_encoder){.heads = 0};
    LJ_TRY(lj_timm_read_config(path, encoder->from, &config));
    if (config)
        take_config(encoder, config);
    lj_timm_images(&images, config);
    json_decref(config);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: %s; expected a safetensors file", path,
                       strerror(errno));
    int status = lj_safetensors_open(&table, file, path);
    if (status == LJ_OK)
        status = take_tensors(encoder, &table);
    if (status == LJ_OK)
        status = take_size(encoder, &images, path, &table);
    lj_safetensors_close(&table);
    close(file);
    return status;
}

void lj_timm_encoder_free(struct lj_timm_encoder *encoder)
{
    lj_free(encoder->tensor);
    *encoder = (struct lj_timm_encoder){.heads = 0};
}
