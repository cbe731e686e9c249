/* SPDX-License-Identifier: Apache-2.0 */
/* The layers' formulas as plain loops in double. */
#include "reference_ops.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

void reference_linear(const struct reference_op *op, const double *x, const double *const *p,
                      double *y)
{
    for (int64_t r = 0; r < op->images * op->rows; r++)
        for (int64_t o = 0; o < op->out; o++) {
            y[r * op->out + o] = p[1][o];
            for (int64_t i = 0; i < op->width; i++)
                y[r * op->out + o] += x[r * op->width + i] * p[0][o * op->width + i];
        }
}

void reference_cosine(const struct reference_op *op, const double *x, const double *const *p,
                      double *y)
{
    for (int64_t r = 0; r < op->images * op->rows; r++)
        for (int64_t o = 0; o < op->out; o++) {
            double product = 0, xx = 0, ww = 0;
            for (int64_t i = 0; i < op->width; i++) {
                double a = x[r * op->width + i], w = p[0][o * op->width + i];
                product += a * w;
                xx += a * a;
                ww += w * w;
            }
            y[r * op->out + o] = product / sqrt(xx * ww);
        }
}

/* y = (x - mean) / sqrt(var + eps) weight + bias over `count` elements, `stride` apart; weights and
 * biases are `wstep` apart. */
static void normalise(const double *x, double *y, int64_t count, int64_t stride, double eps,
                      const double *weight, const double *bias, int64_t wstep)
{
    double mean = 0, var = 0;
    for (int64_t i = 0; i < count; i++)
        mean += x[i * stride] / (double)count;
    for (int64_t i = 0; i < count; i++)
        var += (x[i * stride] - mean) * (x[i * stride] - mean) / (double)count;
    for (int64_t i = 0; i < count; i++)
        y[i * stride] =
            (x[i * stride] - mean) / sqrt(var + eps) * weight[i * wstep] + bias[i * wstep];
}

void reference_layernorm(const struct reference_op *op, const double *x, const double *const *p,
                         double *y)
{
    for (int64_t r = 0; r < op->images * op->rows; r++)
        normalise(x + r * op->width, y + r * op->width, op->width, 1, op->eps, p[0], p[1], 1);
}

void reference_batchnorm(const struct reference_op *op, const double *x, const double *const *p,
                         double *y)
{
    for (int64_t j = 0; j < op->width; j++)
        normalise(x + j, y + j, op->images * op->rows, op->width, op->eps, p[0] + j, p[1] + j, 0);
}

void reference_grn(const struct reference_op *op, const double *x, const double *const *p,
                   double *y)
{
    int64_t image = op->rows * op->width;
    for (int64_t n = 0; n < op->images; n++, x += image, y += image) {
        double norm[64], mean = op->eps;
        for (int64_t j = 0; j < op->width; j++) {
            norm[j] = 0;
            for (int64_t r = 0; r < op->rows; r++)
                norm[j] += x[r * op->width + j] * x[r * op->width + j];
            norm[j] = sqrt(norm[j]);
            mean += norm[j] / (double)op->width;
        }
        for (int64_t i = 0; i < image; i++)
            y[i] = x[i] + p[0][i % op->width] * x[i] * norm[i % op->width] / mean +
                   p[1][i % op->width];
    }
}

void reference_gelu(const struct reference_op *op, const double *x, const double *const *p,
                    double *y)
{
    (void)p;
    for (int64_t i = 0; i < op->images * op->rows * op->width; i++)
        y[i] = x[i] * 0.5 * erfc(-x[i] / sqrt(2));
}

void reference_relu(const struct reference_op *op, const double *x, const double *const *p,
                    double *y)
{
    (void)p;
    for (int64_t i = 0; i < op->images * op->rows * op->width; i++)
        y[i] = fmax(x[i], 0);
}

/* y (head size): the output of query row r of one head. */
static void attend(const struct reference_op *op, const double *x, int64_t r, int64_t head,
                   double *y)
{
    int64_t size = op->width / op->heads, stride = 3 * op->width, column = head * size;
    const double *q = x + r * stride + column;
    double sum = 0;
    memset(y, 0, (size_t)size * sizeof *y);
    for (int64_t t = 0; t < op->rows; t++) {
        const double *k = x + t * stride + op->width + column, *v = k + op->width;
        double score = 0;
        for (int64_t i = 0; i < size; i++)
            score += q[i] * k[i];
        double e = exp(score / sqrt((double)size));
        sum += e;
        for (int64_t i = 0; i < size; i++)
            y[i] += e * v[i];
    }
    for (int64_t i = 0; i < size; i++)
        y[i] /= sum;
}

void reference_attention(const struct reference_op *op, const double *x, const double *const *p,
                         double *y)
{
    (void)p;
    for (int64_t i = 0; i < op->images; i++)
        for (int64_t r = 0; r < op->rows; r++)
            for (int64_t h = 0; h < op->heads; h++)
                attend(op, x + i * op->rows * 3 * op->width, r, h,
                       y + (i * op->rows + r) * op->width + h * (op->width / op->heads));
}

void reference_patch_embed(const struct reference_op *op, const double *x, const double *const *p,
                           double *y)
{
    int64_t k = op->patch, gh = op->height / k, gw = op->width / k;
    for (int64_t n = 0; n < op->images * gh * gw * op->out; n++) {
        int64_t o = n % op->out, cell = n / op->out % (gh * gw), image = n / op->out / (gh * gw);
        y[n] = p[1][o];
        for (int64_t c = 0; c < op->channels; c++)
            for (int64_t i = 0; i < k; i++)
                for (int64_t j = 0; j < k; j++)
                    y[n] += p[0][((o * op->channels + c) * k + i) * k + j] *
                            x[((image * op->channels + c) * op->height + cell / gw * k + i) *
                                  op->width +
                              cell % gw * k + j];
    }
}

/* Element (line, column, channel) of an image; 0 outside. */
static double pixel(const struct reference_op *op, const double *image, int64_t y, int64_t x,
                    int64_t c)
{
    if (y < 0 || y >= op->height || x < 0 || x >= op->width)
        return 0;
    return op->planes ? image[(c * op->height + y) * op->width + x]
                      : image[(y * op->width + x) * op->channels + c];
}

void reference_conv(const struct reference_op *op, const double *x, const double *const *p,
                    double *y)
{
    int64_t k = op->patch, pad = op->padding;
    int64_t lines = (op->height + 2 * pad - k) / op->stride + 1;
    int64_t columns = (op->width + 2 * pad - k) / op->stride + 1;
    int64_t channels = op->depthwise ? 1 : op->channels; /* that one output channel reads */
    for (int64_t n = 0; n < op->images * lines * columns * op->out; n++) {
        int64_t o = n % op->out, at = n / op->out % (lines * columns);
        const double *image =
            x + n / op->out / (lines * columns) * op->channels * op->height * op->width;
        y[n] = p[1] ? p[1][o] : 0;
        for (int64_t c = 0; c < channels; c++)
            for (int64_t tap = 0; tap < k * k; tap++)
                y[n] += p[0][(o * channels + c) * k * k + tap] *
                        pixel(op, image, at / columns * op->stride + tap / k - pad,
                              at % columns * op->stride + tap % k - pad, op->depthwise ? o : c);
    }
}

void reference_pool_token(const struct reference_op *op, const double *x, const double *const *p,
                          double *y)
{
    (void)p;
    for (int64_t n = 0; n < op->images * op->width; n++)
        y[n] = x[n / op->width * op->rows * op->width + n % op->width];
}

void reference_pool_mean(const struct reference_op *op, const double *x, const double *const *p,
                         double *y)
{
    (void)p;
    memset(y, 0, (size_t)(op->images * op->width) * sizeof *y);
    for (int64_t i = 0; i < op->images; i++)
        for (int64_t t = op->skip; t < op->rows; t++)
            for (int64_t j = 0; j < op->width; j++)
                y[i * op->width + j] +=
                    x[(i * op->rows + t) * op->width + j] / (double)(op->rows - op->skip);
}

/* The largest feature j of the window of output position (oy, ox) of an image x. */
static double largest(const struct reference_op *op, const double *x, int64_t oy, int64_t ox,
                      int64_t j)
{
    int64_t columns = op->rows / op->height;
    double most = -INFINITY;
    for (int64_t n = 0; n < op->window[0] * op->window[0]; n++) {
        int64_t row = oy * op->window[1] - op->window[2] + n / op->window[0];
        int64_t column = ox * op->window[1] - op->window[2] + n % op->window[0];
        if (row >= 0 && row < op->height && column >= 0 && column < columns)
            most = fmax(most, x[(row * columns + column) * op->width + j]);
    }
    return most;
}

void reference_pool_max(const struct reference_op *op, const double *x, const double *const *p,
                        double *y)
{
    (void)p;
    int64_t reach = 2 * op->window[2] - op->window[0], columns = op->rows / op->height;
    int64_t oh = (op->height + reach) / op->window[1] + 1,
            ow = (columns + reach) / op->window[1] + 1;
    for (int64_t n = 0; n < op->images * oh * ow * op->width; n++) {
        int64_t place = n / op->width % (oh * ow), image = n / op->width / (oh * ow);
        y[n] = largest(op, x + image * op->rows * op->width, place / ow, place % ow, n % op->width);
    }
}

/* ---- positions --------------------------------------------------------------------------- */

static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? 1.5 * x * x * x - 2.5 * x * x + 1
                 : (x < 2 ? -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2 : 0);
}

/* weight (in) of all input cells for cell i of `out`, as in PyTorch's antialiased bicubic
 * interpolation. */
static void cubic_weights(int64_t i, int64_t out, int64_t in, double *weight)
{
    double scale = (double)in / (double)out, centre = scale * ((double)i + 0.5), sum = 0;
    double widening = fmax(scale, 1), support = 2 * widening;
    int64_t low = (int64_t)fmax(centre - support + 0.5, 0);
    int64_t high = (int64_t)fmin(centre + support + 0.5, (double)in);
    for (int64_t j = 0; j < in; j++) {
        bool inside = j >= low && j < high;
        weight[j] = inside ? cubic(((double)(j)-centre + 0.5) / widening) : 0;
        sum += weight[j];
    }
    for (int64_t j = 0; j < in; j++)
        weight[j] /= sum;
}

/* Adds the position of one cell to y (width). */
static void add_position(const struct reference_op *op, const double *pos, int64_t cell, double *y)
{
    double wy[16], wx[16];
    cubic_weights(cell / op->grid[1], op->grid[0], op->grid0[0], wy);
    cubic_weights(cell % op->grid[1], op->grid[1], op->grid0[1], wx);
    for (int64_t s = 0; s < op->grid0[0] * op->grid0[1]; s++)
        for (int64_t j = 0; j < op->width; j++)
            y[j] += wy[s / op->grid0[1]] * wx[s % op->grid0[1]] * pos[s * op->width + j];
}

void reference_tokens(const struct reference_op *op, const double *x, const double *const *p,
                      double *y)
{
    int64_t prefix = 1 + op->skip, width = op->width, rows = prefix + op->rows;
    for (int64_t i = 0; i < op->images; i++)
        for (int64_t r = 0; r < rows; r++) {
            double *row = y + (i * rows + r) * width;
            const double *from = r == 0       ? p[1]
                                 : r < prefix ? p[2] + (r - 1) * width
                                              : x + (i * op->rows + r - prefix) * width;
            memcpy(row, from, (size_t)width * sizeof *row);
            for (int64_t j = 0; r < prefix && j < width; j++)
                row[j] += p[0][r * width + j];
            if (r >= prefix)
                add_position(op, p[0] + prefix * width, r - prefix, row);
        }
}
