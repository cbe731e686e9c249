/* SPDX-License-Identifier: Apache-2.0 */
/* What timm wants to know of an encoder besides its tensors, in the form of its hub repositories:
 *
 *     {"architecture": ..., "num_classes": ..., "num_features": ..., "global_pool": ...,
 *      "model_args": {...},
 *      "pretrained_cfg": {"input_size": [C, H, W], "mean": [...], "std": [...], ...},
 *      "lejepa_mpi": {"version": ..., "step": ...,
 *                     "pixels": {"type": ..., "divided_by": ..., "stretch": ...,
 *                                "low": [...], "high": [...]}}}
 *
 * The stretch takes pixels as they are once they are divided, and so do its limits low and high,
 * which are there if it has any: percentile maps them to 0 and 1, asinh maps x to asinh(x / high).
 * All this stands as config.json beside the weights, where timm looks, and in the metadata of the
 * weights' file, which goes where the file goes. Metadata are strings: what is no string is one of
 * JSON. Format: github.com/huggingface/pytorch-image-models, timm/models/_hub.py. */
#include "store/publish.h"
#include "store/safetensors/header.h"
#include "store/timm.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- writing ----------------------------------------------------------------------------- */

static json_t *numbers(const double *values, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(array, json_real(values[i]));
    return array;
}

/* What timm's data transforms and loader read. */
static json_t *pretrained_cfg(const struct lj_timm_config *c)
{
    json_int_t size = c->size;
    return json_pack("{s:[i, I, I], s:b, s:s, s:f, s:s, s:o, s:o, s:I, s:n, s:s, s:s}",
                     "input_size", c->channels, size, size, "fixed_input_size", !c->any_size,
                     "interpolation", "bilinear", "crop_pct", 1.0, "crop_mode", "center", "mean",
                     numbers(c->mean, c->channels), "std", numbers(c->std, c->channels),
                     "num_classes", (json_int_t)c->classes, "pool_size", "first_conv",
                     c->first_conv, "classifier", c->classifier);
}

/* How stored pixels become those that mean and std are of. */
static json_t *pixels_config(const struct lj_timm_config *c)
{
    json_t *pixels =
        json_pack("{s:s, s:o, s:s}", "type", c->pixels, "divided_by",
                  c->divisor > 0 ? json_real(c->divisor) : json_null(), "stretch", c->stretch);
    if (c->low && c->high) {
        json_object_set_new(pixels, "low", numbers(c->low, c->channels));
        json_object_set_new(pixels, "high", numbers(c->high, c->channels));
    }
    return pixels;
}

static json_t *whole_config(const struct lj_timm_config *c)
{
    json_t *object = json_object();
    if (c->architecture[0])
        json_object_set_new(object, "architecture", json_string(c->architecture));
    json_object_set_new(object, "num_classes", json_integer(c->classes));
    json_object_set_new(object, "num_features", json_integer(c->features));
    json_object_set_new(object, "global_pool", json_string(c->pool));
    if (c->arguments[0])
        json_object_set_new(object, "model_args", json_loads(c->arguments, 0, NULL));
    json_object_set_new(object, "pretrained_cfg", pretrained_cfg(c));
    json_object_set_new(object, LJ_TIMM_OURS,
                        json_pack("{s:s, s:I, s:o}", "version", LJ_VERSION, "step",
                                  (json_int_t)c->step, "pixels", pixels_config(c)));
    return object;
}

char *lj_timm_text_of(const json_t *value, size_t flags)
{
    size_t length = json_dumpb(value, NULL, 0, flags);
    char *text = length > 0 ? lj_alloc(length + 1, "timm configuration") : NULL;
    if (text)
        json_dumpb(value, text, length, flags);
    else
        lj_fail(LJ_ERR_RESOURCE, "out of memory: timm configuration");
    return text;
}

char *lj_timm_metadata(const struct lj_timm_config *config)
{
    json_t *object = whole_config(config), *value, *strings = json_pack("{s:s}", "format", "pt");
    const char *key;
    json_object_foreach(object, key, value)
    {
        char *text = json_is_string(value) ? NULL : lj_timm_text_of(value, JSON_ENCODE_ANY);
        json_object_set_new(strings, key, json_string(text ? text : json_string_value(value)));
        lj_free(text);
    }
    char *text = lj_timm_text_of(strings, 0);
    json_decref(strings);
    json_decref(object);
    return text;
}

/* config.json in the directory of path. */
static int config_path(char file[LJ_PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    int length = slash ? (int)(slash - path) + 1 : 0;
    if (snprintf(file, LJ_PATH_MAX, "%.*sconfig.json", length, path) < LJ_PATH_MAX)
        return LJ_OK;
    return lj_fail(LJ_ERR_RESOURCE, "%s: path longer than %d bytes; choose a shorter one", path,
                   LJ_PATH_MAX - 12);
}

int lj_timm_check_place(const char *path)
{
    char file[LJ_PATH_MAX];
    LJ_TRY(config_path(file, path));
    if (access(file, F_OK) != 0)
        return LJ_OK;
    json_t *there = json_load_file(file, 0, NULL);
    bool ours = json_object_get(there, LJ_TIMM_OURS) != NULL;
    json_decref(there);
    if (ours)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "%s: is not of lejepa_mpi, and an export would replace it; choose an out= in a "
                   "directory of its own",
                   file);
}

int lj_timm_write(const char *path, const struct lj_timm_config *config)
{
    char file[LJ_PATH_MAX];
    LJ_TRY(config_path(file, path));
    json_t *object = whole_config(config);
    int status = lj_json_write(file, object, 17);
    json_decref(object);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* A string of metadata as the JSON value it holds, else as itself. */
static json_t *value_of(const json_t *string)
{
    const char *text = json_string_value(string);
    json_t *value = text && text[0] == '{' ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    return value ? value : json_incref((json_t *)string);
}

/* The configuration in the metadata of a safetensors file; *config NULL: it has none. */
static int read_metadata(const char *path, json_t **config)
{
    struct lj_safetensors table;
    json_t *value;
    const char *key;
    *config = NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return lj_fail(LJ_ERR_CHECKPOINT, "%s: %s; expected a safetensors file", path,
                       strerror(errno));
    int status = lj_safetensors_open(&table, file, path);
    json_t *metadata = json_object_get(table.json, "__metadata__");
    if (status == LJ_OK && json_object_get(metadata, "pretrained_cfg")) {
        *config = json_object();
        json_object_foreach(metadata, key, value)
            json_object_set_new(*config, key, value_of(value));
    }
    lj_safetensors_close(&table);
    close(file);
    return status;
}

/* config.json beside the file; *config NULL: there is none. */
static int read_beside(const char *path, char file[LJ_PATH_MAX], json_t **config)
{
    json_error_t error;
    *config = NULL;
    LJ_TRY(config_path(file, path));
    if (access(file, F_OK) != 0)
        return LJ_OK;
    *config = json_load_file(file, JSON_REJECT_DUPLICATES, &error);
    if (*config)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT, "%s: not JSON: %s (line %d); repair it or move it away", file,
                   error.text, error.line);
}

/* Numbers of a list, one for each channel; least: all are above it. */
static int read_numbers(const char *from, const char *name, const json_t *list, int channels,
                        double least, double *values)
{
    if (json_array_size(list) != (size_t)channels)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: has %zu numbers as %s, expected one for each of %d channels", from,
                       json_array_size(list), name, channels);
    for (int c = 0; c < channels; c++) {
        const json_t *number = json_array_get(list, (size_t)c);
        values[c] = json_number_value(number);
        if (!json_is_number(number) || !(values[c] > least && isfinite((float)values[c])))
            return lj_fail(LJ_ERR_CHECKPOINT, "%s: has no usable number as %s of channel %d", from,
                           name, c);
    }
    return LJ_OK;
}

static bool all_equal(const json_t *list)
{
    for (size_t i = 1; i < json_array_size(list); i++)
        if (!json_equal(json_array_get(list, i), json_array_get(list, 0)))
            return false;
    return true;
}

/* Of images with other channels than ours? */
static bool is_of_others(const json_t *mean, const json_t *std, int channels)
{
    size_t count = json_array_size(mean);
    return count > 0 && count == json_array_size(std) && count != (size_t)channels;
}

/* A number for each of our channels, where the file has the same one for all of its own. */
static json_t *repeat(const json_t *list, int channels)
{
    json_t *repeated = json_array();
    for (int c = 0; c < channels; c++)
        json_array_append(repeated, json_array_get(list, 0));
    return repeated;
}

/* mean and std of a file whose images have other channels. */
static int read_of_others(const json_t *mean, const json_t *std, int channels,
                          struct lj_timm_pixels *pixels)
{
    pixels->others = (int64_t)json_array_size(mean);
    if (!all_equal(mean) || !all_equal(std))
        return LJ_OK;
    json_t *means = repeat(mean, channels), *stds = repeat(std, channels);
    int status = read_numbers(pixels->from, "mean", means, channels, -INFINITY, pixels->mean);
    if (status == LJ_OK)
        status = read_numbers(pixels->from, "std", stds, channels, 0, pixels->std);
    json_decref(means);
    json_decref(stds);
    pixels->found = status == LJ_OK;
    return status;
}

static int read_pixels(const json_t *config, int channels, struct lj_timm_pixels *pixels)
{
    const json_t *cfg = json_object_get(config, "pretrained_cfg");
    if (!json_is_object(cfg))
        cfg = config; /* an older form: everything in one object */
    const json_t *mean = json_object_get(cfg, "mean"), *std = json_object_get(cfg, "std");
    if (!mean || !std)
        return LJ_OK;
    const json_t *ours = json_object_get(json_object_get(config, LJ_TIMM_OURS), "pixels");
    const char *stretch = json_string_value(json_object_get(ours, "stretch"));
    pixels->ours = ours != NULL;
    snprintf(pixels->stretch, sizeof pixels->stretch, "%s", stretch ? stretch : "none");
    if (is_of_others(mean, std, channels))
        return read_of_others(mean, std, channels, pixels);
    LJ_TRY(read_numbers(pixels->from, "mean", mean, channels, -INFINITY, pixels->mean));
    LJ_TRY(read_numbers(pixels->from, "std", std, channels, 0, pixels->std));
    const json_t *low = json_object_get(ours, "low"), *high = json_object_get(ours, "high");
    pixels->has_limits = low && high;
    if (pixels->has_limits) {
        LJ_TRY(read_numbers(pixels->from, "low", low, channels, -INFINITY, pixels->low));
        double least = strcmp(pixels->stretch, "asinh") == 0 ? 0 : -INFINITY;
        LJ_TRY(read_numbers(pixels->from, "high", high, channels, least, pixels->high));
    }
    pixels->found = true;
    return LJ_OK;
}

int lj_timm_read_config(const char *path, char from[LJ_PATH_MAX], json_t **config)
{
    snprintf(from, LJ_PATH_MAX, "%s", path);
    LJ_TRY(read_metadata(path, config));
    return *config ? LJ_OK : read_beside(path, from, config);
}

int lj_timm_read(const char *path, int channels, struct lj_timm_pixels *pixels)
{
    json_t *config = NULL;
    pixels->found = false;
    pixels->others = 0;
    int status = lj_timm_read_config(path, pixels->from, &config);
    if (status == LJ_OK && config)
        status = read_pixels(config, channels, pixels);
    json_decref(config);
    return status;
}
