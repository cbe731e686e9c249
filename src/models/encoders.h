/* SPDX-License-Identifier: Apache-2.0 */
/* Private to models: the families of encoders, and what their files share. */
#ifndef LEJEPA_MODELS_ENCODERS_H
#define LEJEPA_MODELS_ENCODERS_H

#include "models/models.h"

/* 3/7 of the global size (98 of 224) rounded to a multiple, at least two of it. */
int64_t lj_automatic_local_size(int64_t global_size, int64_t multiple);

/* ---- vit.c ------------------------------------------------------------------------------ */

/* number: width, depth, heads (0: width / 64). */
extern const struct lj_encoder_family lj_family_vit;

/* Vision transformer (Dosovitskiy et al. 2021) with timm's tensor names and initialisation. */
struct lj_vit_config {
    int64_t channels, size; /* of a global view: size x size pixels */
    int64_t patch, width, depth, heads, hidden, registers;
    int64_t head;     /* width of a linear head that makes the embedding; 0: none */
    bool mean_pool;   /* mean of patch tokens and fc_norm, instead of norm and class token */
    double drop_path; /* rate of the last block */
};
/* Adds the encoder to net: input (C, H, W), output (embedding). */
lj_val lj_vit(struct lj_net *net, const struct lj_vit_config *config);

#endif
