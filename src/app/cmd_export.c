/* SPDX-License-Identifier: Apache-2.0 */
/* export: the encoder of a checkpoint as safetensors, with timm's names and configuration. */
#include "app/app.h"

#include "data/data.h"
#include "eval/eval.h"
#include "models/models.h"
#include "store/store.h"

/* From pixels as they are read to timm's images, 0..1. A stretch takes pixels as they are read, and
 * mean and std are of what it gives. */
static double further_divisor(const struct lj_pretrained *p)
{
    bool stretched = p->config.data_stretch != LJ_DATA_STRETCH_NONE;
    return stretched ? 1 : lj_pixel_full_scale(p->pixels, p->config.data_full_scale);
}

/* From pixels as they are stored; 0 for a checkpoint that does not say their type. */
static double whole_divisor(const struct lj_pretrained *p)
{
    double read = lj_pixel_divisor(p->pixels, p->config.data_full_scale);
    return p->pixels[0] ? read * further_divisor(p) : 0;
}

static void say_written(const char *path, const struct lj_timm_config *config)
{
    lj_say("%s: encoder of step %lld; config.json beside it says the same for timm", path,
           (long long)config->step);
    if (config->divisor > 0)
        lj_say("timm's images: pixels (%s) divided by %.10g, data.stretch=%s, then mean and std",
               config->pixels, config->divisor, config->stretch);
    else
        lj_warn("the checkpoint does not say the type of its pixels: mean and std are written as "
                "they are, which is right for 8-bit integers and floats");
}

/* Writes the weights and config.json beside them. */
static int write_files(const char *path, const struct lj_pretrained *p)
{
    struct lj_timm_model timm;
    double mean[LJ_CHANNELS_MAX], std[LJ_CHANNELS_MAX], further = further_divisor(p);
    double low[LJ_CHANNELS_MAX], high[LJ_CHANNELS_MAX];
    for (int c = 0; c < p->channels; c++) {
        mean[c] = p->mean[c] / further;
        std[c] = p->std[c] / further;
        low[c] = p->limits.low[c];
        high[c] = p->limits.high[c];
    }
    lj_model_timm(p->model, &p->config, &timm);
    struct lj_timm_config config = {.architecture = timm.architecture,
                                    .arguments = timm.arguments,
                                    .pool = timm.pool,
                                    .first_conv = timm.first_conv,
                                    .classifier = timm.classifier,
                                    .features = timm.features,
                                    .classes = timm.classes,
                                    .size = p->size,
                                    .any_size = timm.any_size,
                                    .channels = p->channels,
                                    .mean = mean,
                                    .std = std,
                                    .low = p->has_limits ? low : NULL,
                                    .high = p->has_limits ? high : NULL,
                                    .pixels = p->pixels,
                                    .stretch = lj_data_stretch_word(p->config.data_stretch),
                                    .divisor = whole_divisor(p),
                                    .step = p->step};
    LJ_TRY(lj_file_spare(path, p->file));
    LJ_TRY(lj_timm_check_place(path));
    char *metadata = lj_timm_metadata(&config);
    if (!metadata)
        return LJ_ERR_RESOURCE;
    int status = lj_safetensors_write(path, &p->model->params, p->weights, "projector.", metadata);
    lj_free(metadata);
    if (status == LJ_OK)
        status = lj_timm_write(path, &config);
    if (status == LJ_OK)
        say_written(path, &config);
    return status;
}

int lj_command_export(struct lj_comm *comm, struct lj_config *config,
                      const struct lj_call_words *words)
{
    (void)words;
    static struct lj_pretrained pretrained; /* holds a configuration: too large for the stack */
    int status = LJ_OK;
    if (!config->arg_checkpoint[0] || !config->arg_out[0])
        status = lj_fail(LJ_ERR_CONFIG, "export: give checkpoint= and out=FILE.safetensors");
    LJ_TRY(lj_agree(comm, status));
    LJ_TRY(
        lj_pretrained_load(&pretrained, comm, config->arg_checkpoint, config->arg_weights, false));
    if (lj_comm_is_root(comm))
        status = write_files(config->arg_out, &pretrained);
    lj_pretrained_free(&pretrained);
    return lj_agree(comm, status);
}
