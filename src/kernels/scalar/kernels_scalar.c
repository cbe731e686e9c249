/* SPDX-License-Identifier: Apache-2.0 */
/* The specification of every kernel, in plain C. It shares no code with the vector form (x86/), so
 * that a mistake cannot hide in both. Contracts: kernels/kernels.h. */
#include "kernels/kernel_tables.h"

#include <math.h>
#include <string.h>

static void k_normals(float *u, float *v, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double radius = sqrt(-2 * log((double)u[i])), angle = 2 * M_PI * (double)v[i];
        u[i] = (float)(radius * cos(angle));
        v[i] = (float)(radius * sin(angle));
    }
}

static float cdf(float x)
{
    return 0.5f * (1.0f + erff(x * (float)M_SQRT1_2));
}

/* ---- bf16 -------------------------------------------------------------------------------- */

static lj_bf16 to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x))
        return 0x7fc0;
    return (lj_bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float from_bf16(lj_bf16 x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float get(const void *x, enum lj_type type, int64_t i)
{
    return type == LJ_F32 ? ((const float *)x)[i] : from_bf16(((const lj_bf16 *)x)[i]);
}

static void put(void *y, enum lj_type type, int64_t i, float value)
{
    if (type == LJ_F32)
        ((float *)y)[i] = value;
    else
        ((lj_bf16 *)y)[i] = to_bf16(value);
}

static void k_to_bf16(lj_bf16 *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = to_bf16(x[i]);
}

static void k_from_bf16(float *y, const lj_bf16 *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = from_bf16(x[i]);
}

static void k_pack(lj_bf16 *packed, const float *b, int64_t k, int64_t n, bool transposed)
{
    int64_t rows = lj_round_up(k, LJ_PANEL_ROWS), columns = lj_round_up(n, LJ_PANEL_COLUMNS);
    for (int64_t j = 0; j < columns; j++) {
        lj_bf16 *panel = packed + j / LJ_PANEL_COLUMNS * LJ_PANEL_COLUMNS * rows;
        for (int64_t i = 0; i < rows; i++) {
            bool inside = i < k && j < n;
            float value = !inside ? 0 : transposed ? b[j * k + i] : b[i * n + j];
            panel[(i / 2 * LJ_PANEL_COLUMNS + j % LJ_PANEL_COLUMNS) * 2 + i % 2] = to_bf16(value);
        }
    }
}

/* ---- elementwise ------------------------------------------------------------------------- */

static void k_gelu(void *y, void *derivative, const void *x, enum lj_type type, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float a = get(x, type, i), phi = cdf(a);
        float density = expf(-0.5f * a * a) / sqrtf(2.0f * (float)M_PI);
        put(y, type, i, a * phi);
        put(derivative, type, i, phi + a * density);
    }
}

static void k_multiply(void *y, const void *a, const void *b, enum lj_type type, int64_t count,
                       bool add)
{
    for (int64_t i = 0; i < count; i++) {
        float u = get(a, type, i), v = get(b, type, i);
        put(y, type, i, add ? fmaf(u, v, get(y, type, i)) : u * v);
    }
}

static void k_add_scaled(float *y, const float *x, float a, const void *b, enum lj_type type,
                         int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = fmaf(a, get(b, type, i), x[i]);
}

static void k_scale(void *y, enum lj_type type, float a, const float *x, int64_t count, bool add)
{
    for (int64_t i = 0; i < count; i++)
        put(y, type, i, add ? fmaf(a, x[i], get(y, type, i)) : a * x[i]);
}

/* ---- rows -------------------------------------------------------------------------------- */

static void k_layernorm(void *y, enum lj_type type, float *mean, float *rstd, const float *x,
                        const float *weight, const float *bias, int64_t rows, int64_t width,
                        float eps)
{
    for (int64_t r = 0; r < rows; r++, x += width) {
        double sum = 0, squares = 0;
        for (int64_t j = 0; j < width; j++)
            sum += (double)x[j];
        double centre = sum / (double)width;
        for (int64_t j = 0; j < width; j++)
            squares += ((double)x[j] - centre) * ((double)x[j] - centre);
        mean[r] = (float)centre;
        rstd[r] = (float)(1.0 / sqrt(squares / (double)width + (double)eps));
        for (int64_t j = 0; j < width; j++)
            put(y, type, r * width + j, (x[j] - mean[r]) * rstd[r] * weight[j] + bias[j]);
    }
}

static void k_layernorm_backward(float *dx, float *dweight, float *dbias, const void *dy,
                                 enum lj_type type, const float *x, const float *weight,
                                 const float *mean, const float *rstd, int64_t rows, int64_t width,
                                 bool add)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0, product = 0;
        for (int64_t j = 0, i = r * width; j < width; j++, i++) {
            float xhat = (x[i] - mean[r]) * rstd[r], d = get(dy, type, i);
            dweight[j] += d * xhat;
            dbias[j] += d;
            sum += (double)(d * weight[j]);
            product += (double)(d * weight[j] * xhat);
        }
        float mean_h = (float)(sum / (double)width), mean_hx = (float)(product / (double)width);
        for (int64_t j = 0, i = r * width; j < width; j++, i++) {
            float xhat = (x[i] - mean[r]) * rstd[r];
            float d = rstd[r] * (get(dy, type, i) * weight[j] - mean_h - xhat * mean_hx);
            dx[i] = add ? dx[i] + d : d;
        }
    }
}

static void k_softmax(void *p, enum lj_type type, float *logsum, float *s, int64_t rows,
                      int64_t count, float scale)
{
    for (int64_t r = 0; r < rows; r++, s += count) {
        float most = -INFINITY;
        for (int64_t j = 0; j < count; j++)
            most = fmaxf(most, scale * s[j]);
        double sum = 0;
        for (int64_t j = 0; j < count; j++) {
            s[j] = expf(scale * s[j] - most);
            sum += (double)s[j];
        }
        for (int64_t j = 0; j < count; j++)
            put(p, type, r * count + j, s[j] / (float)sum);
        logsum[r] = most + logf((float)sum);
    }
}

static void k_softmax_backward(void *p, void *ds, enum lj_type type, float *s, const float *dp,
                               const float *logsum, int64_t rows, int64_t count, float scale)
{
    for (int64_t r = 0; r < rows; r++, s += count, dp += count) {
        double sum = 0;
        for (int64_t j = 0; j < count; j++) {
            s[j] = expf(scale * s[j] - logsum[r]);
            sum += (double)(s[j] * dp[j]);
        }
        for (int64_t j = 0; j < count; j++) {
            put(ds, type, r * count + j, scale * s[j] * (dp[j] - (float)sum));
            put(p, type, r * count + j, s[j]);
        }
    }
}

static void k_add(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] += x[i];
}

static void k_axpy(float *y, float a, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

static void k_column_sums(float *columns, const void *x, enum lj_type type, int64_t rows,
                          int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            columns[j] += get(x, type, r * width + j);
}

static void k_add_bias(float *y, const float *bias, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            y[r * width + j] += bias[j];
}

static void k_column_moments(double *sums, double *squares, const float *x, const float *shift,
                             int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++) {
            double d = (double)x[r * width + j] - (double)shift[j];
            sums[j] += d;
            squares[j] += d * d;
        }
}

/* (x - mean) rstd of column j. */
static float normalised(float x, const struct lj_batchnorm *norm, int64_t j)
{
    return (x - norm->mean[j]) * norm->rstd[j];
}

static void k_batchnorm(float *y, const float *x, const float *trunk,
                        const struct lj_batchnorm *norm, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++) {
            int64_t i = r * width + j;
            float v = normalised(x[i], norm, j) * norm->weight[j] + norm->bias[j];
            v = trunk ? v + trunk[i] : v;
            y[i] = norm->relu && v < 0 ? 0 : v;
        }
}

/* dy where ReLU lets it through. */
static float passed(float dy, float xhat, const struct lj_batchnorm *norm, int64_t j)
{
    return !norm->relu || xhat * norm->weight[j] + norm->bias[j] > 0 ? dy : 0;
}

static void k_batchnorm_sums(float *sums, float *products, const float *dy, const float *x,
                             const struct lj_batchnorm *norm, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++) {
            float xhat = normalised(x[r * width + j], norm, j);
            float d = passed(dy[r * width + j], xhat, norm, j);
            sums[j] += d;
            products[j] += d * xhat;
        }
}

static void k_batchnorm_backward(float *dx, const float *dy, const float *x,
                                 const struct lj_batchnorm *norm, const float *dmean,
                                 const float *dproduct, int64_t rows, int64_t width, bool add)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++) {
            int64_t i = r * width + j;
            float xhat = normalised(x[i], norm, j), d = passed(dy[i], xhat, norm, j);
            d = norm->weight[j] * norm->rstd[j] * (d - dmean[j] - xhat * dproduct[j]);
            dx[i] = add ? dx[i] + d : d;
        }
}

static void k_relu(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] < 0 ? 0 : x[i];
}

static void k_relu_backward(float *dx, const float *dy, const float *y, int64_t count, bool add)
{
    for (int64_t i = 0; i < count; i++) {
        float d = y[i] > 0 ? dy[i] : 0;
        dx[i] = add ? dx[i] + d : d;
    }
}

/* The sum over all windows for one element of dw. */
static float window_sum(const void *x, const void *dy, enum lj_type type,
                        const struct lj_maps *maps, int64_t channel, int64_t down, int64_t right)
{
    float sum = 0;
    for (int64_t n = 0; n < maps->images * maps->height * maps->width; n++) {
        int64_t line = n / maps->width % maps->height + down, column = n % maps->width + right;
        if (line >= 0 && line < maps->height && column >= 0 && column < maps->width)
            sum += get(dy, type, n * maps->channels + channel) *
                   get(x, type, (n + down * maps->width + right) * maps->channels + channel);
    }
    return sum;
}

static void k_depthwise_weights(float *dw, const void *x, const void *dy, enum lj_type type,
                                const struct lj_maps *maps, int64_t kernel, bool add)
{
    int64_t size = kernel * kernel, half = kernel / 2;
    for (int64_t i = 0; i < maps->channels * size; i++) {
        float sum =
            window_sum(x, dy, type, maps, i / size, i % size / kernel - half, i % kernel - half);
        dw[i] = add ? dw[i] + sum : sum;
    }
}

static void k_adamw(float *weight, float *moment1, float *moment2, const float *gradient,
                    int64_t count, const struct lj_adamw_factors *f)
{
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i];
        moment1[i] = f->beta1 * moment1[i] + (1 - f->beta1) * g;
        moment2[i] = f->beta2 * moment2[i] + (1 - f->beta2) * g * g;
        float root = sqrtf(moment2[i] * f->correct2) + f->eps;
        weight[i] = weight[i] * (1 - f->lr * f->decay) - f->lr * f->correct1 * moment1[i] / root;
    }
}

static double k_square_sum(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void k_ecf_sums(float *sums, const float *x, int64_t ldx, int64_t rows, int64_t columns,
                       int knots, float step)
{
    for (int k = 0; k < knots; k++)
        for (int64_t j = 0; j < columns; j++) {
            float c = 0, s = 0;
            for (int64_t r = 0; r < rows; r++) {
                double angle = (double)(k + 1) * (double)step * (double)x[r * ldx + j];
                c += (float)cos(angle);
                s += (float)sin(angle);
            }
            sums[k * columns + j] = c;
            sums[(knots + k) * columns + j] = s;
        }
}

static void k_ecf_gradient(float *g, const float *x, int64_t ldx, const float *coefficient,
                           int64_t rows, int64_t columns, int knots, float step)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++) {
            const float *a = coefficient + j, *b = a + knots * columns;
            double sum = 0, angle = (double)step * (double)x[r * ldx + j];
            for (int k = 0; k < knots; k++)
                sum += (double)a[k * columns] * cos((k + 1) * angle) +
                       (double)b[k * columns] * sin((k + 1) * angle);
            g[r * ldx + j] = (float)sum;
        }
}

static int64_t k_add_fixed(int64_t *sums, const float *x, int64_t count)
{
    int64_t nonfinite = 0;
    for (int64_t i = 0; i < count; i++) {
        if (fabsf(x[i]) < 64)
            sums[i] += llrint((double)x[i] * 0x1p32);
        else
            nonfinite++;
    }
    return nonfinite;
}

/* ---- small matmuls in double ------------------------------------------------------------- */

static void k_add_matmul(double *restrict out, const double *restrict a, int64_t row_stride,
                         int64_t inner_stride, const double *restrict b, int64_t rows,
                         int64_t inner, int64_t n)
{
    int64_t fours = inner - inner % 4;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < n; k++) {
            double sum = out[r * n + k], t[4];
            for (int64_t i = 0; i < inner; i++) {
                t[i % 4] = a[r * row_stride + i * inner_stride] * b[i * n + k];
                if (i >= fours)
                    sum += t[i % 4];
                else if (i % 4 == 3)
                    sum += (t[0] + t[1]) + (t[2] + t[3]);
            }
            out[r * n + k] = sum;
        }
}

/* ---- images ------------------------------------------------------------------------------ */

static float element_value(const void *x, enum lj_element element, int64_t i)
{
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        float f32;
        double f64;
    } v;
    size_t bytes = lj_element_bytes(element);
    memcpy(&v, (const char *)x + (size_t)i * bytes, bytes);
    switch (element) {
    case LJ_ELEMENT_U8:
        return (float)v.u8 / 255.0f;
    case LJ_ELEMENT_I8:
        return (float)v.i8 / 127.0f;
    case LJ_ELEMENT_U16:
        return (float)v.u16;
    case LJ_ELEMENT_I16:
        return (float)v.i16;
    case LJ_ELEMENT_U32:
        return (float)v.u32;
    case LJ_ELEMENT_F32:
        return v.f32;
    default:
        return (float)v.f64;
    }
}

static void k_convert(float *y, const void *x, enum lj_element element, int64_t channels,
                      int64_t pixels, bool channels_last)
{
    for (int64_t c = 0; c < channels; c++)
        for (int64_t p = 0; p < pixels; p++)
            y[c * pixels + p] =
                element_value(x, element, channels_last ? p * channels + c : c * pixels + p);
}

static void k_weighted_sum(float *y, const float *x, int64_t stride, const float *weight,
                           int64_t taps, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        y[i] = weight[0] * x[i];
        for (int64_t j = 1; j < taps; j++)
            y[i] = fmaf(weight[j], x[j * stride + i], y[i]);
    }
}

static void k_resample(float *y, const float *x, int64_t ldx, int64_t rows, const int32_t *first,
                       const float *weight, int64_t taps, int64_t count)
{
    for (int64_t r = 0; r < rows; r++, x += ldx, y += count)
        for (int64_t i = 0; i < count; i++) {
            y[i] = weight[i] * x[first[i]];
            for (int64_t j = 1; j < taps; j++)
                y[i] = fmaf(weight[j * count + i], x[first[i] + j], y[i]);
        }
}

static void k_affine(float *x, int64_t count, float centre, float gain, float shift)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = fmaf(x[i] - centre, gain, shift);
}

static float clamp01(float x)
{
    return x > 1 ? 1 : x > 0 ? x : 0;
}

static void k_blend(float *x, int64_t count, float factor, float constant)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = clamp01(fmaf(factor, x[i], constant));
}

static void k_solarize(float *x, int64_t count, float threshold)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = x[i] >= threshold ? 1 - x[i] : x[i];
}

static float luma(const float *rgb, int64_t pixels, int64_t i)
{
    return fmaf(0.114f, rgb[2 * pixels + i], fmaf(0.587f, rgb[pixels + i], 0.2989f * rgb[i]));
}

static double k_luma_sum(const float *rgb, int64_t pixels)
{
    double sum = 0;
    for (int64_t i = 0; i < pixels; i++)
        sum += (double)luma(rgb, pixels, i);
    return sum;
}

static void k_grey(float *rgb, int64_t pixels)
{
    for (int64_t i = 0; i < pixels; i++)
        rgb[i] = rgb[pixels + i] = rgb[2 * pixels + i] = luma(rgb, pixels, i);
}

static void k_saturate(float *rgb, int64_t pixels, float factor)
{
    for (int64_t i = 0; i < pixels; i++) {
        float rest = (1 - factor) * luma(rgb, pixels, i);
        for (int c = 0; c < 3; c++)
            rgb[c * pixels + i] = clamp01(fmaf(factor, rgb[c * pixels + i], rest));
    }
}

/* Hue in sixths of a circle: 0 for red, 1 for yellow, 2 for green, and so on. */
static float hue_of(float red, float green, float blue, float value, float chroma)
{
    if (value == red)
        return (green - blue) / chroma;
    if (value == green)
        return 2 + (blue - red) / chroma;
    return 4 + (red - green) / chroma;
}

/* One channel of a colour: a trapezoid of the hue, shifted by 5, 3, 1 for red, green, blue. */
static float channel_of(float hue, float shift, float value, float chroma)
{
    float k = hue + shift;
    if (k >= 6)
        k -= 6;
    return fmaf(-chroma, clamp01(fminf(k, 4 - k)), value);
}

static void k_hue(float *rgb, int64_t pixels, float turn)
{
    float *r = rgb, *g = r + pixels, *b = g + pixels;
    for (int64_t i = 0; i < pixels; i++) {
        float value = fmaxf(r[i], fmaxf(g[i], b[i]));
        float chroma = value - fminf(r[i], fminf(g[i], b[i]));
        if (chroma == 0)
            continue; /* grey has no hue */
        float hue = hue_of(r[i], g[i], b[i], value, chroma) + turn;
        if (hue < 0)
            hue += 6;
        if (hue >= 6)
            hue -= 6;
        r[i] = channel_of(hue, 5, value, chroma);
        g[i] = channel_of(hue, 3, value, chroma);
        b[i] = channel_of(hue, 1, value, chroma);
    }
}

const struct lj_kernels lj_kernels_scalar = {
    .name = "scalar",
    .normals = k_normals,
    .to_bf16 = k_to_bf16,
    .from_bf16 = k_from_bf16,
    .pack = k_pack,
    .gelu = k_gelu,
    .multiply = k_multiply,
    .layernorm = k_layernorm,
    .layernorm_backward = k_layernorm_backward,
    .softmax = k_softmax,
    .softmax_backward = k_softmax_backward,
    .add_scaled = k_add_scaled,
    .scale = k_scale,
    .add = k_add,
    .axpy = k_axpy,
    .column_sums = k_column_sums,
    .add_bias = k_add_bias,
    .column_moments = k_column_moments,
    .batchnorm = k_batchnorm,
    .batchnorm_sums = k_batchnorm_sums,
    .batchnorm_backward = k_batchnorm_backward,
    .relu = k_relu,
    .relu_backward = k_relu_backward,
    .depthwise_weights = k_depthwise_weights,
    .adamw = k_adamw,
    .square_sum = k_square_sum,
    .ecf_sums = k_ecf_sums,
    .ecf_gradient = k_ecf_gradient,
    .add_fixed = k_add_fixed,
    .add_matmul = k_add_matmul,
    .convert = k_convert,
    .weighted_sum = k_weighted_sum,
    .resample = k_resample,
    .rotate = lj_scalar_rotate,
    .exp_sum = lj_scalar_exp_sum,
    .affine = k_affine,
    .blend = k_blend,
    .solarize = k_solarize,
    .luma_sum = k_luma_sum,
    .grey = k_grey,
    .saturate = k_saturate,
    .hue = k_hue,
};
