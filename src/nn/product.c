/* SPDX-License-Identifier: Apache-2.0 */
/* Products of linear layers. In a narrow plan everything that goes into a product is bf16: what comes
 * in float32 (the trunk's side, images, the projector's ends) is rounded into scratch first. */
#include "product.h"

#include "lejepa/kernels.h"

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

void lj_linear_forward(const struct lj_call *c, struct lj_rows x, int64_t out, void *scratch)
{
    bool narrow = c->narrow_param[0] != NULL;
    struct lj_product product = {.batch = 1,
                                 .m = x.rows,
                                 .n = out,
                                 .k = x.width,
                                 .transpose_b = true,
                                 .input = narrow ? LJ_BF16 : LJ_F32,
                                 .output = c->y_type};
    const void *weight = narrow ? (const void *)c->narrow_param[0] : c->param[0];
    lj_product(&product, as_input(x, narrow, &scratch), weight, c->param[1], c->y);
}

void lj_linear_backward(const struct lj_call *c, struct lj_rows x, int64_t out, void *dx,
                        void *scratch)
{
    bool narrow = c->narrow_param[0] != NULL;
    enum lj_type input = narrow ? LJ_BF16 : LJ_F32;
    struct lj_rows gradient = {c->dy, c->y_type, x.rows, out};
    const void *dy = as_input(gradient, narrow, &scratch);
    const void *weight = narrow ? (const void *)c->narrow_param[0] : c->param[0];
    struct lj_product down = {.batch = 1,
                              .m = x.rows,
                              .n = x.width,
                              .k = out,
                              .add = c->dx_add[0],
                              .input = input,
                              .output = x.type};
    struct lj_product across = {.batch = 1,
                                .m = out,
                                .n = x.width,
                                .k = x.rows,
                                .transpose_a = true,
                                .add = c->dparam_add,
                                .input = input,
                                .output = LJ_F32};
    if (dx)
        lj_product(&down, dy, weight, NULL, dx);
    lj_product(&across, dy, as_input(x, narrow, &scratch), NULL, c->dparam[0]);
    if (!c->dparam_add)
        memset(c->dparam[1], 0, (size_t)out * sizeof(float));
    lj_kernels()->column_sums(c->dparam[1], c->dy, c->y_type, x.rows, out);
}
