/* SPDX-License-Identifier: Apache-2.0 */
/* import: a checkpoint of step 0 whose encoder comes from safetensors with timm's names, and whose
 * pixels are normalised as the file says. */
#include "app/app.h"

#include "lejepa/runtime.h"

#include "data/data.h"
#include "eval/eval.h"
#include "run/run.h"
#include "store/store.h"
#include "train/train.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* A run that already has checkpoints would go on from those, and rotation would evict some. */
static int check_place(const char *run, const char *dir)
{
    char last[LJ_PATH_MAX];
    LJ_TRY(lj_checkpoint_last(dir, last));
    if (last[0])
        return lj_fail(LJ_ERR_CONFIG, "%s: already holds %s; import into a new directory", run,
                       last);
    return LJ_OK;
}

/* The directories of the new run; last, so that a failing import leaves nothing behind. */
static int make_place(const char *run, const char *dir)
{
    if ((mkdir(run, 0777) != 0 && errno != EEXIST) || (mkdir(dir, 0777) != 0 && errno != EEXIST))
        return lj_fail(LJ_ERR_RESOURCE, "%s: cannot be made: %s; choose another out=", dir,
                       strerror(errno));
    return LJ_OK;
}

/* How pixels are normalised, if the file says it. The same on all ranks. */
struct normalisation {
    bool found;
    float mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX]; /* of pixels as this archive gives them */
    bool has_limits;
    struct lj_limits limits; /* of the stretch */
};

/* Does the file speak of pixels after the stretch of this configuration, so that its numbers can be
 * taken? An asinh without limits was one of pixels as they are. */
static bool same_stretch(const struct lj_config *config, const struct lj_archive_info *info,
                         const struct lj_timm_pixels *pixels)
{
    bool asinh = config->data_stretch == LJ_DATA_STRETCH_ASINH, same = true;
    if (strcmp(pixels->stretch, lj_data_stretch_word(config->data_stretch)) != 0 ||
        (config->data_stretch == LJ_DATA_STRETCH_PERCENTILE && !pixels->has_limits))
        return false;
    for (int c = 0; c < info->channels && asinh && config->data_stretch_scale > 0; c++)
        same = same && (float)config->data_stretch_scale ==
                           (pixels->has_limits ? (float)pixels->high[c] : 1.0f);
    return same;
}

/* Numbers separated by commas, one for each channel; least: all are above it. */
static int read_list(const char *name, const char *text, int channels, double least, double *values)
{
    bool good = lj_read_numbers(text, channels, values) == channels;
    for (int c = 0; c < channels; c++)
        good = good && isfinite((float)values[c]) && values[c] > least;
    if (good)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "%s=: expected %d numbers separated by commas, one for each channel%s", name,
                   channels, least == 0 ? ", above 0" : "");
}

/* mean= and std=, which stand for pixels as this configuration stretches them. */
static int read_given(const struct lj_config *config, int channels, struct lj_timm_pixels *pixels)
{
    LJ_TRY(read_list("mean", config->arg_mean, channels, -INFINITY, pixels->mean));
    LJ_TRY(read_list("std", config->arg_std, channels, 0, pixels->std));
    pixels->found = true;
    snprintf(pixels->from, sizeof pixels->from, "mean= and std=");
    return LJ_OK;
}

/* Says whose mean and std are taken, and why. */
static void say_source(const struct lj_config *config, const struct lj_timm_pixels *pixels,
                       bool found, double scale, const char *type)
{
    if (found)
        lj_say("mean and std from %s, multiplied by %.10g for pixels of type %s", pixels->from,
               scale, type);
    else if (pixels->others > 0 && !pixels->found)
        lj_warn("%s: mean and std are of images with %lld channels, and differ between them: those "
                "of the archive are taken",
                pixels->from, (long long)pixels->others);
    else if (!pixels->found)
        lj_say("%s says nothing of mean and std, nor does a config.json beside it: those of the "
               "archive are taken",
               config->arg_weights);
    else
        lj_warn("%s: mean and std are of pixels after data.stretch=%s%s, this configuration has "
                "%s: those of the archive are taken",
                pixels->from, pixels->stretch, pixels->has_limits ? " with limits of its own" : "",
                lj_data_stretch_word(config->data_stretch));
}

/* Numbers that double precision holds may be nothing, or too much, in single precision. */
static int check_floats(const struct normalisation *to, const char *from, int channels, int failure)
{
    for (int c = 0; c < channels; c++)
        if (!(to->std[c] >= FLT_MIN && isfinite(to->std[c]) && isfinite(to->mean[c] / to->std[c])))
            return lj_fail(failure,
                           "%s: mean and std of channel %d leave the range of single precision: "
                           "%g and %g for pixels of this archive",
                           from, c, (double)to->mean[c], (double)to->std[c]);
    return LJ_OK;
}

/* timm's mean and std are of images in 0..1; those of images with a smaller range than 13 bits have
 * in 16 would be all but constant. */
static int check_range(const struct lj_config *config, struct lj_archive *archive, double scale)
{
    static const double least_part = 1.0 / 8;
    float least[LJ_CHANNELS_MAX] = {0}, most[LJ_CHANNELS_MAX];
    for (int c = 0; c < LJ_CHANNELS_MAX; c++)
        most[c] = (float)scale;
    return lj_check_range(archive, least, most, least_part, config->data_full_scale > 0);
}

/* The normalisation of the file, from timm's images 0..1 to pixels as this archive gives them. The
 * archive's own stays where the file says nothing, or speaks of pixels after another stretch. */
static int read_pixels(const struct lj_config *config, struct lj_archive *archive,
                       struct normalisation *to)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    double mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX], low[LJ_CHANNELS_MAX], high[LJ_CHANNELS_MAX];
    struct lj_timm_pixels pixels = {.mean = mean, .std = std, .low = low, .high = high};
    bool given = config->arg_mean[0] || config->arg_std[0];
    if (given)
        LJ_TRY(read_given(config, info->channels, &pixels));
    else
        LJ_TRY(lj_timm_read(config->arg_weights, info->channels, &pixels));
    to->found = given || (pixels.found && same_stretch(config, info, &pixels));
    to->has_limits = !given && to->found && lj_stretch_has_limits(config->data_stretch);
    bool stretched = config->data_stretch != LJ_DATA_STRETCH_NONE;
    double scale = stretched ? 1 : lj_pixel_full_scale(info->type, config->data_full_scale);
    say_source(config, &pixels, to->found, scale, info->type);
    for (int c = 0; c < info->channels && to->found; c++) {
        to->mean[c] = (float)(mean[c] * scale);
        to->std[c] = (float)(std[c] * scale);
        to->limits.low[c] = pixels.has_limits ? (float)low[c] : 0;
        to->limits.high[c] = pixels.has_limits ? (float)high[c] : 1;
    }
    if (!to->found)
        return LJ_OK;
    LJ_TRY(
        check_floats(to, pixels.from, info->channels, given ? LJ_ERR_CONFIG : LJ_ERR_CHECKPOINT));
    return given || stretched || pixels.ours ? LJ_OK : check_range(config, archive, scale);
}

/* Rank 0 reads, all stretch and normalise alike. Collective. */
static int share_pixels(struct lj_comm *comm, const struct lj_config *config,
                        struct lj_archive *archive, struct normalisation *pixels)
{
    int status = LJ_OK;
    *pixels = (struct normalisation){.found = false};
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm))
        status = read_pixels(config, archive, pixels);
    LJ_TRY(lj_root_section_end(comm, status));
    lj_broadcast(comm, pixels, sizeof *pixels, 0);
    if (pixels->has_limits)
        lj_archive_set_limits(archive, &pixels->limits);
    return LJ_OK;
}

/* A trainer holds everything a checkpoint needs; its encoder's weights are replaced
 * by the file's. */
static int import_into(struct lj_comm *comm, struct lj_config *config, struct lj_archive *archive)
{
    struct lj_trainer *trainer = NULL;
    struct normalisation pixels;
    char dir[LJ_PATH_MAX];
    int status = lj_checkpoint_directory(config->arg_out, dir);
    if (status == LJ_OK && lj_comm_is_root(comm))
        status = check_place(config->arg_out, dir);
    LJ_TRY(lj_agree(comm, status));
    LJ_TRY(share_pixels(comm, config, archive, &pixels));
    LJ_TRY(lj_trainer_create(&trainer, comm, config, archive, NULL));
    status = lj_trainer_load_weights(trainer, config->arg_weights, true);
    if (status == LJ_OK && pixels.found)
        lj_trainer_normalise_by(trainer, pixels.mean, pixels.std);
    if (status == LJ_OK)
        status = lj_agree(comm, lj_comm_is_root(comm) ? make_place(config->arg_out, dir) : LJ_OK);
    if (status == LJ_OK)
        status = lj_trainer_checkpoint(trainer, dir, 0);
    if (status == LJ_OK)
        lj_say("%s: checkpoint of step 0; train run.dir=%s continues from it", dir,
               config->arg_out);
    lj_trainer_destroy(trainer);
    return status;
}

/* The rows that `train` would train on. Collective. */
static int open_archive(struct lj_comm *comm, struct lj_config *config, struct lj_archive **archive)
{
    int64_t held_out;
    struct lj_archive_options options = lj_archive_options_of(config);
    options.skip_labels = !lj_trainer_needs_labels(config);
    LJ_TRY(lj_agree(comm, lj_run_resolve_holdout(config)));
    LJ_TRY(lj_archive_open(archive, comm, &options));
    return lj_run_hold_out(*archive, comm, config->eval_holdout, &held_out);
}

int lj_command_import(struct lj_comm *comm, struct lj_config *config,
                      const struct lj_call_words *words)
{
    (void)words;
    int status = LJ_OK;
    const char *isa = "";
    struct lj_archive *archive = NULL;
    if (!config->arg_weights[0] || !config->arg_out[0])
        status = lj_fail(LJ_ERR_CONFIG, "import: give weights=FILE.safetensors, out=DIR, and the "
                                        "data.archive it is for");
    LJ_TRY(lj_agree(comm, status));
    LJ_TRY(lj_agree(comm, lj_use_example(config)));
    LJ_TRY(lj_import_encoder(comm, config));
    LJ_TRY(lj_runtime_agree(comm, &isa));
    LJ_TRY(lj_agree(comm, lj_runtime_resolve_precision(config)));
    status = open_archive(comm, config, &archive);
    if (status == LJ_OK)
        status = import_into(comm, config, archive);
    lj_archive_close(archive);
    return status;
}
