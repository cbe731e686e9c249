/* SPDX-License-Identifier: Apache-2.0 */
/* The vector kernels at level avx512. */
#include "kernels/x86/simd_avx512.h"

#include "kernels/x86/kernels_body.h"
#include "kernels/x86/columns_body.h"
#include "kernels/x86/depthwise_body.h"
#include "kernels/x86/ecf_body.h"
#include "kernels/x86/image_body.h"

#include "kernels/kernel_tables.h"

const struct lj_kernels lj_kernels_avx512 = KERNEL_TABLE("avx512", NULL);
