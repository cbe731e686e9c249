/* SPDX-License-Identifier: Apache-2.0 */
/* The vector kernels at level avx2. */
#include "simd_avx2.h"

#include "kernels_body.h"
#include "ecf_body.h"
#include "image_body.h"

#include "kernel_tables.h"

const struct lj_kernels lj_kernels_avx2 = KERNEL_TABLE("avx2", NULL);
