/* SPDX-License-Identifier: Apache-2.0 */
/* A product in double. Compiled for several vector widths; without contraction, and with each sum in
 * one order, all of them give the same bits. */
#include "product.h"

#include "lejepa/base.h"

enum { FOUR = 4 };

LJ_VECTOR_WIDTHS
void lj_add_product(double *restrict out, const double *restrict a, int64_t row_stride,
                    int64_t inner_stride, const double *restrict b, int64_t rows, int64_t inner,
                    int64_t n)
{
    int64_t i = 0;
    for (; i + FOUR <= inner; i += FOUR)
        for (int64_t r = 0; r < rows; r++) {
            const double *at = a + r * row_stride + i * inner_stride, *b0 = b + i * n;
            double a0 = at[0], a1 = at[inner_stride], a2 = at[2 * inner_stride],
                   a3 = at[3 * inner_stride];
            for (int64_t k = 0; k < n; k++)
                out[r * n + k] +=
                    (a0 * b0[k] + a1 * b0[n + k]) + (a2 * b0[2 * n + k] + a3 * b0[3 * n + k]);
        }
    for (; i < inner; i++)
        for (int64_t r = 0; r < rows; r++) {
            double a0 = a[r * row_stride + i * inner_stride];
            for (int64_t k = 0; k < n; k++)
                out[r * n + k] += a0 * b[i * n + k];
        }
}
