/* SPDX-License-Identifier: Apache-2.0 */
/* Named sets of values. Each lists whatever defines its recipe, also where that is the default, so
 * that a changed default does not change a published recipe.
 * Source: LeJEPA (arXiv 2511.08544 v3) and the two recipes published with it. */
#include "base/config/config.h"

#include <string.h>

/* Blur: with a kernel given, sigma is in pixels of the view. Solarize: probability 0.2 of a
 * transform that acts with 0.5. */
static const char *const minimal[] = {
    "model=vit_small",
    "model.patch=8",
    "model.head=512",
    "model.drop_path=0.1",
    "data.size=128",
    "views.global=4",
    "views.local=0",
    "views.global_size=128",
    "views.global_scale=0.08,1",
    "views.flip=0.5",
    "views.jitter=0.8",
    "views.brightness=0.8",
    "views.contrast=0.8",
    "views.saturation=0.8",
    "views.hue=0.2",
    "views.grey=0.2",
    "views.blur=0.5",
    "views.blur_sigma=0.1,2",
    "views.blur_kernel=7",
    "views.solarize=0.1",
    "projector.hidden=2048",
    "projector.layers=3",
    "projector.out=16",
    "projector.norm=batch",
    "loss.lambda=0.02",
    "loss.combine=convex",
    "predict.centre=all",
    "sigreg.slices=256",
    "sigreg.grid=a",
    "batch.size=256",
    "optim.lr=2e-3",
    "optim.lr_floor=1e-3",
    "optim.weight_decay=0.05",
    "optim.decay_on=all",
    "optim.clip=0",
    "optim.warmup_epochs=1",
    "train.epochs=800",
    NULL,
};

static const char *const recipe[] = {
    "views.global=2",
    "views.local=6",
    "views.global_scale=0.3,1",
    "views.local_scale=0.05,0.3",
    "views.flip=0.5",
    "views.jitter=0.8",
    "views.brightness=0.4",
    "views.contrast=0.4",
    "views.saturation=0.2",
    "views.hue=0.1",
    "views.grey=0.2",
    "views.blur=0.5",
    "views.blur_sigma=0.1,2",
    "views.solarize=0.2",
    "projector.hidden=2048",
    "projector.layers=3",
    "projector.out=64",
    "loss.lambda=0.05",
    "loss.combine=convex",
    "predict.centre=auto",
    "sigreg.slices=1024",
    "sigreg.grid=a",
    "optim.lr=5e-4",
    "optim.lr_floor=-1",
    "optim.weight_decay=-1",
    "optim.decay_on=all",
    "optim.clip=0",
    NULL,
};

static const struct lj_preset presets[] = {
    {"minimal",
     "the paper's smallest complete run: ViT-S/8 with a linear head of 512, 4 views of 128 pixels, "
     "lambda 0.02, 800 epochs at batch 256",
     minimal},
    {"recipe",
     "the multi-crop recipe: 2 global and 6 local views, lambda 0.05. Encoder and sizes stay what "
     "they are, so that views follow the archive's images; the published 224 and 98 pixels are "
     "data.size=224 views.local_size=98 model.patch=14",
     recipe},
};
enum { PRESETS = sizeof presets / sizeof presets[0] };

const struct lj_preset *lj_config_presets(int *count)
{
    *count = PRESETS;
    return presets;
}

static const struct lj_preset *find(const char *name)
{
    for (int i = 0; i < PRESETS; i++)
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
    return NULL;
}

static int fail_unknown(const char *name)
{
    char known[256] = "";
    for (int i = 0; i < PRESETS; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? "|" : "", presets[i].name);
    }
    return lj_fail(LJ_ERR_CONFIG, "preset: '%.80s' is not known; expected one of %s", name, known);
}

int lj_config_apply_preset(struct lj_config *config, const char *name)
{
    const struct lj_preset *preset = find(name);
    if (!preset)
        return fail_unknown(name);
    for (int i = 0; preset->values[i]; i++)
        LJ_TRY(lj_config_assign(config, preset->values[i]));
    return lj_config_set(config, "preset", name);
}
