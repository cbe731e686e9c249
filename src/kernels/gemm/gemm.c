/* SPDX-License-Identifier: Apache-2.0 */
/* Matmuls: which library computes which. Fixed by level and shape, so that bits are, too. */
#include "kernels/gemm/backends.h"

#include <stdio.h>

/* Measured by tests/bench/bench_gemm.c at the shapes of ViT-Ti to ViT-B in tiles of 136 to 1040
 * rows: at the AVX-512 levels oneDNN 2.6 is 0.9 to 1.8 times as fast as BLIS 0.9 (median 1.2), and
 * 1.3 to 30 times in batches of attention's matmuls, where a call of BLIS for each costs
 * microseconds. At level avx2 the layers' matmuls are even (0.5 to 1.8 times), attention's 1.0 to
 * 3.8 times as fast. */
static bool by_onednn(const struct lj_matmul *p)
{
    return lj_isa_selected() >= LJ_ISA_AVX512 && p->m > 0 && p->n > 0 && p->k > 0;
}

const char *lj_matmul_backend(const struct lj_matmul *matmul)
{
    return by_onednn(matmul) ? "oneDNN" : "BLIS";
}

void lj_matmul_libraries(char *text, size_t capacity)
{
    char onednn[64];
    lj_onednn_version(onednn, sizeof onednn);
    snprintf(text, capacity, "BLIS %s, oneDNN %s", lj_blis_version(), onednn);
}

/* Measured in whole steps of ViT-Ti at 64 pixels: packed weights make a bf16 step 1.02 to 1.07
 * times as fast, a float32 step 1.00 to 1.02 times, which is not worth a copy of the weights. */
int64_t lj_matmul_packed_bytes(const struct lj_matmul *matmul)
{
    bool pays = by_onednn(matmul) && matmul->input == LJ_BF16;
    return pays ? lj_onednn_packed_bytes(matmul) : 0;
}

void lj_matmul_pack(const struct lj_matmul *matmul, const float *b, void *packed)
{
    LJ_CHECK(lj_matmul_packed_bytes(matmul) > 0, "this matmul takes its factors as they are");
    lj_onednn_pack(matmul, b, packed);
}

static void matmul_by_blis(const struct lj_matmul *p, const float *a, const float *b,
                           const float *bias, float *c)
{
    LJ_CHECK(p->input == LJ_F32 && p->output == LJ_F32,
             "bf16 matmuls need level avx512bf16, not %s", lj_isa_name(lj_isa_selected()));
    for (int64_t i = 0; i < p->batch; i++)
        lj_blis_gemm(p->transpose_a, p->transpose_b, p->m, p->n, p->k, 1, a + i * p->m * p->k,
                     p->transpose_a ? p->m : p->k, b + i * p->k * p->n,
                     p->transpose_b ? p->k : p->n, p->add ? 1 : 0, c + i * p->m * p->n, p->n);
    if (bias)
        lj_kernels()->add_bias(c, bias, p->batch * p->m, p->n);
}

void lj_matmul(const struct lj_matmul *matmul, const void *a, const void *b, const float *bias,
               void *c)
{
    if (by_onednn(matmul))
        lj_onednn_matmul(matmul, a, b, bias, c);
    else
        matmul_by_blis(matmul, a, b, bias, c);
}

void lj_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
             const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
             int64_t ldc)
{
    bool dense = lda == (transpose_a ? m : k) && ldb == (transpose_b ? k : n) && ldc == n;
    struct lj_matmul matmul = {.batch = 1,
                               .m = m,
                               .n = n,
                               .k = k,
                               .transpose_a = transpose_a,
                               .transpose_b = transpose_b,
                               .add = beta == 1};
    if (dense && alpha == 1 && (beta == 0 || beta == 1) && by_onednn(&matmul))
        lj_onednn_matmul(&matmul, a, b, NULL, c);
    else
        lj_blis_gemm(transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
