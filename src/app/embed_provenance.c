/* SPDX-License-Identifier: Apache-2.0 */
/* What made a file of embeddings, in its attribute provenance: the checkpoint, the rows, how pixels
 * become numbers, and what rounds in its own way. */
#include "app/embed.h"

#include "kernels/kernels.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static json_t *hex_of(uint64_t value)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)value);
    return json_string(text);
}

/* A name; names of datasets may be no text. */
static json_t *name_of(const char *text)
{
    json_t *string = json_string(text);
    return string ? string : hex_of(XXH3_64bits(text, strlen(text)));
}

static json_t *list_of(const float *values, int count)
{
    json_t *list = json_array();
    for (int c = 0; c < count; c++)
        json_array_append_new(list, json_real((double)values[c]));
    return list;
}

/* Of all settings that results depend on. */
static uint64_t settings_hash(const struct lj_config *config)
{
    char text[LJ_TEXT_MAX];
    int count = 0;
    uint64_t hash = 0;
    const struct lj_key *keys = lj_config_keys(&count);
    for (int i = 0; i < count; i++) {
        if (keys[i].role != LJ_KEY_BITS)
            continue;
        lj_config_value_text(config, &keys[i], text, sizeof text);
        hash = XXH3_64bits_withSeed(keys[i].name, strlen(keys[i].name), hash);
        hash = XXH3_64bits_withSeed(text, strlen(text), hash);
    }
    return hash;
}

static json_t *normalisation(const struct lj_embed_job *job)
{
    const struct lj_archive_info *info = lj_archive_info(job->archive);
    const struct lj_limits *limits = lj_archive_limits(job->archive);
    const struct lj_config *config = job->config;
    json_t *object =
        json_pack("{s:o, s:o, s:s, s:f}", "mean", list_of(job->embedder->mean, info->channels),
                  "std", list_of(job->embedder->std, info->channels), "stretch",
                  lj_data_stretch_word(config->data_stretch), "full_scale",
                  lj_pixel_divisor(info->type, config->data_full_scale));
    if (object && limits) {
        json_object_set_new(object, "low", list_of(limits->low, info->channels));
        json_object_set_new(object, "high", list_of(limits->high, info->channels));
    }
    return object;
}

static json_t *provenance(const struct lj_embed_job *job)
{
    const struct lj_matmul matmul = {.batch = 1, .m = 1, .n = 1, .k = 1};
    const struct lj_archive_info *info = lj_archive_info(job->archive);
    const struct lj_embedder *e = job->embedder;
    const struct lj_config *c = job->config;
    size_t bytes = (size_t)e->model->params.elements * sizeof *e->weights;
    char libraries[128];
    lj_matmul_libraries(libraries, sizeof libraries);
    return json_pack(
        "{s:s, s:s, s:I, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:f, s:s, s:o, s:o, s:s, s:s, s:s}",
        "program", "lejepa_mpi " LJ_VERSION, "checkpoint", c->arg_checkpoint, "step",
        (json_int_t)job->pretrained->step, "weights",
        job->pretrained->averaged ? "average" : "last", "weights_xxh3",
        hex_of(XXH3_64bits(e->weights, bytes)), "features", lj_arg_features_word(c->arg_features),
        "archive", c->data_archive, "archive_fingerprint", hex_of(info->fingerprint), "images",
        name_of(info->images), "labels", name_of(info->labels), "unlabelled", c->data_unlabelled,
        "where", c->data_where, "normalisation", normalisation(job), "settings_xxh3",
        hex_of(settings_hash(c)), "kernels", lj_isa_name(lj_isa_selected()), "matmuls",
        lj_matmul_backend(&matmul), "libraries", libraries);
}

/* Which views were projected. */
static void add_views(json_t *object, const struct lj_config *c)
{
    json_object_set_new(object, "views_global", json_integer(c->views_global));
    json_object_set_new(object, "views_local", json_integer(c->views_local));
    json_object_set_new(object, "seed", json_integer(c->seed));
}

char *lj_embed_provenance(const struct lj_embed_job *job)
{
    json_t *object = provenance(job);
    if (object && job->embedder->projections)
        add_views(object, job->config);
    if (object && job->embedder->layers == 2)
        json_object_set_new(object, "layers", json_integer(2));
    size_t length = object ? json_dumpb(object, NULL, 0, JSON_COMPACT) : 0;
    char *text = length > 0 ? lj_alloc(length + 1, "provenance") : NULL;
    if (text)
        json_dumpb(object, text, length, JSON_COMPACT);
    else if (length == 0)
        lj_fail(LJ_ERR_RESOURCE, "what made the embeddings cannot be noted");
    json_decref(object);
    return text;
}
