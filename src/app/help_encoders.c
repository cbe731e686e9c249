/* SPDX-License-Identifier: Apache-2.0 */
/* help model: the table of encoders. */
#include "app/app.h"

#include "models/models.h"

enum { CHANNELS = 3, PIXELS = 224 };

static int put_encoder(const struct lj_encoder *encoder, struct lj_config *settings, FILE *out)
{
    struct lj_model *model;
    snprintf(settings->model, sizeof settings->model, "%s", encoder->name);
    LJ_TRY(lj_encoder_forget_foreign(encoder, settings));
    LJ_TRY(lj_model_resolve(settings, settings->data_size ? settings->data_size : PIXELS));
    LJ_TRY(lj_model_create(&model, settings, CHANNELS, INT64_MAX));
    const struct lj_net *net = model->net[LJ_NET_ENCODER];
    struct lj_shape view = lj_model_view(model, 0);
    fprintf(out, "%-16s %9.2f M %10.2f GFLOP  %s: %s\n", encoder->name,
            (double)lj_net_trained(net) * 1e-6, (double)lj_net_flops(net, &view) * 1e-9,
            model->config.text, encoder->text);
    lj_model_destroy(model);
    return LJ_OK;
}

int lj_help_encoders(const char *const *words, int count, FILE *out)
{
    static struct lj_config settings, resolved; /* too large for the stack */
    int rows;
    const struct lj_encoder *encoders = lj_encoders(&rows);
    LJ_TRY(lj_config_from_words(&settings, words, count));
    int64_t size = settings.data_size ? settings.data_size : PIXELS;
    if (settings.views_global_size)
        size = settings.views_global_size;
    fprintf(out,
            "\nParameters of the encoder, and forward FLOPs of one image of %d channels and %lld x "
            "%lld "
            "pixels;\n`help model data.size=N model.patch=N ...` counts others:\n\n",
            CHANNELS, (long long)size, (long long)size);
    for (int i = 0; i < rows; i++) {
        resolved = settings;
        LJ_TRY(put_encoder(&encoders[i], &resolved, out));
    }
    return LJ_OK;
}
