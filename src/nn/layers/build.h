/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn: what the builders of layers use. */
#ifndef LEJEPA_NN_BUILD_H
#define LEJEPA_NN_BUILD_H

#include "nn/nn.h"

#include <stdio.h>

// clang-format off
/* Every kind of layer: the list is also what lj_net_add takes, and what the tests go through. */
#define LJ_LAYER_KINDS(KIND) \
    KIND(linear) \
    KIND(linear_residual) \
    KIND(layernorm) \
    KIND(gelu) \
    KIND(relu) \
    KIND(attention) \
    KIND(residual) \
    KIND(grn) \
    KIND(input) \
    KIND(patch_embed) \
    KIND(tokens) \
    KIND(pool_token) \
    KIND(pool_max) \
    KIND(pool_mean) \
    KIND(batchnorm_lane) \
    KIND(batchnorm_batch) \
    KIND(batchnorm_residual_lane) \
    KIND(batchnorm_residual_batch) \
    KIND(concat) \
    KIND(conv) \
    KIND(stem) \
    KIND(conv_depthwise) \
    KIND(cosine)
// clang-format on

#define LJ_DECLARE_KIND(name) extern const struct lj_layer_kind lj_kind_##name;
LJ_LAYER_KINDS(LJ_DECLARE_KIND)
#undef LJ_DECLARE_KIND

/* Adds a node (kind, inputs, ints and real are set) under the net's scope; its shape comes from the
 * kind. A failure is kept in net->status. */
lj_val lj_net_add(struct lj_net *net, struct lj_node node, const char *name);

/* Adds a parameter (dims, dim, role, matrix, init, init_scale are set) to a node; name is
 * below the net's scope. */
void lj_net_param(struct lj_net *net, lj_val owner, struct lj_param param, const char *name);

/* For a kind's shape function, LJ_ERR_CONFIG: refuses a shape, naming the layer, what it expected
 * and what it found. */
int lj_refuse_shape(const struct lj_node *node, const struct lj_shape *found, const char *expected);
/* Takes shapes of `least` to `most` dimensions, none of them empty. */
int lj_take_dims(const struct lj_node *node, const struct lj_shape *in, int least, int most,
                 const char *expected);
/* Takes rows of features, however many axes the rows have: (C), (T, C) or (H, W, C). */
int lj_take_rows(const struct lj_node *node, const struct lj_shape *in);

/* For a kind that passes its gradient on to x[0], the trunk: d(trunk) = or += d(y), where it has a
 * place of its own. */
void lj_pass_gradient(const struct lj_call *call);

/* Reference shape of a value. */
struct lj_shape lj_net_shape(const struct lj_net *net, lj_val x);

/* "name.leaf", or leaf when name is empty; returns path. */
static inline const char *lj_join(char path[LJ_NAME_MAX], const char *name, const char *leaf)
{
    snprintf(path, LJ_NAME_MAX, "%s%s%s", name, name[0] ? "." : "", leaf);
    return path;
}

/* Must backward compute the gradient at this node's output? Not at an input of images. */
static inline bool lj_node_wants_gradient(const struct lj_node *node)
{
    return node->inputs > 0 || node->ints[4] != 0;
}

/* True for the input node, whose value the caller writes. */
static inline bool lj_node_is_input(const struct lj_node *node)
{
    return node->inputs == 0;
}

#endif
