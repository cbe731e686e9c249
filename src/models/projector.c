/* SPDX-License-Identifier: Apache-2.0 */
/* Projector and predictor: MLPs whose hidden layers are normalised; the last layer is bare. Tensor
 * names are those of torchvision.ops.MLP, which counts linear, norm, activation and dropout. And
 * prototypes. */
#include "models/models.h"

#include <math.h>
#include <stdio.h>

static lj_val normalise(struct lj_net *n, const char *name, lj_val x, enum lj_projector_norm norm)
{
    switch (norm) {
    case LJ_PROJECTOR_NORM_BATCH:
        return lj_batchnorm(n, name, x, true);
    case LJ_PROJECTOR_NORM_LANE:
        return lj_batchnorm(n, name, x, false);
    case LJ_PROJECTOR_NORM_LAYER:
        return lj_layernorm(n, name, x, 1e-5);
    case LJ_PROJECTOR_NORM_NONE:
        break;
    }
    return x;
}

/* PyTorch's default for Linear: U(-1/sqrt(fan in), 1/sqrt(fan in)), weight and bias. */
static lj_val default_linear(struct lj_net *n, const char *name, lj_val x, int64_t in, int64_t out)
{
    return lj_linear(n, name, x, out, LJ_INIT_UNIFORM, 1 / sqrt((double)in));
}

/* Names of tensors begin with "projector." and the prefix. */
static lj_val mlp(struct lj_net *n, const char *prefix, int64_t width,
                  const struct lj_projector_config *c)
{
    char name[32];
    int64_t in = width;
    lj_net_scope(n, -1, "projector");
    lj_val x = lj_input(n, (struct lj_shape){1, {width}}, true);
    for (int layer = 0; layer + 1 < (int)c->layers; layer++) {
        snprintf(name, sizeof name, "%s%d", prefix, 4 * layer);
        x = default_linear(n, name, x, in, c->hidden);
        snprintf(name, sizeof name, "%s%d", prefix, 4 * layer + 1);
        x = normalise(n, name, x, c->norm);
        snprintf(name, sizeof name, "%s%d", prefix, 4 * layer + 2);
        x = lj_relu(n, name, x);
        in = c->hidden;
    }
    snprintf(name, sizeof name, "%s%d", prefix, 4 * (int)(c->layers - 1));
    return default_linear(n, name, x, in, c->out); /* (D) */
}

lj_val lj_projector(struct lj_net *n, int64_t width, const struct lj_projector_config *c)
{
    return mlp(n, "", width, c);
}

lj_val lj_predictor(struct lj_net *n, int64_t width, const struct lj_projector_config *c)
{
    return mlp(n, "predictor.", width, c);
}

lj_val lj_prototypes(struct lj_net *n, int64_t width, int64_t count)
{
    lj_net_scope(n, -1, "projector");
    lj_val x = lj_input(n, (struct lj_shape){1, {width}}, true);
    return lj_cosine(n, "prototypes", x, count);
}
