/* SPDX-License-Identifier: Apache-2.0 */
/* The list of all kinds of layers: what the tests go through, and what a network may be made of. */
#include "nn/layers/build.h"

static const struct lj_layer_kind *const kinds[] = {&lj_kind_linear,
                                                    &lj_kind_linear_residual,
                                                    &lj_kind_layernorm,
                                                    &lj_kind_gelu,
                                                    &lj_kind_relu,
                                                    &lj_kind_attention,
                                                    &lj_kind_residual,
                                                    &lj_kind_input,
                                                    &lj_kind_patch_embed,
                                                    &lj_kind_tokens,
                                                    &lj_kind_pool_token,
                                                    &lj_kind_pool_mean,
                                                    &lj_kind_batchnorm_lane,
                                                    &lj_kind_batchnorm_batch,
                                                    &lj_kind_batchnorm_residual_lane,
                                                    &lj_kind_batchnorm_residual_batch,
                                                    &lj_kind_conv,
                                                    &lj_kind_stem};

const struct lj_layer_kind *const *lj_layer_kinds(int *count)
{
    *count = (int)(sizeof kinds / sizeof *kinds);
    return kinds;
}
