/* SPDX-License-Identifier: Apache-2.0 */
/* Named sets of values. Each lists whatever defines its recipe, also where that is the default, so
 * that a changed default does not change a published recipe.
 * Source of minimal and recipe: LeJEPA (arXiv 2511.08544 v3) and the two recipes published with it.
 *
 * Those of a field change views alone, and have not been measured here: they leave what has no
 * meaning in the images of the field, such as which way is up, and keep what has one. In common:
 * - An image has no upper side: flips both ways and rotations. Quarter turns copy pixels; rotations
 *   by any angle interpolate, which costs more than all the rest of a view.
 * - Shape is measured, so crops keep the aspect ratio, or nearly.
 * - No solarizing: values are not inverted by any instrument.
 * - Grey makes colour useless to the encoder, where colour tells classes. */
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

/* Stains and lamps differ between laboratories (brightness, contrast, a little saturation), and
 * fluorescent channels each from plate to plate (intensity, which tints RGB slightly); focus
 * differs (blur). Hue is that of a stain, and tells cells apart. */
static const char *const microscopy[] = {
    "views.ratio=0.9,1.1111111111111112",
    "views.flip=0.5",
    "views.flip_vertical=0.5",
    "views.rotate=0.75",
    "views.jitter=0.8",
    "views.brightness=0.4",
    "views.contrast=0.4",
    "views.saturation=0.2",
    "views.hue=0.02",
    "views.grey=0",
    "views.solarize=0",
    "views.blur=0.5",
    "views.blur_sigma=0.1,2",
    "views.noise=0.5",
    "views.noise_sigma=0.1",
    "views.intensity=0.5",
    "views.band_dropout=0",
    NULL,
};

/* Flips, any angle, blur by the seeing, noise and extinction are the augmentations of Stein et al.
 * (2022; github.com/georgestein/ssl-legacysurvey, decals_augmentations.py), and of Hayat et al.
 * (2021) but for the blur. Their crops are 96 of 152 pixels, 0.4 of the area, almost centred: a
 * galaxy stays in the view, and its size on the sky has a meaning; our global crops begin there.
 * Seeing adds up to about 2 pixels of 96, which are 4.5 of 224. Each band has an extinction of its
 * own, for which intensity stands. Ratios are 1: they would change ellipticities. Colours tell
 * type and redshift. */
static const char *const astronomy[] = {
    "views.global_scale=0.4,1",
    "views.local_scale=0.1,0.4",
    "views.ratio=1,1",
    "views.flip=0.5",
    "views.flip_vertical=0.5",
    "views.rotate=0",
    "views.rotate_any=1",
    "views.jitter=0",
    "views.grey=0",
    "views.solarize=0",
    "views.blur=0.5",
    "views.blur_sigma=0.1,4.5",
    "views.noise=0.5",
    "views.noise_sigma=0.1",
    "views.intensity=0.5",
    "views.band_dropout=0",
    NULL,
};

/* Micrographs: brightness and contrast are those of a detector (intensity), noise that of its dwell
 * time, blur that of its focus. Where a direction is that of rolling or growth, turn rotations
 * off. Magnification has a meaning, so that local crops are not the smallest. */
static const char *const materials[] = {
    "views.global_scale=0.3,1",
    "views.local_scale=0.1,0.3",
    "views.ratio=0.9,1.1111111111111112",
    "views.flip=0.5",
    "views.flip_vertical=0.5",
    "views.rotate=0",
    "views.rotate_any=1",
    "views.jitter=0",
    "views.grey=0",
    "views.solarize=0",
    "views.blur=0.5",
    "views.blur_sigma=0.1,2",
    "views.noise=0.5",
    "views.noise_sigma=0.2",
    "views.intensity=0.8",
    "views.band_dropout=0",
    NULL,
};

/* Crops, brightness, contrast, blur and dropped bands as SSL4EO-S12 has them (Wang et al. 2023;
 * github.com/zhu-xlab/SSL4EO-S12, pretrain_moco_v2_s2c.py): half of the views lose 1 to 6 of 13
 * bands, 0.13 of the bands. It jitters all bands alike, where intensity draws each: haze and gains
 * differ by band. Its greyscale is left out, as indices made of bands tell what grows there. */
static const char *const remote_sensing[] = {
    "views.global_scale=0.2,1",
    "views.ratio=0.75,1.3333333333333333",
    "views.flip=0.5",
    "views.flip_vertical=0.5",
    "views.rotate=0.75",
    "views.jitter=0.8",
    "views.brightness=0.4",
    "views.contrast=0.4",
    "views.saturation=0",
    "views.hue=0",
    "views.grey=0",
    "views.solarize=0",
    "views.blur=0.5",
    "views.blur_sigma=0.1,2",
    "views.noise=0",
    "views.intensity=0.8",
    "views.band_dropout=0.13",
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
    {"microscopy",
     "views of cells and tissue: flips both ways, quarter turns, brightness and contrast of stains "
     "and channels, focus; hardly any change of hue, no grey",
     microscopy},
    {"astronomy",
     "views of the sky: any angle, flips both ways, seeing, noise, the brightness of each band; "
     "aspect ratio and colours are kept; see data.stretch, too",
     astronomy},
    {"materials",
     "views of micrographs: any angle, flips both ways, brightness and contrast, noise, focus",
     materials},
    {"remote_sensing",
     "views from above: flips both ways, quarter turns, the brightness of each band, dropped bands",
     remote_sensing},
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

static int apply(struct lj_config *config, const char *name)
{
    const struct lj_preset *preset = find(name);
    if (!preset)
        return fail_unknown(name);
    for (int i = 0; preset->values[i]; i++)
        LJ_TRY(lj_config_assign(config, preset->values[i]));
    return LJ_OK;
}

int lj_config_apply_preset(struct lj_config *config, const char *names)
{
    for (const char *at = names;; at++) {
        char name[128];
        int length = (int)strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", length, at);
        LJ_TRY(apply(config, name));
        at += length;
        if (*at == 0)
            return lj_config_set(config, "preset", names);
    }
}
