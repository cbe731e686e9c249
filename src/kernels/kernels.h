/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. kernels: matmuls and vector loops, chosen once by what the processor can do.
 *
 * The only module with intrinsics, BLIS, oneDNN and SLEEF. A kernel is declared here with its
 * contract; scalar/kernels_scalar.c specifies it in plain C; x86/ holds its vector form, written
 * once and compiled for each level. At one level, an elementwise kernel gives the same bits at any
 * position in an array and any alignment, and sums are added in an order that depends on the length
 * only. All functions are local, and safe in parallel threads unless they say otherwise. */
#ifndef LEJEPA_KERNELS_KERNELS_H
#define LEJEPA_KERNELS_KERNELS_H

#include "base/base.h"

/* Levels of instruction sets, each of which includes those before it. */
enum lj_isa { LJ_ISA_SCALAR, LJ_ISA_AVX2, LJ_ISA_AVX512, LJ_ISA_AVX512BF16, LJ_ISA_COUNT };

/* The best level of this processor, or the one that LJ_ISA=scalar|avx2|avx512|avx512bf16 in the
 * environment asks for. Local.
 *   isa  out
 * Errors: LJ_ERR_CONFIG: LJ_ISA is unknown, or above what the processor has. */
int lj_isa_best(enum lj_isa *isa) LJ_MUST_USE;
/* Its name in messages, as in LJ_ISA; a string literal. */
const char *lj_isa_name(enum lj_isa isa);
/* The processor's own name for its model, as in "Intel(R) Xeon(R) Platinum 8480+"; "unknown" if it
 * has none. Local. */
void lj_processor_name(char *text, size_t capacity);

/* Selects the kernels of a level, and sets BLIS and oneDNN to it. Local, but all ranks must select
 * one level to get one set of bits (lj_runtime_agree). Call it before the first matmul, from one
 * thread; without it the first use of a kernel selects lj_isa_best. Errors: LJ_ERR_CONFIG: the
 * processor lacks the level. */
int lj_kernels_select(enum lj_isa isa) LJ_MUST_USE;
/* The selected level. */
enum lj_isa lj_isa_selected(void);
/* Frees the compiled matmuls that all threads have cached. Call it when no other thread will use a
 * matmul any more. */
void lj_kernels_release(void);

/* Type of the elements of an array. */
enum lj_type { LJ_F32, LJ_BF16 };
/* A bf16 number: the upper 16 bits of a float. */
typedef uint16_t lj_bf16;

/* Bytes of an element. */
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

/* Bytes of an element. */
static inline size_t lj_element_bytes(enum lj_element element)
{
    static const size_t bytes[] = {
        [LJ_ELEMENT_U8] = 1,  [LJ_ELEMENT_I8] = 1,  [LJ_ELEMENT_U16] = 2, [LJ_ELEMENT_I16] = 2,
        [LJ_ELEMENT_U32] = 4, [LJ_ELEMENT_F32] = 4, [LJ_ELEMENT_F64] = 8,
    };
    return bytes[element];
}

/* ---- matmuls ----------------------------------------------------------------------------- */

/* `batch` matmuls of one shape, C = op(A) op(B). Arrays are dense and row-major; those of the
 * matmuls of a batch lie one behind another. */
struct lj_matmul {
    int64_t batch;       /* number of matmuls */
    int64_t m;           /* rows of op(A) and C */
    int64_t n;           /* columns of op(B) and C */
    int64_t k;           /* columns of op(A), rows of op(B) */
    bool transpose_a;    /* A is stored as (k, m) instead of (m, k) */
    bool transpose_b;    /* B is stored as (n, k) instead of (k, n) */
    bool packed_b;       /* B is what lj_matmul_pack made of it; batch must be 1 */
    bool add;            /* C += op(A) op(B) [+ bias] instead of C = ... */
    enum lj_type input;  /* of A and B; LJ_BF16 at level avx512bf16 only */
    enum lj_type output; /* of C */
};

/* C = op(A) op(B) [+ bias on every row] [+ C], on the calling thread; sums in float32. Local.
 *   a     in      (batch, m, k), or transposed
 *   b     in      (batch, k, n), or transposed, or packed
 *   bias  in      (n) float32, or NULL
 *   c     in/out  (batch, m, n); read only when matmul->add
 * Equal calls give equal bits at any address, but the bits of an element may depend on m and n. The
 * level and the shape fix which library computes (gemm/gemm.c); timing never does. Cost: a thread's
 * first call of a shape may compile it (oneDNN), which takes milliseconds. */
void lj_matmul(const struct lj_matmul *matmul, const void *a, const void *b, const float *bias,
               void *c);
/* Bytes of the packed form of B for this matmul, whatever its m; 0 where packing does not pay and
 * lj_matmul takes B as it is. Local. */
int64_t lj_matmul_packed_bytes(const struct lj_matmul *matmul);
/* Packs B for matmuls with packed_b: rounds it to matmul->input and lays it out as the library
 * reads it. Worth it for a B that many matmuls share, such as weights. Local.
 *   b       in   (k, n), or (n, k) when matmul->transpose_b
 *   packed  out  (lj_matmul_packed_bytes) at a 64-byte boundary
 * Equal b give equal bits. Cost: a thread's first call of a shape may compile it. */
void lj_matmul_pack(const struct lj_matmul *matmul, const float *b, void *packed);

/* The library that computes this matmul at the selected level: "BLIS" or "oneDNN". Local. */
const char *lj_matmul_backend(const struct lj_matmul *matmul);
/* Names and versions of the libraries behind matmuls, as "BLIS 0.9.0, oneDNN 2.6.2". Local. */
void lj_matmul_libraries(char *text, size_t capacity);

/* C (m, n) = alpha op(A) op(B) + beta C in float32, on the calling thread. Local. Arrays are
 * row-major; lda, ldb and ldc are the elements from one stored row to the next. C is not read when
 * beta is 0. Equal calls give equal bits at any address. */
void lj_gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, float alpha,
             const float *a, int64_t lda, const float *b, int64_t ldb, float beta, float *c,
             int64_t ldc);

/* ---- convolutions ------------------------------------------------------------------------ */

/* The three uses of a convolution y = x * W + b. */
enum lj_convolution_pass {
    LJ_CONVOLUTION_FORWARD,         /* y = x * W + b */
    LJ_CONVOLUTION_INPUT_GRADIENT,  /* dx from dy and W */
    LJ_CONVOLUTION_WEIGHT_GRADIENT, /* dW from x and dy */
};

/* A convolution of maps, channels last, with a square kernel and zeros around the maps. Arrays are
 * dense: x (images, height, width, channels), y (images, height', width', out) with height' =
 * (height + 2 padding - kernel) / stride + 1, and W (out, channels, kernel, kernel) as in PyTorch,
 * or (channels, 1, kernel, kernel) when depthwise. */
struct lj_convolution {
    enum lj_convolution_pass pass;
    int64_t images;
    int64_t height, width, channels; /* of x */
    int64_t out;                     /* channels of y */
    int64_t kernel, stride, padding; /* pixels, the same along both axes */
    bool depthwise;                  /* channel i of y reads channel i of x alone; out = channels */
    bool packed;                     /* W is what lj_convolution_pack made of it */
    bool add;                        /* dW += instead of dW = */
    enum lj_type input;              /* of what is read: x and dy, and W when packed; LJ_BF16 at
                                        level avx512bf16 only */
    enum lj_type output;             /* of what is written, y or dx; dW is always float32 */
};

/* Windows of a convolution along an axis of the maps; 0 where none fits. */
static inline int64_t lj_convolution_windows(const struct lj_convolution *p, int64_t pixels)
{
    int64_t room = pixels + 2 * p->padding - p->kernel;
    return room < 0 ? 0 : room / p->stride + 1;
}
/* Height of y. */
static inline int64_t lj_convolution_height(const struct lj_convolution *convolution)
{
    return lj_convolution_windows(convolution, convolution->height);
}
/* Width of y. */
static inline int64_t lj_convolution_width(const struct lj_convolution *convolution)
{
    return lj_convolution_windows(convolution, convolution->width);
}

/* Runs a pass on the calling thread; sums in float32. Local.
 *   a     in      x; in the input gradient: dy
 *   b     in      W, float32 unless packed; in the weight gradient: dy
 *   bias  in      (out) float32, added in forward; or NULL
 *   c     in/out  y, dx or dW; read only when convolution->add
 * Equal calls give equal bits at any address; the bits may depend on the number of images. The
 * level fixes which library computes (gemm/convolve.c). Cost: a thread's first call of a shape may
 * compile it (oneDNN), which takes milliseconds; W that is not packed is laid out in each call. */
void lj_convolve(const struct lj_convolution *convolution, const void *a, const void *b,
                 const float *bias, void *c);
/* Bytes of the packed W of a pass that reads it, whatever the maps' sizes; 0 where W is taken as it
 * is. Local. */
int64_t lj_convolution_packed_bytes(const struct lj_convolution *convolution);
/* Packs W for calls with `packed`: rounds it to convolution->input and lays it out as the library
 * reads it. Local.
 *   w       in   float32
 *   packed  out  (lj_convolution_packed_bytes) at a 64-byte boundary
 * Equal W give equal bits. */
void lj_convolution_pack(const struct lj_convolution *convolution, const float *w, void *packed);

/* ---- vector loops ------------------------------------------------------------------------ */

/* Settings of an update by AdamW. */
struct lj_adamw_factors {
    float lr;       /* learning rate */
    float beta1;    /* of the first moment */
    float beta2;    /* of the second moment */
    float eps;      /* added to the root of the second moment */
    float decay;    /* weight decay, multiplied by lr */
    float correct1; /* 1 / (1 - beta1^step) */
    float correct2; /* 1 / (1 - beta2^step) */
};

/* What batch normalisation does to the features of a row; arrays (width), borrowed. */
struct lj_batchnorm {
    const float *mean, *rstd; /* 1 / sqrt(variance + eps) */
    const float *weight, *bias;
    bool relu; /* ReLU follows */
};

/* Maps, channels last. */
struct lj_maps {
    int64_t images, height, width, channels;
};

/* The most channels that convert takes when they are stored side by side. */
enum { LJ_CONVERT_CHANNELS_MAX = 256 };
/* Which position of an image a pixel of a rotated one is taken from: row[0] + row[1] x + row[2] y
 * for column x of row y, likewise the column. Pixel centres are whole numbers. */
struct lj_rotation {
    float row[3], column[3];
    int64_t height, width; /* of the image */
};

/* Floats behind the last tap that resample may read: two of the longest vectors. */
enum { LJ_RESAMPLE_SLACK = 32 };
/* Blocks that pack fills up to. */
enum { LJ_PANEL_ROWS = 32, LJ_PANEL_COLUMNS = 64 };

/* The kernels of one level. Arrays are dense and row-major, and must not overlap unless a
 * kernel says that one may be another. "y (=, or += when add)" means: y is overwritten, or
 * added to when add is true. */
struct lj_kernels {
    const char *name; /* of the level */
    /* Box-Muller, in place: from u in (0, 1] and v in [0, 1], sqrt(-2 log u) times cos(2 pi v) in u
     * and sin(2 pi v) in v; off by at most 3e-6 */
    void (*normals)(float *u, float *v, int64_t count);
    /* Rounds to bf16, to nearest even. NaN stays NaN. */
    void (*to_bf16)(lj_bf16 *y, const float *x, int64_t count);
    /* The same numbers in float32. */
    void (*from_bf16)(float *y, const lj_bf16 *x, int64_t count);
    /* Rounds B (k, n), or (n, k) when transposed, as to_bf16 does, and lays it out for oneDNN's
     * bf16 matmuls: panels of 64 columns, in which the two rows of a pair alternate, (panels, row
     * pairs, 64, 2). Zeros fill k up to a multiple of 32 and n up to a multiple of 64.
     *   packed  out  at a 64-byte boundary
     * Exists at level scalar, as the specification, and at avx512bf16; NULL at the others. */
    void (*pack)(lj_bf16 *packed, const float *b, int64_t k, int64_t n, bool transposed);
    /* y = x Phi(x) and derivative = Phi(x) + x phi(x), all of one type; y or derivative may be x.
     * The error of Phi is below 3e-7, and relative to Phi below 2e-6 for x >= -5. */
    void (*gelu)(void *y, void *derivative, const void *x, enum lj_type type, int64_t count);
    /* y (=, or += when add) a b elementwise, all of one type; y may be a or b */
    void (*multiply)(void *y, const void *a, const void *b, enum lj_type type, int64_t count,
                     bool add);
    /* Each row of x: y = (x - mean) rstd weight + bias; mean and rstd (rows) written */
    void (*layernorm)(void *y, enum lj_type type, float *mean, float *rstd, const float *x,
                      const float *weight, const float *bias, int64_t rows, int64_t width,
                      float eps);
    /* Its backward pass, with xhat = (x - mean) rstd, from row to row: dx (=, or += when add);
     * dweight += dy xhat; dbias += dy */
    void (*layernorm_backward)(float *dx, float *dweight, float *dbias, const void *dy,
                               enum lj_type type, const float *x, const float *weight,
                               const float *mean, const float *rstd, int64_t rows, int64_t width,
                               bool add);
    /* Each row: p = exp(scale s - max) / sum, where max and sum are those of the row; logsum (rows)
     * = max + log(sum); scale > 0. Overwrites s; p may be s if it is float32. */
    void (*softmax)(void *p, enum lj_type type, float *logsum, float *s, int64_t rows,
                    int64_t count, float scale);
    /* Its backward pass, each row: s = exp(scale s - logsum); p = s; ds = scale s (dp - sum(s dp)).
     * p may be s, and ds may be dp, if they are float32. */
    void (*softmax_backward)(void *p, void *ds, enum lj_type type, float *s, const float *dp,
                             const float *logsum, int64_t rows, int64_t count, float scale);
    /* e = exp(scale (x - 1)) to 1e-5 for scale (x - 1) above -80, x up to about 1; 0 for x =
     * -infinity. Returns the sum of e, of up to 1024 elements to 1e-5. e may be x. */
    double (*exp_sum)(float *e, const float *x, int64_t count, float scale);
    /* y = x + a b, b of the given type */
    void (*add_scaled)(float *y, const float *x, float a, const void *b, enum lj_type type,
                       int64_t count);
    /* y (=, or += when add) a x, y of the given type */
    void (*scale)(void *y, enum lj_type type, float a, const float *x, int64_t count, bool add);
    /* y += x */
    void (*add)(float *y, const float *x, int64_t count);
    /* y += a x */
    void (*axpy)(float *y, float a, const float *x, int64_t count);
    /* columns[j] += sum over rows of x[r, j] in row order */
    void (*column_sums)(float *columns, const void *x, enum lj_type type, int64_t rows,
                        int64_t width);
    /* y[r, j] += bias[j] */
    void (*add_bias)(float *y, const float *bias, int64_t rows, int64_t width);
    /* Batch normalisation of rows (rows, width); arrays that are nothing else are (width).
     *
     * sums += x - shift and squares += (x - shift)^2, summed over the rows in order, in double */
    void (*column_moments)(double *sums, double *squares, const float *x, const float *shift,
                           int64_t rows, int64_t width);
    /* y = xhat weight + bias [+ trunk], xhat = (x - mean) rstd; with norm->relu the larger of that
     * and 0, NaN if that is NaN
     *   trunk  (rows, width) or NULL */
    void (*batchnorm)(float *y, const float *x, const float *trunk, const struct lj_batchnorm *norm,
                      int64_t rows, int64_t width);
    /* sums += dy and products += dy xhat, summed over the rows in order. With norm->relu, a dy
     * counts where xhat weight + bias > 0 only. */
    void (*batchnorm_sums)(float *sums, float *products, const float *dy, const float *x,
                           const struct lj_batchnorm *norm, int64_t rows, int64_t width);
    /* dx (=, or += when add) weight rstd (dy - dmean - xhat dproduct), where dmean is the mean of
     * dy and dproduct the mean of dy xhat; dy counts as above */
    void (*batchnorm_backward)(float *dx, const float *dy, const float *x,
                               const struct lj_batchnorm *norm, const float *dmean,
                               const float *dproduct, int64_t rows, int64_t width, bool add);
    /* y = the larger of x and 0, NaN if x is NaN; y may be x */
    void (*relu)(float *y, const float *x, int64_t count);
    /* dx (=, or += when add) dy where y > 0, else 0; dx may be dy */
    void (*relu_backward)(float *dx, const float *dy, const float *y, int64_t count, bool add);
    /* The weight gradient of a depthwise convolution of stride 1 that keeps the size of its maps:
     * dw (=, or += when add) the sums over images and windows of dy x.
     *   dw      out  (channels, kernel, kernel); kernel 3, 5 or 7
     *   x, dy   in   (images, height, width, channels) of the given type */
    void (*depthwise_weights)(float *dw, const void *x, const void *dy, enum lj_type type,
                              const struct lj_maps *maps, int64_t kernel, bool add);
    /* One update by AdamW with decoupled decay (formula: optim/adamw.c) */
    void (*adamw)(float *weight, float *moment1, float *moment2, const float *gradient,
                  int64_t count, const struct lj_adamw_factors *factors);
    /* The sum of squares, in double */
    double (*square_sum)(const float *x, int64_t count);
    /* SIGReg's empirical characteristic function: sums over the rows of cos(k step x[r, j]) and
     * sin(k step x[r, j]) for knots k = 1 .. knots. knots is 8 or 16, rows 0 .. 32, columns 0 ..
     * 16. Each cosine and sine is within 2e-5, for any finite x.
     *   sums  out  (2, knots, columns) overwritten: cosines, then sines
     *   x     in   (rows, columns) with ldx floats from row to row
     * An x that is not finite makes its column's sums NaN. */
    void (*ecf_sums)(float *sums, const float *x, int64_t ldx, int64_t rows, int64_t columns,
                     int knots, float step);
    /* SIGReg's gradient: g[r, j] = sum over k of a[k, j] cos(k step x[r, j]) + b[k, j] sin(k step
     * x[r, j]), within 2e-5 times the sum over k of |a[k, j]| + |b[k, j]|. knots and columns as
     * above, any rows.
     *   g            out  (rows, columns) with ldx floats from row to row; may be x
     *   x            in   (rows, columns) likewise
     *   coefficient  in   (2, knots, columns) a, then b */
    void (*ecf_gradient)(float *g, const float *x, int64_t ldx, const float *coefficient,
                         int64_t rows, int64_t columns, int knots, float step);
    /* sums[i] += x[i] rounded to fixed point at 2^-32. An x that is not finite, or not below 64 in
     * magnitude, adds 0; returns the number of these. */
    int64_t (*add_fixed)(int64_t *sums, const float *x, int64_t count);
    /* out (rows, n) += a (rows, inner) b (inner, n) in double, four inner elements at a
     * time; element (r, i) of a lies at a[r row_stride + i inner_stride]. For problems too
     * small for lj_matmul. */
    void (*add_matmul)(double *restrict out, const double *restrict a, int64_t row_stride,
                       int64_t inner_stride, const double *restrict b, int64_t rows, int64_t inner,
                       int64_t n);

    /* Images. All of these kernels but luma_sum give the same bits at every level.
     *
     * Converts stored elements to planes: u8 / 255, i8 / 127, others rounded to float.
     *   y  out  (channels, pixels)
     *   x  in   (pixels, channels) when channels_last, with at most LJ_CONVERT_CHANNELS_MAX
     *           channels; else (channels, pixels); at any address */
    void (*convert)(float *y, const void *x, enum lj_element element, int64_t channels,
                    int64_t pixels, bool channels_last);
    /* y[i] = sum over j < taps of weight[j] x[j stride + i], added in order by fused
     * multiply-adds; taps >= 1. */
    void (*weighted_sum)(float *y, const float *x, int64_t stride, const float *weight,
                         int64_t taps, int64_t count);
    /* Each row: y[r, i] = sum over j < taps of weight[j, i] x[r ldx + first[i] + j], added in order
     * by fused multiply-adds; taps >= 1.
     *   y       out  (rows, count)
     *   x       in   rows with ldx floats from row to row; LJ_RESAMPLE_SLACK floats behind the last
     *                tap of the last row must be readable
     *   first   in   (count) ascending
     *   weight  in   (taps, count) */
    void (*resample)(float *y, const float *x, int64_t ldx, int64_t rows, const int32_t *first,
                     const float *weight, int64_t taps, int64_t count);
    /* y[r, i] = x at the position that pixel (r, i) is taken from, bilinear. A position outside, by
     * no more than the image's size, is reflected at the edges of the pixels.
     *   y  out  (rows, count)
     *   x  in   (rotation->height, rotation->width), fewer than 2^31 pixels */
    void (*rotate)(float *y, const float *x, const struct lj_rotation *rotation, int64_t rows,
                   int64_t count);
    /* x = (x - centre) gain + shift, the multiply-add fused */
    void (*affine)(float *x, int64_t count, float centre, float gain, float shift);
    /* x = factor x + constant, fused, clamped to 0..1 */
    void (*blend)(float *x, int64_t count, float factor, float constant);
    /* x = 1 - x where x >= threshold */
    void (*solarize)(float *x, int64_t count, float threshold);
    /* Colours, rgb (3, pixels), with luma = 0.2989 r + 0.587 g + 0.114 b, added from left to right,
     * fused.
     *
     * The sum of luma over all pixels. The vector form sums 4096 pixels at a time in float32 and
     * adds these sums in double. */
    double (*luma_sum)(const float *rgb, int64_t pixels);
    /* Sets all three channels to luma. */
    void (*grey)(float *rgb, int64_t pixels);
    /* x = factor x + (1 - factor) luma, fused, clamped to 0..1 */
    void (*saturate)(float *rgb, int64_t pixels, float factor);
    /* Turns the hue (of HSV) by `turn` sixths of a circle, -6 .. 6 */
    void (*hue)(float *rgb, int64_t pixels, float turn);
};
/* The kernels of the selected level. Local. */
const struct lj_kernels *lj_kernels(void);

/* Draws standard normal numbers from a stream, by Box-Muller and the kernel `normals`. Local. The
 * bits depend on the level.
 *   x    out     (count)
 *   rng  in/out  (count + 1) / 2 draws are taken */
void lj_draw_normals(float *x, int64_t count, struct lj_rng *rng);
/* The kernels of any level, for tests; NULL when the processor lacks it. Local. */
const struct lj_kernels *lj_kernels_of(enum lj_isa isa);

#endif
