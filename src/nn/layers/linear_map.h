/* SPDX-License-Identifier: Apache-2.0 */
/* Private to nn: the three matmuls of a linear map of rows, y = x W^T + b, with x, y and W in the
 * types of the plan. */
#ifndef LEJEPA_NN_LINEAR_MAP_H
#define LEJEPA_NN_LINEAR_MAP_H

#include "nn/nn.h"

/* Rows of a value: (rows, width) of a type. */
struct lj_rows {
    const void *data;
    enum lj_type type;
    int64_t rows, width;
};

/* Bytes of scratch the functions below use for one call, for rows of in and out. */
int64_t lj_linear_scratch(bool bf16, int64_t rows, int64_t in, int64_t out);

/* y (rows, out) of type c->y_type = x W^T + b, or y += that. scratch: for a rounded x, where x is not bf16
 * yet. */
void lj_linear_forward(const struct lj_call *c, struct lj_rows x, int64_t out, bool add,
                       void *scratch);
/* dW, db of the call's first two parameters from x and c->dy; and dx (=, or += when add; NULL: not
 * wanted), of x's type. */
void lj_linear_backward(const struct lj_call *c, struct lj_rows x, int64_t out, void *dx, bool add,
                        void *scratch);

#endif
