/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn. Which product a packed form of a weight is for. */
#ifndef LEJEPA_NN_PACKING_H
#define LEJEPA_NN_PACKING_H

#include "nn/nn.h"

/* The product of rows with W (out, in) in a form (LJ_PACK_FORWARD, LJ_PACK_DOWN); the number of rows is
 * left to the caller. */
struct lj_product lj_weight_product(int form, bool narrow, int64_t in, int64_t out);

#endif
