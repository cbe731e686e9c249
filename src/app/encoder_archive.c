/* SPDX-License-Identifier: Apache-2.0 */
/* An archive for an encoder that a run has trained: read as the run read its own. */
#include "app/app.h"

#include "eval/eval.h"
#include "train/train.h"

/* How the run read its data, then what the words say. merged comes with the words on defaults: an
 * archive in them is another one and does not inherit the run's names. */
static int merge(struct lj_config *merged, const struct lj_config *run,
                 const struct lj_call_words *words)
{
    bool another = merged->data_archive[0] != 0;
    double unlabelled = merged->data_unlabelled;
    *merged = *run;
    if (another) {
        merged->data_images[0] = merged->data_labels[0] = merged->data_where[0] = 0;
        merged->data_axes = LJ_DATA_AXES_AUTO;
        merged->data_unlabelled = unlabelled;
    }
    return lj_config_apply_words(merged, words->word, words->count);
}

static bool same_stretch(const struct lj_config *one, const struct lj_config *other)
{
    return one->data_stretch == other->data_stretch &&
           one->data_stretch_scale == other->data_stretch_scale;
}

/* The encoder has learned of pixels as they were after the run's stretch. Raw pixels may have
 * another, then with limits of the rows at hand. */
static int check_stretch(const struct lj_config *config, const struct lj_pretrained *pretrained,
                         bool pixels)
{
    const struct lj_config *run = &pretrained->config;
    bool same = same_stretch(config, run);
    if (!same && !pixels)
        return lj_fail(LJ_ERR_CONFIG,
                       "data.stretch=%s data.stretch_scale=%g: the encoder was trained with %s and "
                       "%g; leave the settings out",
                       lj_data_stretch_word(config->data_stretch), config->data_stretch_scale,
                       lj_data_stretch_word(run->data_stretch), run->data_stretch_scale);
    if (same && config->data_stretch == LJ_DATA_STRETCH_PERCENTILE && !pretrained->has_limits)
        return lj_fail(LJ_ERR_CHECKPOINT,
                       "the run stretched by percentiles, but its checkpoint, of an older version, "
                       "does not hold them; continue the run, so that it writes another");
    return LJ_OK;
}

int lj_open_for_encoder(struct lj_comm *comm, const struct lj_pretrained *pretrained,
                        struct lj_config *config, const struct lj_call_words *words, bool pixels,
                        struct lj_archive **archive)
{
    bool chosen = config->data_full_scale > 0; /* for this archive, not for the run's */
    int status = merge(config, &pretrained->config, words);
    if (status == LJ_OK)
        status = check_stretch(config, pretrained, pixels);
    LJ_TRY(lj_agree(comm, status));
    struct lj_archive_options options = lj_archive_options_of(config);
    if (same_stretch(config, &pretrained->config) && pretrained->has_limits)
        options.limits = &pretrained->limits;
    LJ_TRY(lj_archive_open(archive, comm, &options));
    if (pixels)
        return LJ_OK;
    return lj_pretrained_check_pixels(pretrained, comm, *archive, chosen);
}
