/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions in plain C: the specification of lj_convolve, and what computes at level scalar. */
#include "kernels/gemm/backends.h"

#include <string.h>

/* One term of the sums: an element of W and the elements of x and y, counted from the first one of
 * their image, that it connects. */
struct term {
    int64_t image, x, w, y;
};
typedef void visitor(const struct lj_convolution *p, const struct term *term, void *data);

/* Calls visit for each element of W in row-major order, and for each window that it finds inside
 * the map, image by image. */
static void visit_terms(const struct lj_convolution *p, visitor *visit, void *data)
{
    int64_t height = lj_convolution_height(p), width = lj_convolution_width(p), k = p->kernel;
    int64_t channels = p->depthwise ? 1 : p->channels, positions = height * width;
    for (int64_t w = 0; w < p->out * channels * k * k; w++) {
        int64_t o = w / (channels * k * k), c = p->depthwise ? o : w / (k * k) % channels;
        for (int64_t n = 0; n < p->images * positions; n++) {
            int64_t at = n % positions;
            int64_t line = at / width * p->stride + w / k % k - p->padding;
            int64_t column = at % width * p->stride + w % k - p->padding;
            if (line < 0 || line >= p->height || column < 0 || column >= p->width)
                continue;
            struct term term = {n / positions, (line * p->width + column) * p->channels + c, w,
                                at * p->out + o};
            term.x += term.image * p->height * p->width * p->channels;
            term.y += term.image * positions * p->out;
            visit(p, &term, data);
        }
    }
}

struct arrays {
    const float *a, *b;
    float *c;
};

static void add_term(const struct lj_convolution *p, const struct term *term, void *data)
{
    const struct arrays *r = data;
    if (p->pass == LJ_CONVOLUTION_FORWARD)
        r->c[term->y] += r->a[term->x] * r->b[term->w];
    else if (p->pass == LJ_CONVOLUTION_INPUT_GRADIENT)
        r->c[term->x] += r->a[term->y] * r->b[term->w];
    else
        r->c[term->w] += r->a[term->x] * r->b[term->y];
}

/* Elements of what the pass writes. */
static int64_t elements(const struct lj_convolution *p)
{
    if (p->pass == LJ_CONVOLUTION_FORWARD)
        return p->images * lj_convolution_height(p) * lj_convolution_width(p) * p->out;
    if (p->pass == LJ_CONVOLUTION_INPUT_GRADIENT)
        return p->images * p->height * p->width * p->channels;
    return p->out * (p->depthwise ? 1 : p->channels) * p->kernel * p->kernel;
}

void lj_scalar_convolve(const struct lj_convolution *convolution, const float *a, const float *b,
                        const float *bias, float *c)
{
    int64_t count = elements(convolution);
    if (!convolution->add)
        memset(c, 0, (size_t)count * sizeof *c);
    if (bias)
        lj_kernels_of(LJ_ISA_SCALAR)->add_bias(c, bias, count / convolution->out, convolution->out);
    visit_terms(convolution, add_term, &(struct arrays){a, b, c});
}
