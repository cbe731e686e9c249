/* SPDX-License-Identifier: Apache-2.0 */
/* Matmuls by BLIS, one thread each: threads inside a rank work on different lanes, so no
 * matmul's bits can depend on their number. */
#include "kernels/gemm/backends.h"

#include <stdio.h>
#include <stdlib.h>

#include <blis.h>

/* BLIS 0.9 does not know recent processors and picks by vendor; its Skylake-X kernels measured 85
 * to 93 GFLOP/s at width 192 where its own choice for Zen gave 62 to 78. The variable wants a
 * number and is read at BLIS's first call. */
void lj_blis_force_isa(enum lj_isa isa)
{
    static const arch_t arch[LJ_ISA_COUNT] = {BLIS_ARCH_GENERIC, BLIS_ARCH_HASWELL, BLIS_ARCH_SKX,
                                              BLIS_ARCH_SKX};
    char number[16];
    snprintf(number, sizeof number, "%d", (int)arch[isa]);
    setenv("BLIS_ARCH_TYPE", number, 1);
}

const char *lj_blis_version(void)
{
    return bli_info_get_version_str();
}

void lj_blis_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                  const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
                  int64_t ldc)
{
    rntm_t one_thread = BLIS_RNTM_INITIALIZER;
    bli_rntm_set_num_threads(1, &one_thread);
    bli_sgemm_ex(transpose_a ? BLIS_TRANSPOSE : BLIS_NO_TRANSPOSE,
                 transpose_b ? BLIS_TRANSPOSE : BLIS_NO_TRANSPOSE, m, n, k, &alpha, (float *)a, lda,
                 1, (float *)b, ldb, 1, &beta, c, ldc, 1, NULL, &one_thread);
}
