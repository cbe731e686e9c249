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

/* Bytes of scratch that a call of the functions below needs, for `rows` rows of
 * widths in and out. */
int64_t lj_linear_scratch(bool bf16, int64_t rows, int64_t in, int64_t out);

/* y = x W^T + b, or y += x W^T + b when add. Local.
 *   c        in   the call: y (rows, out) of type c->y_type, W and b its first two parameters;
 *                 a node with one parameter has no b
 *   scratch       (lj_linear_scratch) for a rounded x */
void lj_linear_forward(const struct lj_call *c, struct lj_rows x, int64_t out, bool add,
                       void *scratch);
/* From x and c->dy: dW and, if there is a b, db, and dx. Local.
 *   dx       out  (rows, in) of x's type; = or, when add, +=; NULL: not wanted
 *   scratch       (lj_linear_scratch) for a rounded dy and x */
void lj_linear_backward(const struct lj_call *c, struct lj_rows x, int64_t out, void *dx, bool add,
                        void *scratch);

/* ---- for convolutions, too --------------------------------------------------------------- */

/* Bytes of scratch for `count` rounded elements. */
int64_t lj_rounded_bytes(int64_t count);
/* The rows in the type that matmuls take. If they must be rounded, this is done into *scratch
 * (lj_rounded_bytes), which moves on behind them. */
const void *lj_matmul_input(struct lj_rows x, bool bf16, void **scratch);
/* db, the sums of dy's columns, if the call's node has a bias; rows of `out` features. */
void lj_bias_gradient(const struct lj_call *c, int64_t rows, int64_t out);

#endif
