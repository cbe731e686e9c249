/* SPDX-License-Identifier: Apache-2.0 */
/* A product in double for small problems. Inside the module only. */
#ifndef LEJEPA_EVAL_PRODUCT_H
#define LEJEPA_EVAL_PRODUCT_H

#include <stdint.h>

/* out (rows, n) += a (rows, inner) b (inner, n); out and b are contiguous, element (r, i) of a lies
 * at a[r row_stride + i inner_stride], so that the same loop serves A B and A^T B. No aliasing. */
void lj_add_product(double *restrict out, const double *restrict a, int64_t row_stride,
                    int64_t inner_stride, const double *restrict b, int64_t rows, int64_t inner,
                    int64_t n);

#endif
