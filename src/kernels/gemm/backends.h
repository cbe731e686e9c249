/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. The libraries behind matmuls. */
#ifndef LEJEPA_GEMM_BACKENDS_H
#define LEJEPA_GEMM_BACKENDS_H

#include "kernels/kernels.h"

/* blis.c: tells BLIS which of its kernels to use; before its first matmul. */
void lj_blis_force_isa(enum lj_isa isa);
/* Its version. */
const char *lj_blis_version(void);
/* One float32 matmul with leading dimensions. */
void lj_blis_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
                  const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
                  int64_t ldc);

/* onednn.c: the same for oneDNN. Products are compiled per shape and thread, and kept. */
void lj_onednn_force_isa(enum lj_isa isa);
/* "2.6.2". */
void lj_onednn_version(char *text, size_t capacity);
void lj_onednn_matmul(const struct lj_matmul *matmul, const void *a, const void *b,
                      const float *bias, void *c);
void lj_onednn_release(void);
/* onednn_pack.c */
int64_t lj_onednn_packed_bytes(const struct lj_matmul *matmul);
void lj_onednn_pack(const struct lj_matmul *matmul, const float *b, void *packed);
/* The same by oneDNN itself, in any layout it asks for. */
void lj_onednn_reorder(const struct lj_matmul *matmul, const float *b, void *packed);

/* onednn_conv.c: convolutions; see kernels.h. */
void lj_onednn_convolve(const struct lj_convolution *convolution, const void *a, const void *b,
                        const float *bias, void *c);
int64_t lj_onednn_convolution_packed_bytes(const struct lj_convolution *convolution);
void lj_onednn_convolution_pack(const struct lj_convolution *convolution, const float *w,
                                void *packed);
void lj_onednn_release_convolutions(void);

/* scalar/convolution_scalar.c: a pass in plain loops, float32 only. */
void lj_scalar_convolve(const struct lj_convolution *convolution, const float *a, const float *b,
                        const float *bias, float *c);

#endif
