/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. The vector kernels, written once with the inline functions of simd_*.h and
 * compiled once per level, by kernels_avx2.c, kernels_avx512.c and kernels_avx512bf16.c. Contracts:
 * kernels/kernels.h.
 *
 * The last elements of an array, fewer than a vector, go through the same arithmetic under a mask,
 * so that an element's value never depends on its position. Sums are made of partial sums in a
 * pattern that depends on the length only. */

#include "kernels/kernels.h"

/* Runs the statement behind it for every vector of 0 .. count-1. There, i is the position of the
 * vector's first element, and live the number of its elements that are below count. */
#define FOR_VECTORS(count)                             \
    for (int64_t i = 0, live; i < (count); i += WIDTH) \
        if (live = lj_min_i64(WIDTH, (count)-i), true)

static inline vec load(const float *p, int64_t live)
{
    return live == WIDTH ? v_load(p) : v_load_part(p, live);
}

static inline void store(float *p, vec a, int64_t live)
{
    if (live == WIDTH)
        v_store(p, a);
    else
        v_store_part(p, a, live);
}

/* The same for elements from i on of an array of either type. Callers pass `type` as a constant, so
 * that no test is left in a loop. */
static inline vec load_as(const void *p, enum lj_type type, int64_t i, int64_t live)
{
    if (type == LJ_F32)
        return load((const float *)p + i, live);
    const lj_bf16 *bf16 = (const lj_bf16 *)p + i;
    return live == WIDTH ? v_load_bf16(bf16) : v_load_bf16_part(bf16, live);
}

static inline void store_as(void *p, enum lj_type type, int64_t i, vec a, int64_t live)
{
    if (type == LJ_F32) {
        store((float *)p + i, a, live);
    } else {
        lj_bf16 *bf16 = (lj_bf16 *)p + i;
        if (live == WIDTH)
            v_store_bf16(bf16, a);
        else
            v_store_bf16_part(bf16, a, live);
    }
}

static inline void *at_as(void *p, enum lj_type type, int64_t i)
{
    return (char *)p + i * lj_type_bytes(type);
}

static inline const void *at_as_const(const void *p, enum lj_type type, int64_t i)
{
    return (const char *)p + i * lj_type_bytes(type);
}

/* Calls body(..., type) with the type as a constant. */
#define FOR_TYPE(type, body, ...)       \
    do {                                \
        if ((type) == LJ_BF16)          \
            body(__VA_ARGS__, LJ_BF16); \
        else                            \
            body(__VA_ARGS__, LJ_F32);  \
    } while (0)

/* exp(x) to about 2 ulp, by x = n log 2 + r and a polynomial for exp(r), |r| <= log(2)/2 (Cephes).
 * Inline, since a call of SLEEF's exp would spill every vector register. */
static inline vec exp_inline(vec x)
{
    x = v_max(v_set(-150), x); /* exp(-150) is 0; max returns its second argument if that is NaN */
    vec n = v_round(v_mul(x, v_set(1.44269504088896341f)));
    vec r = v_nfma(n, v_set(-2.12194440e-4f), v_nfma(n, v_set(0.693359375f), x));
    vec p = v_fma(v_set(1.9875691500e-4f), r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    p = v_fma(v_mul(r, r), p, v_add(r, v_set(1)));
    return v_scale2(p, n);
}

/* ---- elementwise ------------------------------------------------------------------------- */

static void k_normals(float *u, float *v, int64_t count)
{
    FOR_VECTORS(count)
    {
        /* elements beyond count are loaded as 0; their radius is infinite, and not stored */
        vec radius = v_sqrt(v_mul(v_set(-2), v_log(load(u + i, live)))), sine, cosine;
        v_sincospi(v_mul(v_set(2), load(v + i, live)), &sine, &cosine);
        store(u + i, v_mul(radius, cosine), live);
        store(v + i, v_mul(radius, sine), live);
    }
}

static void k_to_bf16(lj_bf16 *y, const float *x, int64_t count)
{
    FOR_VECTORS(count)
    store_as(y, LJ_BF16, i, load(x + i, live), live);
}

static void k_from_bf16(float *y, const lj_bf16 *x, int64_t count)
{
    FOR_VECTORS(count)
    store(y + i, load_as(x, LJ_BF16, i, live), live);
}

/* Phi(-z) / exp(-z^2/2) for z >= 0, as t p(t) with t = 1 / (1 + 0.36 z); p is a minimax fit
 * of relative error 9e-8. So Phi and phi share one exponential, and small values of Phi
 * keep their digits. */
static inline vec mills(vec z)
{
    static const float c[] = {
        -0.03024029669689209f, 0.13951682758497574f,     -0.22361408943723032f,
        0.10738259320210661f,  -0.00039358186427172087f, 0.09603962824139393f,
        0.12400935092156089f,  0.14368191751431775f,     0.14361766351628774f};
    vec t = v_reciprocal(v_fma(v_set(0.36f), z, v_set(1)));
    vec p = v_set(c[0]);
    for (int k = 1; k < 9; k++)
        p = v_fma(p, t, v_set(c[k]));
    return v_mul(p, t);
}

static inline void gelu_as(void *y, void *derivative, const void *x, int64_t count,
                           enum lj_type type)
{
    FOR_VECTORS(count)
    {
        vec a = load_as(x, type, i, live);
        vec bell = exp_inline(v_mul(v_set(-0.5f), v_mul(a, a)));
        vec tail = v_mul(mills(v_abs(a)), bell);
        vec cdf = v_if_less(a, v_set(0), tail, v_sub(v_set(1), tail));
        store_as(y, type, i, v_mul(a, cdf), live);
        store_as(derivative, type, i, v_fma(v_mul(a, bell), v_set(0.39894228040143268f), cdf),
                 live);
    }
}

static void k_gelu(void *y, void *derivative, const void *x, enum lj_type type, int64_t count)
{
    FOR_TYPE(type, gelu_as, y, derivative, x, count);
}

static inline void multiply_as(void *y, const void *a, const void *b, int64_t count, bool add,
                               enum lj_type type)
{
    FOR_VECTORS(count)
    {
        vec u = load_as(a, type, i, live), v = load_as(b, type, i, live);
        store_as(y, type, i, add ? v_fma(u, v, load_as(y, type, i, live)) : v_mul(u, v), live);
    }
}

static void k_multiply(void *y, const void *a, const void *b, enum lj_type type, int64_t count,
                       bool add)
{
    FOR_TYPE(type, multiply_as, y, a, b, count, add);
}

static inline void add_scaled_as(float *y, const float *x, float a, const void *b, int64_t count,
                                 enum lj_type type)
{
    FOR_VECTORS(count)
    store(y + i, v_fma(v_set(a), load_as(b, type, i, live), load(x + i, live)), live);
}

static void k_add_scaled(float *y, const float *x, float a, const void *b, enum lj_type type,
                         int64_t count)
{
    FOR_TYPE(type, add_scaled_as, y, x, a, b, count);
}

static inline void scale_as(void *y, float a, const float *x, int64_t count, bool add,
                            enum lj_type type)
{
    FOR_VECTORS(count)
    {
        vec u = load(x + i, live), factor = v_set(a);
        store_as(y, type, i, add ? v_fma(factor, u, load_as(y, type, i, live)) : v_mul(factor, u),
                 live);
    }
}

static void k_scale(void *y, enum lj_type type, float a, const float *x, int64_t count, bool add)
{
    FOR_TYPE(type, scale_as, y, a, x, count, add);
}

static void k_add(float *y, const float *x, int64_t count)
{
    FOR_VECTORS(count)
    store(y + i, v_add(load(y + i, live), load(x + i, live)), live);
}

static void k_axpy(float *y, float a, const float *x, int64_t count)
{
    FOR_VECTORS(count)
    store(y + i, v_fma(v_set(a), load(x + i, live), load(y + i, live)), live);
}

static void k_add_bias(float *y, const float *bias, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        k_add(y + r * width, bias, width);
}

static void k_adamw(float *weight, float *moment1, float *moment2, const float *gradient,
                    int64_t count, const struct lj_adamw_factors *f)
{
    vec beta1 = v_set(f->beta1), rest1 = v_set(1 - f->beta1), beta2 = v_set(f->beta2),
        rest2 = v_set(1 - f->beta2), shrink = v_set(1 - f->lr * f->decay),
        rate = v_set(f->lr * f->correct1), correct2 = v_set(f->correct2), eps = v_set(f->eps);
    FOR_VECTORS(count)
    {
        vec g = load(gradient + i, live);
        vec m = v_fma(beta1, load(moment1 + i, live), v_mul(rest1, g));
        vec v = v_fma(beta2, load(moment2 + i, live), v_mul(rest2, v_mul(g, g)));
        vec w = v_mul(shrink, load(weight + i, live));
        vec root = v_add(v_sqrt(v_mul(v, correct2)), eps);
        store(moment1 + i, m, live);
        store(moment2 + i, v, live);
        store(weight + i, v_nfma(rate, v_div(m, root), w), live);
    }
}

/* ---- rows -------------------------------------------------------------------------------- */

static inline float row_sum(const float *x, int64_t width)
{
    vec sum = v_set(0);
    FOR_VECTORS(width)
    sum = v_add(sum, load(x + i, live));
    return v_sum(sum);
}

static inline void layernorm_row(void *y, float *mean, float *rstd, const float *x,
                                 const float *weight, const float *bias, int64_t width, float eps,
                                 enum lj_type type)
{
    float m = row_sum(x, width) / (float)width;
    vec centre = v_set(m), squares = v_set(0), none = v_set(0);
    FOR_VECTORS(width)
    {
        vec d = v_keep(v_sub(load(x + i, live), centre), none, live);
        squares = v_fma(d, d, squares);
    }
    float r = 1.0f / __builtin_sqrtf(v_sum(squares) / (float)width + eps);
    FOR_VECTORS(width)
    {
        vec xhat = v_mul(v_sub(load(x + i, live), centre), v_set(r));
        store_as(y, type, i, v_fma(xhat, load(weight + i, live), load(bias + i, live)), live);
    }
    *mean = m;
    *rstd = r;
}

static inline void layernorm_as(void *y, float *mean, float *rstd, const float *x,
                                const float *weight, const float *bias, int64_t rows, int64_t width,
                                float eps, enum lj_type type)
{
    for (int64_t r = 0; r < rows; r++)
        layernorm_row(at_as(y, type, r * width), mean + r, rstd + r, x + r * width, weight, bias,
                      width, eps, type);
}

static void k_layernorm(void *y, enum lj_type type, float *mean, float *rstd, const float *x,
                        const float *weight, const float *bias, int64_t rows, int64_t width,
                        float eps)
{
    FOR_TYPE(type, layernorm_as, y, mean, rstd, x, weight, bias, rows, width, eps);
}

/* One row, with h = dy weight: dx = rstd (h - mean(h) - xhat mean(h xhat)). */
static inline void layernorm_backward_row(float *dx, float *dweight, float *dbias, const void *dy,
                                          const float *x, const float *weight, float mean,
                                          float rstd, int64_t width, bool add, enum lj_type type)
{
    vec sum = v_set(0), product = v_set(0), centre = v_set(mean), scale = v_set(rstd);
    FOR_VECTORS(width)
    {
        vec d = load_as(dy, type, i, live), h = v_mul(d, load(weight + i, live));
        vec xhat = v_mul(v_sub(load(x + i, live), centre), scale);
        sum = v_add(sum, h);
        product = v_fma(h, xhat, product);
        store(dweight + i, v_fma(d, xhat, load(dweight + i, live)), live);
        store(dbias + i, v_add(d, load(dbias + i, live)), live);
    }
    vec mean_h = v_set(v_sum(sum) / (float)width);
    vec mean_hx = v_set(v_sum(product) / (float)width);
    FOR_VECTORS(width)
    {
        vec h = v_mul(load_as(dy, type, i, live), load(weight + i, live));
        vec xhat = v_mul(v_sub(load(x + i, live), centre), scale);
        vec d = v_mul(scale, v_nfma(xhat, mean_hx, v_sub(h, mean_h)));
        store(dx + i, add ? v_add(load(dx + i, live), d) : d, live);
    }
}

static inline void layernorm_backward_as(float *dx, float *dweight, float *dbias, const void *dy,
                                         const float *x, const float *weight, const float *mean,
                                         const float *rstd, int64_t rows, int64_t width, bool add,
                                         enum lj_type type)
{
    for (int64_t r = 0; r < rows; r++)
        layernorm_backward_row(dx + r * width, dweight, dbias, at_as_const(dy, type, r * width),
                               x + r * width, weight, mean[r], rstd[r], width, add, type);
}

static void k_layernorm_backward(float *dx, float *dweight, float *dbias, const void *dy,
                                 enum lj_type type, const float *x, const float *weight,
                                 const float *mean, const float *rstd, int64_t rows, int64_t width,
                                 bool add)
{
    FOR_TYPE(type, layernorm_backward_as, dx, dweight, dbias, dy, x, weight, mean, rstd, rows,
             width, add);
}

static inline float softmax_row(void *p, float *s, int64_t count, float scale, enum lj_type type)
{
    vec most = v_set(-__builtin_inff()), factor = v_set(scale), sum = v_set(0), none = v_set(0);
    FOR_VECTORS(count)
    most = v_max(most, v_keep(load(s + i, live), most, live));
    float largest = scale * v_largest(most);
    FOR_VECTORS(count)
    {
        vec e = exp_inline(v_sub(v_mul(factor, load(s + i, live)), v_set(largest)));
        sum = v_add(sum, v_keep(e, none, live));
        store(s + i, e, live);
    }
    float total = v_sum(sum);
    vec inverse = v_set(1.0f / total);
    FOR_VECTORS(count)
    store_as(p, type, i, v_mul(load(s + i, live), inverse), live);
    return largest + __builtin_logf(total);
}

static inline void softmax_as(void *p, float *logsum, float *s, int64_t rows, int64_t count,
                              float scale, enum lj_type type)
{
    for (int64_t r = 0; r < rows; r++)
        logsum[r] = softmax_row(at_as(p, type, r * count), s + r * count, count, scale, type);
}

static void k_softmax(void *p, enum lj_type type, float *logsum, float *s, int64_t rows,
                      int64_t count, float scale)
{
    FOR_TYPE(type, softmax_as, p, logsum, s, rows, count, scale);
}

static inline void softmax_backward_row(void *p, void *ds, float *s, const float *dp, float logsum,
                                        int64_t count, float scale, enum lj_type type)
{
    vec sum = v_set(0), none = v_set(0), factor = v_set(scale);
    FOR_VECTORS(count)
    {
        vec e = exp_inline(v_sub(v_mul(factor, load(s + i, live)), v_set(logsum)));
        sum = v_add(sum, v_keep(v_mul(e, load(dp + i, live)), none, live));
        store(s + i, e, live);
        if (type != LJ_F32 || p != (void *)s)
            store_as(p, type, i, e, live);
    }
    vec mean = v_set(v_sum(sum));
    FOR_VECTORS(count)
    {
        vec d = v_sub(load(dp + i, live), mean);
        store_as(ds, type, i, v_mul(v_mul(factor, load(s + i, live)), d), live);
    }
}

static inline void softmax_backward_as(void *p, void *ds, float *s, const float *dp,
                                       const float *logsum, int64_t rows, int64_t count,
                                       float scale, enum lj_type type)
{
    for (int64_t r = 0; r < rows; r++)
        softmax_backward_row(at_as(p, type, r * count), at_as(ds, type, r * count), s + r * count,
                             dp + r * count, logsum[r], count, scale, type);
}

static void k_softmax_backward(void *p, void *ds, enum lj_type type, float *s, const float *dp,
                               const float *logsum, int64_t rows, int64_t count, float scale)
{
    FOR_TYPE(type, softmax_backward_as, p, ds, s, dp, logsum, rows, count, scale);
}

static double k_exp_sum(float *e, const float *x, int64_t count, float scale)
{
    vec factor = v_set(scale), sum = v_set(0), none = v_set(0);
    FOR_VECTORS(count)
    {
        vec value = exp_inline(v_mul(factor, v_sub(load(x + i, live), v_set(1))));
        sum = v_add(sum, v_keep(value, none, live));
        store(e + i, value, live);
    }
    return (double)v_sum(sum);
}

static inline vec relu_of(vec x)
{
    return v_max(v_set(0), x); /* its second argument if that is NaN */
}

static void k_relu(float *y, const float *x, int64_t count)
{
    FOR_VECTORS(count)
    store(y + i, relu_of(load(x + i, live)), live);
}

static void k_relu_backward(float *dx, const float *dy, const float *y, int64_t count, bool add)
{
    FOR_VECTORS(count)
    {
        vec d = v_if_less(v_set(0), load(y + i, live), load(dy + i, live), v_set(0));
        store(dx + i, add ? v_add(load(dx + i, live), d) : d, live);
    }
}

static double k_square_sum(const float *x, int64_t count)
{
    double partial[WIDTH] = {0};
    for (int64_t i = 0; i < count; i += WIDTH)
        for (int64_t j = 0; j < lj_min_i64(WIDTH, count - i); j++)
            partial[j] += (double)x[i + j] * (double)x[i + j];
    double sum = 0;
    for (int j = 0; j < WIDTH; j++)
        sum += partial[j];
    return sum;
}

/* In plain C, since the compiler vectorises the loop over a row of b. */
static void k_add_matmul(double *restrict out, const double *restrict a, int64_t row_stride,
                         int64_t inner_stride, const double *restrict b, int64_t rows,
                         int64_t inner, int64_t n)
{
    int64_t i = 0;
    for (; i + 4 <= inner; i += 4)
        for (int64_t r = 0; r < rows; r++) {
            const double *at = a + r * row_stride + i * inner_stride, *b0 = b + i * n;
            double a0 = at[0], a1 = at[inner_stride], a2 = at[2 * inner_stride],
                   a3 = at[3 * inner_stride];
            for (int64_t k = 0; k < n; k++)
                out[r * n + k] +=
                    (a0 * b0[k] + a1 * b0[n + k]) + (a2 * b0[2 * n + k] + a3 * b0[3 * n + k]);
        }
    for (; i < inner; i++)
        for (int64_t r = 0; r < rows; r++) {
            double a0 = a[r * row_stride + i * inner_stride];
            for (int64_t k = 0; k < n; k++)
                out[r * n + k] += a0 * b[i * n + k];
        }
}

#define KERNEL_TABLE(isa_name, pack_or_null)                                                    \
    {                                                                                           \
        .name = isa_name, .normals = k_normals, .to_bf16 = k_to_bf16, .from_bf16 = k_from_bf16, \
        .gelu = k_gelu, .multiply = k_multiply, .layernorm = k_layernorm,                       \
        .layernorm_backward = k_layernorm_backward, .softmax = k_softmax,                       \
        .softmax_backward = k_softmax_backward, .add_scaled = k_add_scaled, .scale = k_scale,   \
        .add = k_add, .axpy = k_axpy, .column_sums = k_column_sums, .add_bias = k_add_bias,     \
        .column_moments = k_column_moments, .batchnorm = k_batchnorm,                           \
        .batchnorm_sums = k_batchnorm_sums, .batchnorm_backward = k_batchnorm_backward,         \
        .relu = k_relu, .relu_backward = k_relu_backward,                                       \
        .depthwise_weights = k_depthwise_weights, .adamw = k_adamw, .square_sum = k_square_sum, \
        .ecf_sums = k_ecf_sums, .ecf_gradient = k_ecf_gradient, .add_fixed = k_add_fixed,       \
        .add_matmul = k_add_matmul, .convert = k_convert, .weighted_sum = k_weighted_sum,       \
        .resample = k_resample, .rotate = k_rotate, .pack = pack_or_null, .affine = k_affine,   \
        .blend = k_blend, .solarize = k_solarize, .luma_sum = k_luma_sum, .grey = k_grey,       \
        .saturate = k_saturate, .hue = k_hue, .exp_sum = k_exp_sum                              \
    }
