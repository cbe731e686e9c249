/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. models: encoders and the projector, as lists of layers; and the two together as what is trained.
 *
 *     lj_model_config(&config, settings, channels, size)      numbers from the configuration
 *     lj_model_create(&model, &config)                        nets, parameters, buckets
 *
 * All local. */
#ifndef LEJEPA_MODELS_MODELS_H
#define LEJEPA_MODELS_MODELS_H

#include "lejepa/config.h"
#include "nn/nn.h"

/* Vision transformer (Dosovitskiy et al. 2021) with timm's tensor names and initialisation. */
struct lj_vit_config {
    int64_t channels, size; /* of a global view: size x size pixels */
    int64_t patch, width, depth, heads, hidden, registers;
    int64_t head;     /* width of a linear head that makes the embedding; 0: none */
    bool mean_pool;   /* mean of patch tokens and fc_norm, instead of norm and class token */
    double drop_path; /* rate of the last block */
};

struct lj_projector_config {
    int64_t hidden, layers, out;
    enum lj_projector_norm norm;
};

struct lj_model_config {
    struct lj_vit_config vit;
    struct lj_projector_config projector;
    int64_t local_size; /* pixels of local views */
};

/* Numbers of the model, with presets and automatic values resolved.
 *   size  pixels of the loaded images (views.global_size 0 takes it)
 * Errors: LJ_ERR_CONFIG: a size the patch does not divide, heads that do not divide the width. */
int lj_model_config(struct lj_model_config *model, const struct lj_config *config, int64_t channels,
                    int64_t size) LJ_MUST_USE;

/* Adds the encoder to net: input (C, H, W), output (embedding). */
lj_val lj_vit(struct lj_net *net, const struct lj_vit_config *config);
/* Adds the projector to net: input (width), output (out). Names as torchvision.ops.MLP. */
lj_val lj_projector(struct lj_net *net, int64_t width, const struct lj_projector_config *config);

enum { LJ_SEGMENTS_MAX = 4096 };
enum { LJ_NET_ENCODER, LJ_NET_PROJECTOR, LJ_NETS };

struct lj_model {
    struct lj_model_config config;
    struct lj_params params;
    struct lj_net *net[LJ_NETS];
    struct lj_segment segment[LJ_SEGMENTS_MAX]; /* one per bucket */
    int64_t embedding;                          /* width */
};
/* bucket_bytes: about the size of a gradient bucket. */
int lj_model_create(struct lj_model **model, const struct lj_model_config *config,
                    int64_t bucket_bytes) LJ_MUST_USE;
void lj_model_destroy(struct lj_model *model);

#endif
