/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn. Which matmul or convolution a packed form of a weight is for. */
#ifndef LEJEPA_NN_PACKING_H
#define LEJEPA_NN_PACKING_H

#include "nn/nn.h"

/* The matmul that reads W (out, in) in this form: rows W^T (LJ_PACK_FORWARD) or rows W
 * (LJ_PACK_INPUT_GRADIENT), for one row; the caller sets m. */
struct lj_matmul lj_weight_matmul(int form, bool bf16, int64_t in, int64_t out);

/* The convolution that reads a weight in this form, of maps of no size; the caller sets it. */
struct lj_convolution lj_weight_convolution(int form, bool bf16, const struct lj_param *weight);

#endif
