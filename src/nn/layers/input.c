/* SPDX-License-Identifier: Apache-2.0 */
/* The input: value 0 of every network, written by the caller; it has neither forward nor backward.
 * ints: [0] dimensions, [1] to [3] their sizes, [4] whether its gradient is wanted. */
#include "nn/layers/build.h"

static int shape(const struct lj_node *node, const struct lj_shape *in, int64_t images,
                 struct lj_shape *out, struct lj_need *need)
{
    (void)in, (void)images, (void)need;
    out->dims = (int)node->ints[0];
    for (int i = 0; i < out->dims; i++)
        out->dim[i] = node->ints[1 + i];
    return LJ_OK;
}

const struct lj_layer_kind lj_kind_input = {.name = "input", .shape = shape};

lj_val lj_input(struct lj_net *net, struct lj_shape input, bool wants_gradient)
{
    struct lj_node node = {
        .kind = &lj_kind_input,
        .ints = {input.dims, input.dim[0], input.dim[1], input.dim[2], wants_gradient}};
    return lj_net_add(net, node, "input");
}
