/* SPDX-License-Identifier: Apache-2.0 */
/* Products of linear layers. In a narrow plan everything that goes into a product is bf16: what comes
 * in float32 (the trunk's side, images, the projector's ends) is rounded into scratch first. */
#include "nn/layers/linear_map.h"

#include "kernels/kernels.h"
#include "nn/packing.h"

#include <string.h>

static int64_t rounded_bytes(int64_t count)
{
    return lj_round_up(count * (int64_t)sizeof(lj_bf16), 64);
}

int64_t lj_linear_scratch(bool narrow, int64_t rows, int64_t in, int64_t out)
{
    return narrow ? rounded_bytes(rows * in) + rounded_bytes(rows * out) : 0;
}

/* The array in the type products take; rounded into *scratch, which moves on, when it must be. */
static const void *as_input(struct lj_rows x, bool narrow, void **scratch)
{
    if (!narrow || x.type == LJ_BF16)
        return x.data;
    lj_bf16 *rounded = *scratch;
    *scratch = (char *)*scratch + rounded_bytes(x.rows * x.width);
    lj_kernels()->narrow(rounded, x.data, x.rows * x.width);
    return rounded;
}

/* The product with W in the form made for it, if there is one. */
static void multiply(const struct lj_call *c, struct lj_product product, int form, const void *rows,
                     const float *bias, void *out)
{
    product.packed_b = c->packed[form] != NULL;
    LJ_CHECK(product.packed_b || !c->narrow, "%s: a narrow plan needs packed weights",
             c->node->name);
    lj_product(&product, rows, product.packed_b ? c->packed[form] : c->param[0], bias, out);
}

void lj_linear_forward(const struct lj_call *c, struct lj_rows x, int64_t out, bool add,
                       void *scratch)
{
    struct lj_product product = lj_weight_product(LJ_PACK_FORWARD, c->narrow, x.width, out);
    product.m = x.rows;
    product.output = c->y_type;
    product.add = add;
    multiply(c, product, LJ_PACK_FORWARD, as_input(x, c->narrow, &scratch), c->param[1], c->y);
}

void lj_linear_backward(const struct lj_call *c, struct lj_rows x, int64_t out, void *dx, bool add,
                        void *scratch)
{
    struct lj_rows gradient = {c->dy, c->y_type, x.rows, out};
    const void *dy = as_input(gradient, c->narrow, &scratch);
    struct lj_product down = lj_weight_product(LJ_PACK_DOWN, c->narrow, x.width, out);
    down.m = x.rows;
    down.output = x.type;
    down.add = add;
    struct lj_product across = {.batch = 1,
                                .m = out,
                                .n = x.width,
                                .k = x.rows,
                                .transpose_a = true,
                                .add = c->dparam_add,
                                .input = down.input,
                                .output = LJ_F32};
    if (dx)
        multiply(c, down, LJ_PACK_DOWN, dy, NULL, dx);
    lj_product(&across, dy, as_input(x, c->narrow, &scratch), NULL, c->dparam[0]);
    if (!c->dparam_add)
        memset(c->dparam[1], 0, (size_t)out * sizeof(float));
    lj_kernels()->column_sums(c->dparam[1], c->dy, c->y_type, x.rows, out);
}
