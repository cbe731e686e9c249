/* SPDX-License-Identifier: Apache-2.0 */
/* The specification of every kernel, in plain C. Written apart from kernels_body.h, so that a mistake
 * cannot hide in both. Contracts: lejepa/kernels.h. */
#include "kernel_tables.h"

#include <math.h>

static void k_exp(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = expf(x[i]);
}

static void k_sincos(float *s, float *c, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float angle = x[i]; /* s or c may be x */
        s[i] = sinf(angle);
        c[i] = cosf(angle);
    }
}

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

static void k_gelu(float *y, const float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] = x[i] * cdf(x[i]);
}

static void k_gelu_backward(float *dx, const float *dy, const float *x, int64_t count, bool add)
{
    for (int64_t i = 0; i < count; i++) {
        float density = expf(-0.5f * x[i] * x[i]) / sqrtf(2.0f * (float)M_PI);
        float d = dy[i] * (cdf(x[i]) + x[i] * density);
        dx[i] = add ? dx[i] + d : d;
    }
}

static void k_layernorm(float *y, float *mean, float *rstd, const float *x, const float *weight,
                        const float *bias, int64_t width, float eps)
{
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < width; j++)
        sum += (double)x[j];
    double centre = sum / (double)width;
    for (int64_t j = 0; j < width; j++)
        squares += ((double)x[j] - centre) * ((double)x[j] - centre);
    *mean = (float)centre;
    *rstd = (float)(1.0 / sqrt(squares / (double)width + (double)eps));
    for (int64_t j = 0; j < width; j++)
        y[j] = (x[j] - *mean) * *rstd * weight[j] + bias[j];
}

static void k_layernorm_backward(float *dx, float *dweight, float *dbias, const float *dy,
                                 const float *x, const float *weight, float mean, float rstd,
                                 int64_t width, bool add)
{
    double sum = 0, product = 0;
    for (int64_t j = 0; j < width; j++) {
        float xhat = (x[j] - mean) * rstd;
        dweight[j] += dy[j] * xhat;
        dbias[j] += dy[j];
        sum += (double)(dy[j] * weight[j]);
        product += (double)(dy[j] * weight[j] * xhat);
    }
    float mean_h = (float)(sum / (double)width), mean_hx = (float)(product / (double)width);
    for (int64_t j = 0; j < width; j++) {
        float xhat = (x[j] - mean) * rstd;
        float d = rstd * (dy[j] * weight[j] - mean_h - xhat * mean_hx);
        dx[j] = add ? dx[j] + d : d;
    }
}

static float k_softmax(float *x, int64_t count, float scale)
{
    float most = -INFINITY;
    for (int64_t j = 0; j < count; j++)
        most = fmaxf(most, scale * x[j]);
    double sum = 0;
    for (int64_t j = 0; j < count; j++) {
        x[j] = expf(scale * x[j] - most);
        sum += (double)x[j];
    }
    for (int64_t j = 0; j < count; j++)
        x[j] /= (float)sum;
    return most + logf((float)sum);
}

static void k_softmax_again(float *s, int64_t count, float scale, float logsum)
{
    for (int64_t j = 0; j < count; j++)
        s[j] = expf(scale * s[j] - logsum);
}

static void k_softmax_backward(float *dp, const float *p, int64_t count, float scale)
{
    double sum = 0;
    for (int64_t j = 0; j < count; j++)
        sum += (double)(p[j] * dp[j]);
    for (int64_t j = 0; j < count; j++)
        dp[j] = scale * p[j] * (dp[j] - (float)sum);
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

static void k_column_sums(float *columns, const float *x, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            columns[j] += x[r * width + j];
}

static void k_add_bias(float *y, const float *bias, int64_t rows, int64_t width)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < width; j++)
            y[r * width + j] += bias[j];
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
    int64_t unfit = 0;
    for (int64_t i = 0; i < count; i++) {
        if (fabsf(x[i]) < 64)
            sums[i] += llrint((double)x[i] * 0x1p32);
        else
            unfit++;
    }
    return unfit;
}

const struct lj_kernels lj_kernels_scalar = {
    .name = "scalar",
    .exp = k_exp,
    .sincos = k_sincos,
    .normals = k_normals,
    .gelu = k_gelu,
    .gelu_backward = k_gelu_backward,
    .layernorm = k_layernorm,
    .layernorm_backward = k_layernorm_backward,
    .softmax = k_softmax,
    .softmax_again = k_softmax_again,
    .softmax_backward = k_softmax_backward,
    .add = k_add,
    .axpy = k_axpy,
    .column_sums = k_column_sums,
    .add_bias = k_add_bias,
    .adamw = k_adamw,
    .square_sum = k_square_sum,
    .ecf_sums = k_ecf_sums,
    .ecf_gradient = k_ecf_gradient,
    .add_fixed = k_add_fixed,
};
