/* SPDX-License-Identifier: Apache-2.0 */
/* lj_convolve in every pass, with W plain and packed, in float32 and bf16, against sums in double
 * of the rounded inputs; and what its bits depend on. */
#include "kernels/kernels.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Images, height, width, channels, out, kernel, stride, padding; depthwise where the last is 1. */
static const int64_t shapes[][9] = {
    {1, 1, 1, 1, 1, 1, 1, 0, 0},    {2, 5, 6, 3, 4, 3, 1, 1, 0},    {2, 9, 7, 16, 32, 3, 2, 1, 0},
    {3, 8, 8, 64, 64, 3, 1, 1, 0},  {2, 2, 2, 48, 80, 3, 1, 1, 0},  {1, 3, 4, 20, 36, 7, 3, 3, 0},
    {2, 13, 5, 24, 40, 5, 1, 2, 0}, {2, 6, 6, 33, 17, 2, 2, 0, 0},  {2, 7, 7, 32, 48, 1, 2, 0, 0},
    {1, 40, 36, 8, 8, 3, 1, 0, 0},  {2, 1, 1, 128, 96, 3, 2, 1, 0}, {1, 4, 4, 3, 16, 4, 4, 0, 0},
    {1, 8, 8, 4, 8, 1, 2, 0, 0},    {5, 16, 16, 3, 16, 1, 2, 0, 0}, {2, 28, 28, 7, 12, 1, 2, 0, 0},
    {2, 9, 9, 12, 20, 1, 2, 0, 0},  {1, 7, 8, 8, 8, 1, 3, 0, 0},    {2, 6, 5, 20, 20, 3, 1, 1, 1},
    {2, 9, 8, 96, 96, 7, 1, 3, 1},  {1, 1, 1, 1, 1, 5, 1, 2, 1},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* x, y, W and bias with what went in, exactly representable in the input's type. */
struct arrays {
    int64_t nx, ny, nw;
    float *x, *y, *w, *bias;
    lj_bf16 *bf16_x, *bf16_y;
    double *want; /* the result, and the sum of magnitudes behind it */
    double *size;
};

static bool has_bf16(void)
{
    return lj_isa_selected() == LJ_ISA_AVX512BF16;
}

static void *take(int64_t bytes)
{
    void *memory = lj_alloc((size_t)bytes, "test");
    cr_assert_not_null(memory);
    return memory;
}

static void fill(float *x, lj_bf16 *bf16, int64_t count, bool round, uint64_t stream)
{
    const struct lj_kernels *k = lj_kernels_of(LJ_ISA_SCALAR);
    lj_random_normal_f32(x, count, stream);
    k->to_bf16(bf16, x, count);
    if (round)
        k->from_bf16(x, bf16, count);
}

static struct arrays begin(const struct lj_convolution *p)
{
    struct arrays r = {.nx = p->images * p->height * p->width * p->channels,
                       .ny =
                           p->images * lj_convolution_height(p) * lj_convolution_width(p) * p->out,
                       .nw = p->out * (p->depthwise ? 1 : p->channels) * p->kernel * p->kernel};
    int64_t most = r.nx > r.ny ? r.nx : r.ny;
    lj_bf16 *spare = take(2 * r.nw);
    most = most > r.nw ? most : r.nw;
    r.x = take(4 * r.nx);
    r.y = take(4 * r.ny);
    r.w = take(4 * r.nw);
    r.bias = take(4 * p->out);
    r.bf16_x = take(2 * r.nx);
    r.bf16_y = take(2 * r.ny);
    r.want = take(8 * most);
    r.size = take(8 * most);
    fill(r.x, r.bf16_x, r.nx, p->input == LJ_BF16, 1);
    fill(r.y, r.bf16_y, r.ny, p->input == LJ_BF16, 2);
    fill(r.w, spare, r.nw, p->input == LJ_BF16, 3);
    lj_random_normal_f32(r.bias, p->out, 4);
    lj_free(spare);
    return r;
}

static void end(struct arrays *r)
{
    void *memory[] = {r->x, r->y, r->w, r->bias, r->bf16_x, r->bf16_y, r->want, r->size};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        lj_free(memory[i]);
}

/* ---- in double --------------------------------------------------------------------------- */

static void add_product(struct arrays *r, int64_t at, double product)
{
    r->want[at] += product;
    r->size[at] += fabs(product);
}

/* All products of one output position with one input position and their part of W. */
static void add_tap(const struct lj_convolution *p, struct arrays *r, int64_t from, int64_t to,
                    int64_t tap)
{
    int64_t taps = p->kernel * p->kernel, channels = p->depthwise ? 1 : p->channels;
    for (int64_t o = 0; o < p->out; o++)
        for (int64_t c = 0; c < channels; c++) {
            int64_t x = from * p->channels + (p->depthwise ? o : c), y = to * p->out + o;
            int64_t w = (o * channels + c) * taps + tap;
            if (p->pass == LJ_CONVOLUTION_FORWARD)
                add_product(r, y, (double)r->x[x] * (double)r->w[w]);
            else if (p->pass == LJ_CONVOLUTION_INPUT_GRADIENT)
                add_product(r, x, (double)r->y[y] * (double)r->w[w]);
            else
                add_product(r, w, (double)r->x[x] * (double)r->y[y]);
        }
}

static void expect(const struct lj_convolution *p, struct arrays *r)
{
    int64_t height = lj_convolution_height(p), width = lj_convolution_width(p);
    for (int64_t to = 0; to < p->images * height * width; to++)
        for (int64_t tap = 0; tap < p->kernel * p->kernel; tap++) {
            int64_t line = to / width % height * p->stride + tap / p->kernel - p->padding;
            int64_t column = to % width * p->stride + tap % p->kernel - p->padding;
            if (line >= 0 && line < p->height && column >= 0 && column < p->width)
                add_tap(p, r, (to / width / height * p->height + line) * p->width + column, to,
                        tap);
        }
}

/* ---- comparing --------------------------------------------------------------------------- */

/* Runs a pass into c, which has room for 4 bytes an element. */
static void run(const struct lj_convolution *p, const struct arrays *r, const float *bias, void *c)
{
    bool low = p->input == LJ_BF16;
    const void *x = low ? (void *)r->bf16_x : r->x, *y = low ? (void *)r->bf16_y : r->y;
    void *packed = p->packed ? take(lj_convolution_packed_bytes(p)) : NULL;
    if (packed)
        lj_convolution_pack(p, r->w, packed);
    if (p->pass == LJ_CONVOLUTION_WEIGHT_GRADIENT)
        lj_convolve(p, x, y, NULL, c);
    else
        lj_convolve(p, p->pass == LJ_CONVOLUTION_FORWARD ? x : y, packed ? packed : r->w, bias, c);
    lj_free(packed);
}

static int64_t count_of(const struct lj_convolution *p, const struct arrays *r)
{
    return p->pass == LJ_CONVOLUTION_FORWARD          ? r->ny
           : p->pass == LJ_CONVOLUTION_INPUT_GRADIENT ? r->nx
                                                      : r->nw;
}

static void compare(const struct lj_convolution *p, const struct arrays *r, const float *bias,
                    const void *c, double before)
{
    for (int64_t i = 0; i < count_of(p, r); i++) {
        double want = r->want[i] + before + (bias ? (double)bias[i % p->out] : 0);
        float got;
        memcpy(&got, (const char *)c + 4 * i, sizeof got);
        if (p->output == LJ_BF16 && p->pass != LJ_CONVOLUTION_WEIGHT_GRADIENT)
            lj_kernels_of(LJ_ISA_SCALAR)->from_bf16(&got, (const lj_bf16 *)c + i, 1);
        double bound = 1e-6 * (r->size[i] + fabs(want) + 1);
        if (p->output == LJ_BF16)
            bound += fabs(want) / 256;
        cr_assert(fabs((double)got - want) <= bound,
                  "pass %d of %lld x %lld x %lld to %lld, k %lld%s%s: element %lld is %.9g, "
                  "expected %.9g",
                  (int)p->pass, (long long)p->height, (long long)p->width, (long long)p->channels,
                  (long long)p->out, (long long)p->kernel, p->packed ? ", packed" : "",
                  p->depthwise ? ", depthwise" : "", (long long)i, (double)got, want);
    }
}

static void check(struct lj_convolution p)
{
    struct arrays r = begin(&p);
    const float *bias = p.pass == LJ_CONVOLUTION_FORWARD && p.stride == 1 ? r.bias : NULL;
    float *c = take(4 * count_of(&p, &r));
    expect(&p, &r);
    for (int64_t i = 0; i < count_of(&p, &r); i++)
        c[i] = p.add ? 3 : NAN;
    run(&p, &r, bias, c);
    compare(&p, &r, bias, c, p.add ? 3 : 0);
    lj_free(c);
    end(&r);
}

static struct lj_convolution convolution(int shape, int pass)
{
    const int64_t *s = shapes[shape];
    return (struct lj_convolution){.pass = (enum lj_convolution_pass)pass,
                                   .images = s[0],
                                   .height = s[1],
                                   .width = s[2],
                                   .channels = s[3],
                                   .out = s[4],
                                   .kernel = s[5],
                                   .stride = s[6],
                                   .padding = s[7],
                                   .depthwise = s[8] != 0};
}

static void check_types(enum lj_type input, enum lj_type output)
{
    for (int shape = 0; shape < SHAPES; shape++)
        for (int pass = 0; pass < 3; pass++) {
            struct lj_convolution p = convolution(shape, pass);
            p.input = input;
            p.output = output;
            check(p);
            p.packed =
                pass != LJ_CONVOLUTION_WEIGHT_GRADIENT && lj_convolution_packed_bytes(&p) > 0;
            p.add = pass == LJ_CONVOLUTION_WEIGHT_GRADIENT;
            check(p);
        }
    lj_kernels_release();
}

Test(convolve, float32)
{
    check_types(LJ_F32, LJ_F32);
}

Test(convolve, bf16)
{
    if (!has_bf16())
        cr_skip("this processor has no bf16 products");
    check_types(LJ_BF16, LJ_F32);
    check_types(LJ_BF16, LJ_BF16);
}

/* ---- bits -------------------------------------------------------------------------------- */

/* The threads around a call, the thread it runs on and whether W is packed do not change bits. */
Test(convolve, bits_are_those_of_the_shape)
{
    for (int shape = 0; shape < SHAPES; shape++)
        for (int pass = 0; pass < 3; pass++) {
            struct lj_convolution p = convolution(shape, pass);
            struct arrays r = begin(&p);
            int64_t bytes = 4 * count_of(&p, &r);
            char *one = take(bytes), *other = take(2 * bytes);
            run(&p, &r, NULL, one);
            p.packed =
                pass != LJ_CONVOLUTION_WEIGHT_GRADIENT && lj_convolution_packed_bytes(&p) > 0;
#pragma omp parallel num_threads(2)
            run(&p, &r, NULL, other + omp_get_thread_num() * bytes);
            for (int t = 0; t < 2; t++)
                cr_assert_eq(memcmp(one, other + t * bytes, (size_t)bytes), 0, "shape %d, pass %d",
                             shape, pass);
            lj_free(one);
            lj_free(other);
            end(&r);
        }
    lj_kernels_release();
}
