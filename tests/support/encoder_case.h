/* SPDX-License-Identifier: Apache-2.0 */
/* A small encoder against PyTorch: tensor names and shapes as timm's, embeddings of global and
 * local crops, and every parameter's gradient summed over both groups. The file's group holds
 * weight/NAME, gradient/NAME, and {global,local}/{x,y,dy}, perhaps also inferred: the embeddings by
 * running statistics. */
#ifndef LEJEPA_TEST_ENCODER_CASE_H
#define LEJEPA_TEST_ENCODER_CASE_H

#include "nn/nn.h"

struct encoder_case {
    const char *file, *group; /* below tests/golden */
    void (*build)(struct lj_net *net, const void *config);
    const void *config;
    bool inferred; /* the file has them */
};
/* Runs it under a plan.
 *   tile_rows  in  rows of a tile; 0: all images are one
 *   tolerance  in  allowed difference, of the largest element */
void encoder_case_check(const struct encoder_case *e, enum lj_plan_mode mode, int64_t tile_rows,
                        bool bf16, double tolerance);

#endif
