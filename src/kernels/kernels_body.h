/* SPDX-License-Identifier: Apache-2.0 */
/* The vector kernels, written once against the inline functions of simd_*.h and compiled once per
 * ISA by kernels_avx2.c and kernels_avx512.c. Contracts: lejepa/kernels.h.
 *
 * Tails go through the same arithmetic under a mask, so that an element's value never depends on
 * where it stands; sums use a fixed pattern of partial sums that depends on the length only. */

#include "lejepa/kernels.h"

/* Runs `body` on every vector of 0 .. count-1; in it `i` is the position, `live` the lanes in use. */
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

/* Sum of a vector's lanes by halving. */
static float across_sum(vec a)
{
    float lane[WIDTH];
    v_store(lane, a);
    for (int half = WIDTH / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    return lane[0];
}

static float across_max(vec a)
{
    float lane[WIDTH], most;
    v_store(lane, a);
    most = lane[0];
    for (int j = 1; j < WIDTH; j++)
        most = lane[j] > most ? lane[j] : most;
    return most;
}

/* ---- elementwise ------------------------------------------------------------------------------ */

static void k_exp(float *y, const float *x, int64_t count)
{
    FOR_VECTORS(count)
    store(y + i, v_exp(load(x + i, live)), live);
}

static void k_sincos(float *s, float *c, const float *x, int64_t count)
{
    FOR_VECTORS(count)
    {
        vec sine, cosine;
        v_sincos(load(x + i, live), &sine, &cosine);
        store(s + i, sine, live);
        store(c + i, cosine, live);
    }
}

static void k_normals(float *u, float *v, int64_t count)
{
    FOR_VECTORS(count)
    {
        /* lanes beyond the tail read as 0, and their infinite radius is not written */
        vec radius = v_sqrt(v_mul(v_set(-2), v_log(load(u + i, live)))), sine, cosine;
        v_sincospi(v_mul(v_set(2), load(v + i, live)), &sine, &cosine);
        store(u + i, v_mul(radius, cosine), live);
        store(v + i, v_mul(radius, sine), live);
    }
}

static inline vec normal_cdf(vec x)
{
    vec e = v_erf(v_mul(x, v_set(0.70710678118654752f)));
    return v_fma(v_set(0.5f), e, v_set(0.5f));
}

static void k_gelu(float *y, const float *x, int64_t count)
{
    FOR_VECTORS(count)
    {
        vec a = load(x + i, live);
        store(y + i, v_mul(a, normal_cdf(a)), live);
    }
}

static void k_gelu_backward(float *dx, const float *dy, const float *x, int64_t count, bool add)
{
    FOR_VECTORS(count)
    {
        vec a = load(x + i, live);
        vec density = v_mul(v_set(0.39894228040143268f), v_exp(v_mul(v_set(-0.5f), v_mul(a, a))));
        vec d = v_mul(load(dy + i, live), v_fma(a, density, normal_cdf(a)));
        store(dx + i, add ? v_add(load(dx + i, live), d) : d, live);
    }
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

/* ---- rows --------------------------------------------------------------------------------------- */

static float row_sum(const float *x, int64_t width)
{
    vec sum = v_set(0);
    FOR_VECTORS(width)
    sum = v_add(sum, load(x + i, live));
    return across_sum(sum);
}

static void k_layernorm(float *y, float *mean, float *rstd, const float *x, const float *weight,
                        const float *bias, int64_t width, float eps)
{
    float m = row_sum(x, width) / (float)width;
    vec centre = v_set(m), squares = v_set(0), none = v_set(0);
    FOR_VECTORS(width)
    {
        vec d = v_keep(v_sub(load(x + i, live), centre), none, live);
        squares = v_fma(d, d, squares);
    }
    float r = 1.0f / __builtin_sqrtf(across_sum(squares) / (float)width + eps);
    FOR_VECTORS(width)
    {
        vec xhat = v_mul(v_sub(load(x + i, live), centre), v_set(r));
        store(y + i, v_fma(xhat, load(weight + i, live), load(bias + i, live)), live);
    }
    *mean = m;
    *rstd = r;
}

/* With h = dy weight: dx = rstd (h - mean(h) - xhat mean(h xhat)). */
static void k_layernorm_backward(float *dx, float *dweight, float *dbias, const float *dy,
                                 const float *x, const float *weight, float mean, float rstd,
                                 int64_t width, bool add)
{
    vec sum = v_set(0), product = v_set(0), centre = v_set(mean), scale = v_set(rstd);
    FOR_VECTORS(width)
    {
        vec d = load(dy + i, live), h = v_mul(d, load(weight + i, live));
        vec xhat = v_mul(v_sub(load(x + i, live), centre), scale);
        sum = v_add(sum, h);
        product = v_fma(h, xhat, product);
        store(dweight + i, v_fma(d, xhat, load(dweight + i, live)), live);
        store(dbias + i, v_add(d, load(dbias + i, live)), live);
    }
    vec mean_h = v_set(across_sum(sum) / (float)width);
    vec mean_hx = v_set(across_sum(product) / (float)width);
    FOR_VECTORS(width)
    {
        vec h = v_mul(load(dy + i, live), load(weight + i, live));
        vec xhat = v_mul(v_sub(load(x + i, live), centre), scale);
        vec d = v_mul(scale, v_nfma(xhat, mean_hx, v_sub(h, mean_h)));
        store(dx + i, add ? v_add(load(dx + i, live), d) : d, live);
    }
}

static float k_softmax(float *x, int64_t count, float scale)
{
    vec most = v_set(-__builtin_inff()), factor = v_set(scale);
    FOR_VECTORS(count)
    most = v_max(most, v_keep(v_mul(factor, load(x + i, live)), most, live));
    float largest = across_max(most);
    vec sum = v_set(0), none = v_set(0);
    FOR_VECTORS(count)
    {
        vec e = v_exp(v_sub(v_mul(factor, load(x + i, live)), v_set(largest)));
        sum = v_add(sum, v_keep(e, none, live));
        store(x + i, e, live);
    }
    float total = across_sum(sum);
    vec inverse = v_set(1.0f / total);
    FOR_VECTORS(count)
    store(x + i, v_mul(load(x + i, live), inverse), live);
    return largest + __builtin_logf(total);
}

static void k_softmax_again(float *s, int64_t count, float scale, float logsum)
{
    FOR_VECTORS(count)
    store(s + i, v_exp(v_sub(v_mul(v_set(scale), load(s + i, live)), v_set(logsum))), live);
}

static void k_softmax_backward(float *dp, const float *p, int64_t count, float scale)
{
    vec sum = v_set(0);
    FOR_VECTORS(count)
    sum = v_fma(load(dp + i, live), load(p + i, live), sum);
    vec mean = v_set(across_sum(sum)), factor = v_set(scale);
    FOR_VECTORS(count)
    {
        vec d = v_sub(load(dp + i, live), mean);
        store(dp + i, v_mul(v_mul(factor, load(p + i, live)), d), live);
    }
}

static void k_column_sums(float *columns, const float *x, int64_t rows, int64_t width)
{
    FOR_VECTORS(width)
    {
        vec sum = load(columns + i, live);
        for (int64_t r = 0; r < rows; r++)
            sum = v_add(sum, load(x + r * width + i, live));
        store(columns + i, sum, live);
    }
}

static double k_square_sum(const float *x, int64_t count)
{
    double part[WIDTH] = {0};
    for (int64_t i = 0; i < count; i += WIDTH)
        for (int64_t j = 0; j < lj_min_i64(WIDTH, count - i); j++)
            part[j] += (double)x[i + j] * (double)x[i + j];
    double sum = 0;
    for (int j = 0; j < WIDTH; j++)
        sum += part[j];
    return sum;
}

#define KERNEL_TABLE(isa_name)                                                                    \
    {                                                                                             \
        .name = isa_name, .exp = k_exp, .sincos = k_sincos, .normals = k_normals, .gelu = k_gelu, \
        .gelu_backward = k_gelu_backward, .layernorm = k_layernorm,                               \
        .layernorm_backward = k_layernorm_backward, .softmax = k_softmax,                         \
        .softmax_again = k_softmax_again, .softmax_backward = k_softmax_backward, .add = k_add,   \
        .axpy = k_axpy, .column_sums = k_column_sums, .add_bias = k_add_bias, .adamw = k_adamw,   \
        .square_sum = k_square_sum, .ecf_sums = k_ecf_sums, .ecf_gradient = k_ecf_gradient,       \
        .add_fixed = k_add_fixed                                                                  \
    }
