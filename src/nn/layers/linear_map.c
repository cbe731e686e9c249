/* SPDX-License-Identifier: Apache-2.0 */
/* The matmuls of linear layers. In a bf16 plan every input of a matmul is bf16: a float32 value
 * (from the trunk, from images, at the ends of the projector) is rounded into scratch first. */
#include "nn/layers/linear_map.h"

#include "kernels/kernels.h"
#include "nn/packing.h"

#include <string.h>

int64_t lj_rounded_bytes(int64_t count)
{
    return lj_round_up(count * (int64_t)sizeof(lj_bf16), 64);
}

int64_t lj_linear_scratch(bool bf16, int64_t rows, int64_t in, int64_t out)
{
    return bf16 ? lj_rounded_bytes(rows * in) + lj_rounded_bytes(rows * out) : 0;
}

const void *lj_matmul_input(struct lj_rows x, bool bf16, void **scratch)
{
    if (!bf16 || x.type == LJ_BF16)
        return x.data;
    lj_bf16 *rounded = *scratch;
    *scratch = (char *)*scratch + lj_rounded_bytes(x.rows * x.width);
    lj_kernels()->to_bf16(rounded, x.data, x.rows * x.width);
    return rounded;
}

void lj_bias_gradient(const struct lj_call *c, int64_t rows, int64_t out)
{
    if (c->node->params < 2)
        return;
    if (!c->dparam_add)
        memset(c->dparam[1], 0, (size_t)out * sizeof(float));
    lj_kernels()->column_sums(c->dparam[1], c->dy, c->y_type, rows, out);
}

/* Runs a matmul with W, in the packed form if there is one. */
static void multiply(const struct lj_call *c, struct lj_matmul matmul, int form, const void *rows,
                     const float *bias, void *out)
{
    matmul.packed_b = c->packed[form] != NULL;
    LJ_CHECK(matmul.packed_b || !c->bf16, "%s: a bf16 plan needs packed weights", c->node->name);
    lj_matmul(&matmul, rows, matmul.packed_b ? c->packed[form] : c->param[0], bias, out);
}

void lj_linear_forward(const struct lj_call *c, struct lj_rows x, int64_t out, bool add,
                       void *scratch)
{
    struct lj_matmul matmul = lj_weight_matmul(LJ_PACK_FORWARD, c->bf16, x.width, out);
    matmul.m = x.rows;
    matmul.output = c->y_type;
    matmul.add = add;
    multiply(c, matmul, LJ_PACK_FORWARD, lj_matmul_input(x, c->bf16, &scratch), c->param[1], c->y);
}

void lj_linear_backward(const struct lj_call *c, struct lj_rows x, int64_t out, void *dx, bool add,
                        void *scratch)
{
    struct lj_rows gradient = {c->dy, c->y_type, x.rows, out};
    const void *dy = lj_matmul_input(gradient, c->bf16, &scratch);
    struct lj_matmul input_gradient =
        lj_weight_matmul(LJ_PACK_INPUT_GRADIENT, c->bf16, x.width, out);
    input_gradient.m = x.rows;
    input_gradient.output = x.type;
    input_gradient.add = add;
    struct lj_matmul weight_gradient = {.batch = 1,
                                        .m = out,
                                        .n = x.width,
                                        .k = x.rows,
                                        .transpose_a = true,
                                        .add = c->dparam_add,
                                        .input = input_gradient.input,
                                        .output = LJ_F32};
    if (dx)
        multiply(c, input_gradient, LJ_PACK_INPUT_GRADIENT, dy, NULL, dx);
    lj_matmul(&weight_gradient, dy, lj_matmul_input(x, c->bf16, &scratch), NULL, c->dparam[0]);
    lj_bias_gradient(c, x.rows, out);
}
