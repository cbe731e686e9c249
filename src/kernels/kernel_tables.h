/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels: the table of each ISA level. */
#ifndef LEJEPA_KERNEL_TABLES_H
#define LEJEPA_KERNEL_TABLES_H

#include "kernels/kernels.h"

extern const struct lj_kernels lj_kernels_scalar, lj_kernels_avx2, lj_kernels_avx512,
    lj_kernels_avx512bf16;

/* Of the scalar table, in files of their own. */
double lj_scalar_exp_sum(float *e, const float *x, int64_t count, float scale);
void lj_scalar_rotate(float *y, const float *x, const struct lj_rotation *rotation, int64_t rows,
                      int64_t count);

#endif
