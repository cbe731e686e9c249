/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn. Which matmul a packed form of a weight is for. */
#ifndef LEJEPA_NN_PACKING_H
#define LEJEPA_NN_PACKING_H

#include "nn/nn.h"

/* The matmul of rows with W (out, in) in a form (LJ_PACK_FORWARD, LJ_PACK_INPUT_GRADIENT); the number of rows is
 * left to the caller. */
struct lj_matmul lj_weight_matmul(int form, bool bf16, int64_t in, int64_t out);

#endif
