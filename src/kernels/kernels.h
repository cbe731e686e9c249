/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. kernels: matmuls and vector loops, chosen once by what the processor can do.
 *
 * The only place with intrinsics, BLIS, oneDNN and SLEEF. Each kernel's type is declared once, with its
 * contract; kernels_scalar.c is the specification, kernels_body.h the vector form compiled once per
 * ISA. Elementwise kernels give the same bits at any position and alignment; sums run in one fixed
 * order that depends on the length only. All local, all safe in parallel threads. */
#ifndef LEJEPA_KERNELS_KERNELS_H
#define LEJEPA_KERNELS_KERNELS_H

#include "base/base.h"

enum lj_isa { LJ_ISA_SCALAR, LJ_ISA_AVX2, LJ_ISA_AVX512, LJ_ISA_AVX512BF16, LJ_ISA_COUNT };

/* The best level of this processor, lowered by LJ_ISA=scalar|avx2|avx512|avx512bf16.
 * Errors: LJ_ERR_CONFIG (unknown or unsupported level; says what is available). */
int lj_isa_best(enum lj_isa *isa) LJ_MUST_USE;
const char *lj_isa_name(enum lj_isa isa);

/* Selects the kernels and forces the level on BLIS and oneDNN; before the first matmul, the same on all
 * ranks. Without it the first use selects lj_isa_best. Errors: LJ_ERR_CONFIG. */
int lj_kernels_select(enum lj_isa isa) LJ_MUST_USE;
enum lj_isa lj_isa_selected(void);
/* Frees what matmuls keep, for all threads; no other thread may use a matmul then or later. */
void lj_kernels_release(void);

/* Type of the elements of an array. bf16 is the upper half of a float, rounded to nearest even. */
enum lj_type { LJ_F32, LJ_BF16 };
typedef uint16_t lj_bf16;

static inline int64_t lj_type_bytes(enum lj_type type)
{
    return type == LJ_BF16 ? 2 : 4;
}

/* Type of an archive's elements in memory, in native byte order. */
enum lj_element {
    LJ_ELEMENT_U8,
    LJ_ELEMENT_I8,
    LJ_ELEMENT_U16,
    LJ_ELEMENT_I16,
    LJ_ELEMENT_U32,
    LJ_ELEMENT_F32,
    LJ_ELEMENT_F64
};

static inline size_t lj_element_bytes(enum lj_element element)
{
    static const size_t bytes[] = {
        [LJ_ELEMENT_U8] = 1,  [LJ_ELEMENT_I8] = 1,  [LJ_ELEMENT_U16] = 2, [LJ_ELEMENT_I16] = 2,
        [LJ_ELEMENT_U32] = 4, [LJ_ELEMENT_F32] = 4, [LJ_ELEMENT_F64] = 8,
    };
    return bytes[element];
}

/* ---- matmuls ----------------------------------------------------------------------------------- */

/* `batch` matmuls of one shape. Arrays are dense and row-major, the matmuls of a batch one behind
 * another: op(A) (m, k) is stored as (m, k), or (k, m) when transposed; op(B) (k, n); C (m, n). */
struct lj_matmul {
    int64_t batch, m, n, k;
    bool transpose_a, transpose_b;
    bool packed_b;       /* B is what lj_matmul_pack made of it; batch 1 */
    bool add;            /* C += op(A) op(B) [+ bias] instead of C = ... */
    enum lj_type input;  /* of A and B; LJ_BF16 at level avx512bf16 only */
    enum lj_type output; /* of C */
};

/* C = op(A) op(B) [+ bias on every row] [+ C], one thread; sums in float32.
 *   bias  (n) float32 or NULL
 * Equal calls give equal bits at any address; an element's bits may depend on m and n, too. Which
 * library computes a shape is fixed by the level and the shape (gemm.c), never by timing.
 * Cost: the first call of a shape in a thread may compile it (oneDNN), some milliseconds. */
void lj_matmul(const struct lj_matmul *matmul, const void *a, const void *b, const float *bias,
               void *c);
/* Packs B (k, n), or (n, k) when transposed, for matmuls with packed_b and any m: laid out as the
 * kernels read it and rounded to matmul->input. Worth it for a factor used in many matmuls.
 *   packed  out, lj_matmul_packed_bytes(matmul) bytes at 64-byte alignment
 * lj_matmul_packed_bytes is 0 where packing does not pay: matmuls then take B as it is. Same bits for the same
 * B. The first call of a shape compiles. */
int64_t lj_matmul_packed_bytes(const struct lj_matmul *matmul);
void lj_matmul_pack(const struct lj_matmul *matmul, const float *b, void *packed);

/* The library that computes a matmul at the selected level: "BLIS" or "oneDNN". */
const char *lj_matmul_backend(const struct lj_matmul *matmul);

/* C (m, n) = alpha op(A) op(B) + beta C in float32, row-major with leading dimensions in elements; one
 * thread. beta 0 never reads C. Equal calls give equal bits at any address. */
void lj_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
             const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
             int64_t ldc);

/* ---- vector loops --------------------------------------------------------------------------------- */

struct lj_adamw_factors {
    float lr, beta1, beta2, eps, decay;
    float correct1, correct2; /* 1 / (1 - beta^step) */
};

/* Channels that convert takes side by side; and what resample may read behind the last tap, in floats:
 * two of the longest vectors. */
enum { LJ_CONVERT_CHANNELS_MAX = 256, LJ_RESAMPLE_SLACK = 32 };
/* Panels of packed factors. */
enum { LJ_PANEL_ROWS = 32, LJ_PANEL_COLUMNS = 64 };

struct lj_kernels {
    const char *name;
    /* Box-Muller, in place: from u in (0, 1] and v in [0, 1], sqrt(-2 log u) times cos(2 pi v) in u and
     * sin(2 pi v) in v; off by at most 3e-6 */
    void (*normals)(float *u, float *v, int64_t count);
    /* Rounds to bf16, and back (which only tests need whole). NaN stays NaN. */
    void (*to_bf16)(lj_bf16 *y, const float *x, int64_t count);
    void (*from_bf16)(float *y, const lj_bf16 *x, int64_t count);
    /* Rounds B (k, n), or (n, k) when transposed, as to_bf16 does, into panels of 64 columns with the rows of a pair
     * side by side: (panels, row pairs, 64, 2). B ends in zeros: k is filled up to a multiple of 32, n of 64.
     *   packed  out, at 64-byte alignment
     * At levels scalar, the specification, and avx512bf16, where matmuls take bf16; NULL at others. */
    void (*pack)(lj_bf16 *packed, const float *b, int64_t k, int64_t n, bool transposed);
    /* y = x Phi(x) and derivative = Phi(x) + x phi(x), all of one type; y or derivative may be x.
     * Absolute error of Phi below 3e-7, relative below 2e-6 down to x = -5. */
    void (*gelu)(void *y, void *derivative, const void *x, enum lj_type type, int64_t count);
    /* y (=, or += when add) a b, all of one type; y may be a or b */
    void (*multiply)(void *y, const void *a, const void *b, enum lj_type type, int64_t count,
                     bool add);
    /* Each row of x: y = (x - mean) rstd weight + bias; mean and rstd (rows) written */
    void (*layernorm)(void *y, enum lj_type type, float *mean, float *rstd, const float *x,
                      const float *weight, const float *bias, int64_t rows, int64_t width,
                      float eps);
    /* Each row: dx (=, +=); dweight += sum of dy xhat; dbias += sum of dy; rows in order */
    void (*layernorm_backward)(float *dx, float *dweight, float *dbias, const void *dy,
                               enum lj_type type, const float *x, const float *weight,
                               const float *mean, const float *rstd, int64_t rows, int64_t width,
                               bool add);
    /* Each row: p = exp(scale s - max) / sum, logsum (rows) = max + log(sum); scale > 0. s is lost; p may
     * be s when float32 */
    void (*softmax)(void *p, enum lj_type type, float *logsum, float *s, int64_t rows,
                    int64_t count, float scale);
    /* Each row: s = exp(scale s - logsum); p = s; ds = scale s (dp - sum(s dp)). p may be s and ds may
     * be dp when float32 */
    void (*softmax_backward)(void *p, void *ds, enum lj_type type, float *s, const float *dp,
                             const float *logsum, int64_t rows, int64_t count, float scale);
    /* y = x + a b, b of the given type;  y (=, or += when add) a x, y of the given type */
    void (*add_scaled)(float *y, const float *x, float a, const void *b, enum lj_type type,
                       int64_t count);
    void (*scale)(void *y, enum lj_type type, float a, const float *x, int64_t count, bool add);
    /* y += x;  y = a x + y */
    void (*add)(float *y, const float *x, int64_t count);
    void (*axpy)(float *y, float a, const float *x, int64_t count);
    /* columns[j] += sum over rows of x[r, j] in row order */
    void (*column_sums)(float *columns, const void *x, enum lj_type type, int64_t rows,
                        int64_t width);
    /* y[r, j] += bias[j] */
    void (*add_bias)(float *y, const float *bias, int64_t rows, int64_t width);
    /* Batch normalisation of rows; all vectors are (width). Adds to the sums of x - shift and of its
     * square, in double, rows in order */
    void (*column_moments)(double *sums, double *squares, const float *x, const float *shift,
                           int64_t rows, int64_t width);
    /* y = (x - mean) rstd weight + bias */
    void (*batchnorm)(float *y, const float *x, const float *mean, const float *rstd,
                      const float *weight, const float *bias, int64_t rows, int64_t width);
    /* Adds to the sums of dy and of dy xhat, xhat = (x - mean) rstd, rows in order */
    void (*batchnorm_sums)(float *sums, float *matmuls, const float *dy, const float *x,
                           const float *mean, const float *rstd, int64_t rows, int64_t width);
    /* dx (=, += when add) weight rstd (dy - dmean - xhat dproduct) */
    void (*batchnorm_backward)(float *dx, const float *dy, const float *x, const float *mean,
                               const float *rstd, const float *weight, const float *dmean,
                               const float *dproduct, int64_t rows, int64_t width, bool add);
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
    /* out (rows, n) += a (rows, inner) b (inner, n) in double, four inner elements at a time; element
     * (r, i) of a lies at a[r row_stride + i inner_stride]. For problems too small for lj_matmul. */
    void (*add_matmul)(double *restrict out, const double *restrict a, int64_t row_stride,
                       int64_t inner_stride, const double *restrict b, int64_t rows, int64_t inner,
                       int64_t n);

    /* Images. All of these but luma_sum give the same bits at every level.
     *
     * y (channels, pixels) from stored elements: u8 / 255, i8 / 127, others rounded to float.
     *   x  (pixels, channels), at most LJ_CONVERT_CHANNELS_MAX, when channels_last, else (channels,
     *      pixels); at any address */
    void (*convert)(float *y, const void *x, enum lj_element element, int64_t channels,
                    int64_t pixels, bool channels_last);
    /* y[i] = sum over j < taps of weight[j] x[j stride + i], in order, fused; taps >= 1. y must not
     * overlap what is read. */
    void (*weighted_sum)(float *y, const float *x, int64_t stride, const float *weight,
                         int64_t taps, int64_t count);
    /* Each row: y[r, i] = sum over j < taps of weight[j, i] x[r ldx + first[i] + j], in order, fused;
     * taps >= 1.
     *   y      (rows, count)  out
     *   x      behind the last tap of the last row LJ_RESAMPLE_SLACK floats more can be read
     *   first  (count)        ascending */
    void (*resample)(float *y, const float *x, int64_t ldx, int64_t rows, const int32_t *first,
                     const float *weight, int64_t taps, int64_t count);
    /* x = (x - centre) gain + shift, the product fused */
    void (*affine)(float *x, int64_t count, float centre, float gain, float shift);
    /* x = factor x + constant, fused, cut to 0..1 */
    void (*blend)(float *x, int64_t count, float factor, float constant);
    /* x = 1 - x where x >= threshold */
    void (*solarize)(float *x, int64_t count, float threshold);
    /* Colours: rgb (3, pixels). luma = 0.2989 r + 0.587 g + 0.114 b, from left to right, fused.
     * luma_sum: in double over blocks of 4096 pixels, each in float */
    double (*luma_sum)(const float *rgb, int64_t pixels);
    /* All three channels = luma */
    void (*grey)(float *rgb, int64_t pixels);
    /* x = factor x + (1 - factor) luma, fused, cut to 0..1 */
    void (*saturate)(float *rgb, int64_t pixels, float factor);
    /* Turns the hue (of HSV) by `turn` sixths of a circle, -6 .. 6. */
    void (*hue)(float *rgb, int64_t pixels, float turn);
};
/* The selected table. */
const struct lj_kernels *lj_kernels(void);

/* Standard normals from a stream, by Box-Muller and the selected kernel.
 *   x  (count) out */
void lj_draw_normals(float *x, int64_t count, struct lj_rng *rng);
/* A level's table for tests; NULL when the processor lacks it. */
const struct lj_kernels *lj_kernels_of(enum lj_isa isa);

#endif
