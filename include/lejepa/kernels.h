/* SPDX-License-Identifier: Apache-2.0 */
/* kernels: products and vector loops, chosen once by what the processor can do.
 *
 * The only place with intrinsics, BLIS and SLEEF. Each kernel's type is declared once, with its
 * contract; kernels_scalar.c is the specification, kernels_body.h the vector form compiled once per
 * ISA. Elementwise kernels give the same bits at any position and alignment; sums run in one fixed
 * order that depends on the length only. All local, all safe in parallel threads. */
#ifndef LEJEPA_KERNELS_H
#define LEJEPA_KERNELS_H

#include "lejepa/base.h"

enum lj_isa { LJ_ISA_SCALAR, LJ_ISA_AVX2, LJ_ISA_AVX512, LJ_ISA_COUNT };

/* The best level of this processor, lowered by LJ_ISA=scalar|avx2|avx512.
 * Errors: LJ_ERR_CONFIG (unknown or unsupported level; says what is available). */
LJ_API int lj_isa_best(enum lj_isa *isa) LJ_MUST_USE;
LJ_API const char *lj_isa_name(enum lj_isa isa);

/* Selects the kernels and forces the level on BLIS; before the first product, the same on all ranks.
 * Without it the first use selects lj_isa_best. Errors: LJ_ERR_CONFIG. */
LJ_API int lj_kernels_select(enum lj_isa isa) LJ_MUST_USE;

/* C (m, n) = alpha op(A) op(B) + beta C, row-major with leading dimensions in elements; one thread.
 * op(A) is (m, k): A is (m, k), or (k, m) when transposed. beta 0 never reads C.
 * Equal calls give equal bits at any address; an element's bits may depend on m and n, too. */
LJ_API void lj_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k,
                    float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                    float beta, float *c, int64_t ldc);

struct lj_adamw_factors {
    float lr, beta1, beta2, eps, decay;
    float correct1, correct2; /* 1 / (1 - beta^step) */
};

struct lj_kernels {
    const char *name;
    /* y[i] = exp(x[i]); <= 1 ulp; y may be x */
    void (*exp)(float *y, const float *x, int64_t count);
    /* s[i] = sin(x[i]), c[i] = cos(x[i]); <= 1 ulp for |x| < 1e5 */
    void (*sincos)(float *s, float *c, const float *x, int64_t count);
    /* Box-Muller, in place: from u in (0, 1] and v in [0, 1], sqrt(-2 log u) times cos(2 pi v) in u and
     * sin(2 pi v) in v; off by at most 3e-6 */
    void (*normals)(float *u, float *v, int64_t count);
    /* y = x Phi(x) */
    void (*gelu)(float *y, const float *x, int64_t count);
    /* dx (=, or += when add) dy (Phi(x) + x phi(x)) */
    void (*gelu_backward)(float *dx, const float *dy, const float *x, int64_t count, bool add);
    /* One row: y = (x - mean) rstd weight + bias; mean and rstd written */
    void (*layernorm)(float *y, float *mean, float *rstd, const float *x, const float *weight,
                      const float *bias, int64_t width, float eps);
    /* One row: dx (=, +=); dweight += dy xhat; dbias += dy */
    void (*layernorm_backward)(float *dx, float *dweight, float *dbias, const float *dy,
                               const float *x, const float *weight, float mean, float rstd,
                               int64_t width, bool add);
    /* One row, in place: x = exp(scale x - max) / sum; returns max + log(sum) */
    float (*softmax)(float *x, int64_t count, float scale);
    /* One row, in place: p = exp(scale s - logsum) */
    void (*softmax_again)(float *s, int64_t count, float scale, float logsum);
    /* One row, in place: dp = scale p (dp - sum(p dp)) */
    void (*softmax_backward)(float *dp, const float *p, int64_t count, float scale);
    /* y += x;  y = a x + y */
    void (*add)(float *y, const float *x, int64_t count);
    void (*axpy)(float *y, float a, const float *x, int64_t count);
    /* columns[j] += sum over rows of x[r, j] in row order */
    void (*column_sums)(float *columns, const float *x, int64_t rows, int64_t width);
    /* y[r, j] += bias[j] */
    void (*add_bias)(float *y, const float *bias, int64_t rows, int64_t width);
    /* AdamW with decoupled decay; gradient is read only */
    void (*adamw)(float *weight, float *moment1, float *moment2, const float *gradient,
                  int64_t count, const struct lj_adamw_factors *factors);
    /* sum of squares in double, fixed order */
    double (*square_sum)(const float *x, int64_t count);
    /* SIGReg: sums over rows of cos(k step x[r, j]) and sin(k step x[r, j]), k = 1 .. knots; knots 8 or
     * 16, rows 0 .. 32, columns 0 .. 16. Each cosine and sine is within 2e-5, for any finite x.
     *   sums  (2, knots, columns)  out, overwritten: cosines, then sines
     *   x     (rows, columns)      at leading dimension ldx
     * An x that is not finite makes its column's sums NaN. */
    void (*ecf_sums)(float *sums, const float *x, int64_t ldx, int64_t rows, int64_t columns,
                     int knots, float step);
    /* SIGReg: g[r, j] = sum_k a[k, j] cos(k step x[r, j]) + b[k, j] sin(k step x[r, j]), within 2e-5 of
     * sum_k |a| + |b|; knots and columns as above, any rows.
     *   g, x         (rows, columns)     at leading dimension ldx; g may be x
     *   coefficient  (2, knots, columns) a, then b */
    void (*ecf_gradient)(float *g, const float *x, int64_t ldx, const float *coefficient,
                         int64_t rows, int64_t columns, int knots, float step);
    /* sums[i] += x[i] rounded to fixed point at 2^-32. What is not finite, or not below 64 in magnitude,
     * adds 0; returns how many. */
    int64_t (*add_fixed)(int64_t *sums, const float *x, int64_t count);
};
/* The selected table. */
LJ_API const struct lj_kernels *lj_kernels(void);
/* A level's table for tests; NULL when the processor lacks it. */
LJ_API const struct lj_kernels *lj_kernels_of(enum lj_isa isa);

#endif
