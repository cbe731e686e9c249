/* SPDX-License-Identifier: Apache-2.0 */
/* Which encoder a file of timm holds: settings from the names and shapes of its tensors. */
#include "models/encoders.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct lj_tensor *lj_find_tensor(const struct lj_encoder_file *file, const char *format, ...)
{
    char name[LJ_NAME_MAX];
    va_list words;
    va_start(words, format);
    vsnprintf(name, sizeof name, format, words);
    va_end(words);
    for (int64_t i = 0; i < file->tensors; i++)
        if (strcmp(file->tensor[i].name, name) == 0)
            return &file->tensor[i];
    return NULL;
}

int lj_expect_tensor(const struct lj_encoder_file *file, const char *name, int dims,
                     const struct lj_tensor **tensor)
{
    *tensor = lj_find_tensor(file, "%s", name);
    if (!*tensor)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: tensor %s is missing; the file must come from the same kind of model "
                       "(timm's names)",
                       file->path, name);
    if ((*tensor)->dims == dims)
        return LJ_OK;
    return lj_fail(LJ_ERR_CHECKPOINT, "%s: tensor %s has %d axes, expected %d", file->path, name,
                   (*tensor)->dims, dims);
}

int lj_count_blocks(const struct lj_encoder_file *file, const char *stage, const char *tensor,
                    int64_t most, int64_t *blocks)
{
    for (*blocks = 0; lj_find_tensor(file, "%s.%lld.%s", stage, (long long)*blocks, tensor);)
        if (++*blocks > most)
            return lj_fail(LJ_ERR_CHECKPOINT, "%s: its encoder has more than %lld %s.* with %s",
                           file->path, (long long)most, stage, tensor);
    return LJ_OK;
}

int lj_refuse_encoder(const struct lj_encoder_file *file, const char *why)
{
    return lj_fail(LJ_ERR_CHECKPOINT, "%s: its encoder%s%s %s; this program has none of that kind",
                   file->path, file->architecture[0] ? " " : "", file->architecture, why);
}

int lj_take_text(struct lj_config *settings, const char *name, const char *value)
{
    return lj_config_is_given(settings, name) ? LJ_OK : lj_config_set(settings, name, value);
}

int lj_take_number(struct lj_config *settings, const char *name, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return lj_take_text(settings, name, text);
}

int lj_take_size(struct lj_config *settings, int64_t size)
{
    if (size == 0 || lj_config_is_given(settings, "views.global_size"))
        return LJ_OK;
    return lj_take_number(settings, "data.size", size);
}

/* ---- which family ------------------------------------------------------------------------ */

/* The family whose mark the file has; NULL: none. */
static const struct lj_encoder_family *find_family(const struct lj_encoder_file *file)
{
    int rows;
    const struct lj_encoder *encoders = lj_encoders(&rows);
    for (int i = 0; i < rows; i++)
        if (encoders[i].family->mark && lj_find_tensor(file, "%s", encoders[i].family->mark))
            return encoders[i].family;
    return NULL;
}

int lj_encoder_recognise(const struct lj_encoder_file *file, struct lj_config *settings)
{
    const struct lj_encoder *encoder;
    const struct lj_encoder_family *family = find_family(file);
    bool given = lj_config_is_given(settings, "model");
    LJ_TRY(lj_encoder_find(settings->model, &encoder));
    if (given && !encoder->family->mark)
        return LJ_OK; /* nothing is known of such files */
    if (!family)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: no encoder of this program: none of its tensors has a name by which "
                       "timm's ViT, ResNet and ConvNeXt are known, such as %s",
                       file->path, lj_family_vit.mark);
    if (given && family != encoder->family)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "%s: has tensor %s, so it is no model=%s; leave model= out to have it found",
                       file->path, family->mark, settings->model);
    LJ_TRY(family->recognise(file, !given, settings));
    if (!file->architecture[0] && !file->ours)
        lj_warn("%s: nothing names its architecture: taken as a plain %s of timm; what shows in no "
                "tensor may differ, such as activations, pooling and antialiasing",
                file->path, family->name);
    return LJ_OK;
}
