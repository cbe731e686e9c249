/* SPDX-License-Identifier: Apache-2.0 */
/* help model: the table of encoders. */
#include "app/app.h"

#include "lejepa/runtime.h"

#include "kernels/kernels.h"
#include "models/models.h"
#include "train/train.h"

enum { CHANNELS = 3, PIXELS = 224 };

static void put_row(const struct lj_model *model, const struct lj_trainer_memory *memory, FILE *out)
{
    const struct lj_net *net = model->net[LJ_NET_ENCODER];
    const struct lj_encoder *encoder = model->config.encoder;
    struct lj_shape view = lj_model_view(model, 0);
    fprintf(out, "%-16s %9.2f M %10.2f GFLOP %6.0f + %6.0f MiB  %s: %s\n", encoder->name,
            (double)lj_net_trained(net) * 1e-6, (double)lj_net_flops(net, &view) * 1e-9,
            (double)memory->state / 1048576, (double)memory->lane / 1048576, model->config.text,
            encoder->text);
}

static int put_encoder(const struct lj_encoder *encoder, struct lj_config *settings,
                       int64_t samples, FILE *out)
{
    struct lj_model *model;
    struct lj_trainer_memory memory;
    snprintf(settings->model, sizeof settings->model, "%s", encoder->name);
    LJ_TRY(lj_encoder_forget_foreign(encoder, settings));
    LJ_TRY(lj_model_resolve(settings, settings->data_size ? settings->data_size : PIXELS));
    LJ_TRY(lj_model_create(&model, settings, CHANNELS, LJ_BUCKET_BYTES));
    int status = lj_trainer_memory(&memory, model, settings, samples);
    if (status == LJ_OK)
        put_row(model, &memory, out);
    lj_model_destroy(model);
    return status;
}

/* Which memory matmuls need depends on the kernels: those of this processor. It need not be one
 * that could train in bf16.
 *   samples  out  of a lane */
static int prepare(struct lj_config *settings, int64_t *samples)
{
    int64_t lanes;
    enum lj_isa isa = LJ_ISA_SCALAR;
    LJ_TRY(lj_isa_best(&isa));
    LJ_TRY(lj_kernels_select(isa));
    if (settings->precision == LJ_PRECISION_AUTO)
        LJ_TRY(lj_runtime_resolve_precision(settings));
    LJ_TRY(lj_trainer_resolve_objective(settings));
    LJ_TRY(lj_trainer_lanes(settings, 1, &lanes));
    *samples = settings->batch_size / lanes;
    return LJ_OK;
}

static void put_heading(const struct lj_config *c, int64_t samples, FILE *out)
{
    int64_t size = c->data_size ? c->data_size : PIXELS;
    if (c->views_global_size)
        size = c->views_global_size;
    fprintf(
        out,
        "\nParameters of the encoder; forward FLOPs of one image of %d channels and %lld x %lld "
        "pixels;\nmemory of training on one rank: weights, moments, gradient and a checkpoint's "
        "copies, plus activations\nof each lane in work (%lld samples, views.global=%lld "
        "views.local=%lld memory.recompute=%s precision=%s).\n`help model data.size=N "
        "model.patch=N batch.size=N ...` counts others:\n\n",
        CHANNELS, (long long)size, (long long)size, (long long)samples, (long long)c->views_global,
        (long long)c->views_local, lj_memory_recompute_word(c->memory_recompute),
        lj_precision_word(c->precision));
}

int lj_help_encoders(const char *const *words, int count, FILE *out)
{
    static struct lj_config settings, resolved; /* too large for the stack */
    int rows, listed = 0, status = LJ_OK;
    int64_t samples;
    const struct lj_encoder *encoders = lj_encoders(&rows);
    LJ_TRY(lj_config_from_words(&settings, words, count));
    LJ_TRY(prepare(&settings, &samples));
    put_heading(&settings, samples, out);
    for (int i = 0; i < rows; i++) {
        resolved = settings;
        status = put_encoder(&encoders[i], &resolved, samples, out);
        listed += status == LJ_OK;
        if (status == LJ_ERR_CONFIG)
            fprintf(out, "%-16s not with these settings: %s\n", encoders[i].name, lj_error_text());
        else if (status != LJ_OK)
            return status;
    }
    return listed > 0 ? LJ_OK : status;
}
