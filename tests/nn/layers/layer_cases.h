/* SPDX-License-Identifier: Apache-2.0 */
/* One row per way a layer is used: how it is built, at which sizes, and what it computes. */
#ifndef LEJEPA_TEST_LAYER_CASES_H
#define LEJEPA_TEST_LAYER_CASES_H

#include "nn/nn.h"
#include "reference_ops.h"

struct layer_case {
    const char *name;            /* also the group in layers.h5 */
    const char *kind;            /* of lj_layer_kind */
    struct lj_shape built, pass; /* input: when the net is built, when it runs */
    int64_t images;
    struct reference_op op;
    reference_forward *reference;
    lj_val (*build)(struct lj_net *net, const struct layer_case *c, lj_val x);
    bool no_dx; /* the layer never makes the gradient of its input */
};

extern const struct layer_case layer_cases[];
extern const int layer_case_count;

#endif
