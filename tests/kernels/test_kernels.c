/* SPDX-License-Identifier: Apache-2.0 */
/* Every kernel at every level of this processor against the scalar table: lengths 0 .. 67 and 1000,
 * misaligned, with extreme values, and canaries around all that is written. Each operation below
 * names what goes in and out; one driver does the rest. */
#include "kernels/kernels.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ARRAYS = 4, GUARD = 24, LONGEST = 1000, RESULTS = 2 };

/* Arrays of one call: what a kernel reads and writes. Element 0 lies `shift` floats off
 * alignment. */
struct bench {
    float memory[ARRAYS][LONGEST + 2 * GUARD + 16];
    float *x[ARRAYS];
    double result[RESULTS]; /* what the kernel returns */
    int64_t count;
};

typedef void operation(const struct lj_kernels *k, struct bench *b);

struct kernel_case {
    const char *name;
    operation *run;
    double relative, absolute; /* of a difference from scalar */
    bool elementwise;          /* the same bits at any position */
    bool extremes;             /* takes +-0, 1e-30, 1e30, +-88, denormals */
};

/* u in (0, 1], small ones too, and v in [0, 1], ends included */
static void run_normals(const struct lj_kernels *k, struct bench *b)
{
    for (int64_t i = 0; i < b->count; i++) {
        b->x[0][i] = fmaxf(0x1p-32f, fminf(1, powf(fabsf(b->x[0][i]), (float)(1 + i % 9))));
        b->x[1][i] = fminf(1, fabsf(b->x[1][i]));
    }
    k->normals(b->x[0], b->x[1], b->count);
}
static void run_to_bf16(const struct lj_kernels *k, struct bench *b)
{
    lj_bf16 bf16[LONGEST + 1];
    bf16[b->count] = 0x1234;
    k->to_bf16(bf16, b->x[1], b->count);
    cr_assert_eq(bf16[b->count], 0x1234, "%s: bf16 wrote too far", k->name);
    k->from_bf16(b->x[0], bf16, b->count);
}
static void run_widen(const struct lj_kernels *k, struct bench *b)
{
    lj_bf16 bf16[LONGEST];
    for (int64_t i = 0; i < b->count; i++)
        bf16[i] = (lj_bf16)(i * 257 % 0x7f80);
    k->from_bf16(b->x[0], bf16, b->count);
}

/* Runs an operation on bf16 copies of the first arrays; what comes out is widened back into
 * them. */
static lj_bf16 bf16_copy[ARRAYS][LONGEST + 1];

static void begin_bf16(const struct bench *b)
{
    const struct lj_kernels *scalar = lj_kernels_of(LJ_ISA_SCALAR);
    for (int a = 0; a < ARRAYS; a++) {
        scalar->to_bf16(bf16_copy[a], b->x[a], b->count);
        bf16_copy[a][b->count] = 0x1234;
    }
}
static void end_bf16(struct bench *b, int first, int end)
{
    for (int a = first; a < end; a++) {
        cr_assert_eq(bf16_copy[a][b->count], 0x1234, "array %d was written too far", a);
        lj_kernels_of(LJ_ISA_SCALAR)->from_bf16(b->x[a], bf16_copy[a], b->count);
    }
}

static void run_gelu(const struct lj_kernels *k, struct bench *b)
{
    k->gelu(b->x[0], b->x[1], b->x[2], LJ_F32, b->count);
}
static void run_gelu_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    k->gelu(bf16_copy[0], bf16_copy[1], bf16_copy[2], LJ_BF16, b->count);
    end_bf16(b, 0, 2);
}
static void run_multiply(const struct lj_kernels *k, struct bench *b)
{
    k->multiply(b->x[0], b->x[1], b->x[2], LJ_F32, b->count, false);
}
static void run_multiply_add(const struct lj_kernels *k, struct bench *b)
{
    k->multiply(b->x[0], b->x[1], b->x[2], LJ_F32, b->count, true);
}
static void run_multiply_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    k->multiply(bf16_copy[0], bf16_copy[1], bf16_copy[2], LJ_BF16, b->count, false);
    k->multiply(bf16_copy[1], bf16_copy[1], bf16_copy[2], LJ_BF16, b->count, true);
    end_bf16(b, 0, 2);
}
static void run_add_scaled(const struct lj_kernels *k, struct bench *b)
{
    k->add_scaled(b->x[0], b->x[1], 0.3f, b->x[2], LJ_F32, b->count);
}
static void run_add_scaled_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    k->add_scaled(b->x[0], b->x[1], 0.3f, bf16_copy[2], LJ_BF16, b->count);
}
static void run_scale(const struct lj_kernels *k, struct bench *b)
{
    k->scale(b->x[0], LJ_F32, 0.3f, b->x[1], b->count, false);
    k->scale(b->x[2], LJ_F32, 0.3f, b->x[1], b->count, true);
}
static void run_scale_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    k->scale(bf16_copy[0], LJ_BF16, 0.3f, b->x[1], b->count, false);
    k->scale(bf16_copy[1], LJ_BF16, 0.3f, b->x[3], b->count, true);
    end_bf16(b, 0, 2);
}

/* Two rows where the length is even, else one. */
static int64_t rows_of(const struct bench *b)
{
    return b->count % 2 == 0 ? 2 : 1;
}
static void layernorm(const struct lj_kernels *k, struct bench *b, void *y, enum lj_type type)
{
    float mean[2] = {0}, rstd[2] = {0};
    int64_t rows = rows_of(b);
    if (b->count > 0)
        k->layernorm(y, type, mean, rstd, b->x[1], b->x[2], b->x[3], rows, b->count / rows, 1e-2f);
    b->result[0] = (double)(mean[0] + mean[1]);
    b->result[1] = (double)(rstd[0] + rstd[1]);
}
static void run_layernorm(const struct lj_kernels *k, struct bench *b)
{
    layernorm(k, b, b->x[0], LJ_F32);
}
static void run_layernorm_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    layernorm(k, b, bf16_copy[0], LJ_BF16);
    end_bf16(b, 0, 1);
}
static void layernorm_backward(const struct lj_kernels *k, struct bench *b, const void *dy,
                               enum lj_type type, bool add)
{
    float weight[LONGEST + 1], mean[2] = {0.1f, -0.2f}, rstd[2] = {0.9f, 1.1f};
    int64_t rows = rows_of(b);
    for (int64_t i = 0; i < b->count; i++)
        weight[i] = 0.5f + (float)(i % 7) / 7;
    if (b->count > 0)
        k->layernorm_backward(b->x[0], b->x[1], b->x[2], dy, type, b->x[3], weight, mean, rstd,
                              rows, b->count / rows, add);
}
static void run_layernorm_backward(const struct lj_kernels *k, struct bench *b)
{
    layernorm_backward(k, b, b->x[3], LJ_F32, false);
}
static void run_layernorm_backward_add(const struct lj_kernels *k, struct bench *b)
{
    layernorm_backward(k, b, b->x[3], LJ_F32, true);
}
static void run_layernorm_backward_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    layernorm_backward(k, b, bf16_copy[3], LJ_BF16, true);
}
static void softmax(const struct lj_kernels *k, struct bench *b, void *p, enum lj_type type)
{
    float logsum[2] = {0};
    int64_t rows = rows_of(b);
    if (b->count > 0)
        k->softmax(p, type, logsum, b->x[0], rows, b->count / rows, 0.7f);
    b->result[0] = (double)logsum[0];
    b->result[1] = (double)logsum[1];
}
static void run_softmax(const struct lj_kernels *k, struct bench *b)
{
    softmax(k, b, b->x[0], LJ_F32);
}
/* What is left in the scores is not promised. */
static void run_softmax_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    softmax(k, b, bf16_copy[0], LJ_BF16);
    end_bf16(b, 0, 1);
}
static void softmax_backward(const struct lj_kernels *k, struct bench *b, void *p, void *ds,
                             enum lj_type type)
{
    float logsum[2] = {1.25f, -0.5f};
    int64_t rows = rows_of(b);
    if (b->count > 0)
        k->softmax_backward(p, ds, type, b->x[0], b->x[1], logsum, rows, b->count / rows, 0.7f);
}
static void run_softmax_backward(const struct lj_kernels *k, struct bench *b)
{
    softmax_backward(k, b, b->x[0], b->x[1], LJ_F32);
}
static void run_softmax_backward_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    softmax_backward(k, b, bf16_copy[2], bf16_copy[3], LJ_BF16);
    end_bf16(b, 2, 4);
}
static void run_add(const struct lj_kernels *k, struct bench *b)
{
    k->add(b->x[0], b->x[1], b->count);
}
static void run_axpy(const struct lj_kernels *k, struct bench *b)
{
    k->axpy(b->x[0], 0.3f, b->x[1], b->count);
}
/* rows of a fifth of the length */
static void run_column_sums(const struct lj_kernels *k, struct bench *b)
{
    k->column_sums(b->x[0], b->x[1], LJ_F32, 5, b->count / 5);
}
static void run_column_sums_bf16(const struct lj_kernels *k, struct bench *b)
{
    begin_bf16(b);
    k->column_sums(b->x[0], bf16_copy[1], LJ_BF16, 5, b->count / 5);
}
static void run_add_bias(const struct lj_kernels *k, struct bench *b)
{
    k->add_bias(b->x[0], b->x[1], 5, b->count / 5);
}
/* Sums in double come back as float32 in x[0] and x[1], which also begin them. */
static void run_column_moments(const struct lj_kernels *k, struct bench *b)
{
    double sums[LONGEST], squares[LONGEST];
    int64_t width = b->count / 5;
    for (int64_t j = 0; j < width; j++) {
        sums[j] = (double)b->x[0][j];
        squares[j] = (double)b->x[1][j];
    }
    k->column_moments(sums, squares, b->x[2], b->x[3], 5, width);
    for (int64_t j = 0; j < width; j++) {
        b->x[0][j] = (float)sums[j];
        b->x[1][j] = (float)squares[j];
    }
}
/* Arrays of `width` from v on: mean, rstd, weight, bias. */
static struct lj_batchnorm norm_of(const float *v, int64_t width, bool relu)
{
    return (struct lj_batchnorm){v, v + width, v + 2 * width, v + 3 * width, relu};
}
static void batchnorm(const struct lj_kernels *k, struct bench *b, bool trunk, bool relu)
{
    int64_t width = b->count / 5;
    struct lj_batchnorm norm = norm_of(b->x[2], width, relu);
    k->batchnorm(b->x[0], b->x[1], trunk ? b->x[3] : NULL, &norm, 5, width);
}
static void run_batchnorm(const struct lj_kernels *k, struct bench *b)
{
    batchnorm(k, b, false, false);
}
static void run_batchnorm_relu(const struct lj_kernels *k, struct bench *b)
{
    batchnorm(k, b, false, true);
}
static void run_batchnorm_trunk(const struct lj_kernels *k, struct bench *b)
{
    batchnorm(k, b, true, false);
}
static void run_batchnorm_trunk_relu(const struct lj_kernels *k, struct bench *b)
{
    batchnorm(k, b, true, true);
}
static void batchnorm_sums(const struct lj_kernels *k, struct bench *b, bool relu)
{
    int64_t width = b->count / 5;
    struct lj_batchnorm norm = norm_of(b->x[3], width, relu);
    float *v = b->x[2];
    k->batchnorm_sums(v, v + width, b->x[0], b->x[1], &norm, 5, width);
}
static void run_batchnorm_sums(const struct lj_kernels *k, struct bench *b)
{
    batchnorm_sums(k, b, false);
}
static void run_batchnorm_sums_relu(const struct lj_kernels *k, struct bench *b)
{
    batchnorm_sums(k, b, true);
}
static void batchnorm_backward(const struct lj_kernels *k, struct bench *b, bool add, bool relu)
{
    int64_t width = b->count / 6;
    const float *v = b->x[3];
    struct lj_batchnorm norm = norm_of(v, width, relu);
    k->batchnorm_backward(b->x[0], b->x[1], b->x[2], &norm, v + 4 * width, v + 5 * width, 6, width,
                          add);
}
static void run_batchnorm_backward(const struct lj_kernels *k, struct bench *b)
{
    batchnorm_backward(k, b, false, false);
}
static void run_batchnorm_backward_add(const struct lj_kernels *k, struct bench *b)
{
    batchnorm_backward(k, b, true, false);
}
static void run_batchnorm_backward_relu(const struct lj_kernels *k, struct bench *b)
{
    batchnorm_backward(k, b, false, true);
}
static void run_relu(const struct lj_kernels *k, struct bench *b)
{
    k->relu(b->x[0], b->x[1], b->count);
}
static void run_relu_backward(const struct lj_kernels *k, struct bench *b)
{
    k->relu_backward(b->x[0], b->x[1], b->x[2], b->count, false);
}
static void run_relu_backward_add(const struct lj_kernels *k, struct bench *b)
{
    k->relu_backward(b->x[0], b->x[1], b->x[2], b->count, true);
}
/* dw in x[0], of two images of 2 x 4 positions */
static void depthwise(const struct lj_kernels *k, struct bench *b, int64_t kernel, bool add)
{
    struct lj_maps maps = {2, 2, 4, b->count / (kernel * kernel > 16 ? kernel * kernel : 16)};
    k->depthwise_weights(b->x[0], b->x[1], b->x[2], LJ_F32, &maps, kernel, add);
}
static void run_depthwise_3(const struct lj_kernels *k, struct bench *b)
{
    depthwise(k, b, 3, false);
}
static void run_depthwise_5_add(const struct lj_kernels *k, struct bench *b)
{
    depthwise(k, b, 5, true);
}
static void run_depthwise_7(const struct lj_kernels *k, struct bench *b)
{
    depthwise(k, b, 7, false);
}
static void run_adamw(const struct lj_kernels *k, struct bench *b)
{
    struct lj_adamw_factors f = {1e-2f, 0.9f, 0.999f, 1e-8f, 0.05f, 1 / 0.271f, 1 / 0.002997f};
    for (int64_t i = 0; i < b->count; i++)
        b->x[2][i] = fabsf(b->x[2][i]);
    k->adamw(b->x[0], b->x[1], b->x[2], b->x[3], b->count, &f);
}
/* x up to 1, and -infinity */
static void run_exp_sum(const struct lj_kernels *k, struct bench *b)
{
    for (int64_t i = 0; i < b->count; i++)
        b->x[1][i] = i % 29 == 28 ? -INFINITY : fminf(1, b->x[1][i]);
    b->result[0] = k->exp_sum(b->x[0], b->x[1], b->count, 3);
    for (int64_t i = 28; i < b->count; i += 29)
        cr_assert_eq(b->x[0][i], 0, "%s: exp(-infinity)", k->name);
}
static void run_square_sum(const struct lj_kernels *k, struct bench *b)
{
    b->result[0] = k->square_sum(b->x[0], b->count);
}

/* One unit in the last place of bf16, relative. */
#define BF16_STEP 0x1p-7

static const struct kernel_case cases[] = {
    {"normals", run_normals, 2e-6, 1e-6, false, true},
    {"bf16", run_to_bf16, 0, 1e-37, true, true},
    {"widen", run_widen, 0, 0, false, false},
    {"gelu", run_gelu, 1e-5, 4e-7, true, true},
    {"gelu bf16", run_gelu_bf16, BF16_STEP, 1e-6, true, false},
    {"multiply", run_multiply, 0, 0, true, true},
    {"multiply add", run_multiply_add, 0, 0, true, true},
    {"multiply bf16", run_multiply_bf16, BF16_STEP, 1e-37, true, false},
    {"add_scaled", run_add_scaled, 0, 0, true, true},
    {"add_scaled bf16", run_add_scaled_bf16, 0, 0, true, false},
    {"scale", run_scale, 0, 0, true, true},
    {"scale bf16", run_scale_bf16, BF16_STEP, 1e-37, true, false},
    {"layernorm", run_layernorm, 1e-5, 2e-6, false, false},
    {"layernorm bf16", run_layernorm_bf16, BF16_STEP, 2e-6, false, false},
    {"layernorm_backward", run_layernorm_backward, 1e-5, 2e-6, false, false},
    {"layernorm_backward add", run_layernorm_backward_add, 1e-5, 2e-6, false, false},
    {"layernorm_backward bf16", run_layernorm_backward_bf16, 1e-5, 2e-6, false, false},
    {"softmax", run_softmax, 3e-6, 1e-9, false, false},
    {"softmax bf16", run_softmax_bf16, BF16_STEP, 1e-9, false, false},
    {"softmax_backward", run_softmax_backward, 1e-5, 1e-5, false, false},
    {"softmax_backward bf16", run_softmax_backward_bf16, BF16_STEP, 1e-5, false, false},
    {"add", run_add, 0, 0, true, true},
    {"axpy", run_axpy, 0, 0, true, true},
    {"column_sums", run_column_sums, 0, 0, false, true},
    {"column_sums bf16", run_column_sums_bf16, 0, 0, false, false},
    {"add_bias", run_add_bias, 0, 0, false, true},
    {"column_moments", run_column_moments, 1e-6, 1e-7, false, false},
    {"batchnorm", run_batchnorm, 1e-5, 1e-6, false, false},
    {"batchnorm relu", run_batchnorm_relu, 1e-5, 1e-6, false, false},
    {"batchnorm trunk", run_batchnorm_trunk, 1e-5, 1e-6, false, false},
    {"batchnorm trunk relu", run_batchnorm_trunk_relu, 1e-5, 1e-6, false, false},
    {"batchnorm_sums", run_batchnorm_sums, 1e-5, 5e-6, false, false},
    {"batchnorm_sums relu", run_batchnorm_sums_relu, 1e-5, 5e-6, false, false},
    {"batchnorm_backward", run_batchnorm_backward, 1e-5, 1e-5, false, false},
    {"batchnorm_backward add", run_batchnorm_backward_add, 1e-5, 1e-5, false, false},
    {"batchnorm_backward relu", run_batchnorm_backward_relu, 1e-5, 1e-5, false, false},
    {"relu", run_relu, 0, 0, true, true},
    {"relu_backward", run_relu_backward, 0, 0, true, true},
    {"relu_backward add", run_relu_backward_add, 0, 0, true, true},
    {"depthwise_weights", run_depthwise_3, 1e-5, 5e-6, false, false},
    {"depthwise_weights 5 add", run_depthwise_5_add, 1e-5, 5e-6, false, false},
    {"depthwise_weights 7", run_depthwise_7, 1e-5, 5e-6, false, false},
    {"adamw", run_adamw, 2e-6, 1e-7, true, true},
    {"exp_sum", run_exp_sum, 3e-6, 1e-30, false, true},
    {"square_sum", run_square_sum, 1e-14, 0, false, true},
};
/* Tests of their own: ecf_sums, ecf_gradient and add_fixed in test_ecf_kernels.c, twelve in
 * test_image_kernels.c, pack in gemm/test_matmul_pack.c. */
enum { CASES = sizeof cases / sizeof *cases, OTHER_KERNELS = 3 + 12 + 1 };

static const float extremes[] = {0,      -0.0f,   1e-30f, -1e-30f, 1e30f,  -1e30f, 88,    -88,
                                 1e-40f, -1e-40f, 1,      -1,      1e-45f, 5.5f,   -5.5f, 0.5f};

static void fill(struct bench *b, int64_t count, int shift, bool extreme, uint64_t stream)
{
    b->count = count;
    memset(b->result, 0, sizeof b->result);
    for (int a = 0; a < ARRAYS; a++) {
        float *m = b->memory[a];
        for (int i = 0; i < LONGEST + 2 * GUARD + 16; i++)
            m[i] = -777.25f;
        b->x[a] = m + GUARD + (shift + a) % 16;
        lj_random_normal_f32(b->x[a], count, stream + (uint64_t)a);
        for (int64_t i = 0; extreme && i < count; i++)
            b->x[a][i] = extremes[(i * (2 * a + 1) + (int64_t)stream) % 16];
    }
}

static void check_canaries(const struct bench *b, const char *name)
{
    for (int a = 0; a < ARRAYS; a++)
        for (int i = 0; i < LONGEST + 2 * GUARD + 16; i++) {
            int64_t at = b->memory[a] + i - b->x[a];
            cr_assert(at >= 0 && at < b->count ? true : b->memory[a][i] == -777.25f,
                      "%s of %lld wrote element %lld of array %d", name, (long long)b->count,
                      (long long)at, a);
        }
}

static bool close_to(double got, double want, const struct kernel_case *c)
{
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) : got == want;
    return fabs(got - want) <= c->relative * fabs(want) + c->absolute;
}

static void compare(const struct kernel_case *c, const struct bench *got, const struct bench *want,
                    const char *isa)
{
    check_canaries(got, c->name);
    for (int a = 0; a < ARRAYS; a++)
        for (int64_t i = 0; i < got->count; i++)
            cr_assert(close_to((double)got->x[a][i], (double)want->x[a][i], c),
                      "%s %s of %lld: element %lld of array %d is %.9g, scalar has %.9g", isa,
                      c->name, (long long)got->count, (long long)i, a, (double)got->x[a][i],
                      (double)want->x[a][i]);
    for (int r = 0; r < RESULTS; r++)
        cr_assert(close_to(got->result[r], want->result[r], c), "%s %s returned %.9g, not %.9g",
                  isa, c->name, got->result[r], want->result[r]);
}

static void check_case(const struct kernel_case *c, const struct lj_kernels *k, int64_t count,
                       bool extreme)
{
    static struct bench got, want;
    fill(&got, count, (int)(count % 13), extreme, 10 + (uint64_t)count);
    fill(&want, count, 0, extreme, 10 + (uint64_t)count);
    c->run(k, &got);
    c->run(lj_kernels_of(LJ_ISA_SCALAR), &want);
    compare(c, &got, &want, k->name);
}

/* Elementwise: each element alone gives the bits it has among others. */
static void check_positions(const struct kernel_case *c, const struct lj_kernels *k)
{
    static struct bench all, one;
    fill(&all, 67, 3, false, 5);
    c->run(k, &all);
    for (int64_t i = 0; i < 67; i++) {
        fill(&one, 67, 3, false, 5);
        for (int a = 0; a < ARRAYS; a++)
            one.x[a] += i;
        one.count = 1;
        c->run(k, &one);
        for (int a = 0; a < ARRAYS; a++)
            cr_assert_eq(memcmp(one.x[a], all.x[a] + i, sizeof(float)), 0,
                         "%s %s: element %lld of array %d has other bits alone", k->name, c->name,
                         (long long)i, a);
    }
}

Test(kernels, every_member_has_a_case)
{
    /* a name and one function pointer per kernel; variants of one kernel share a first word */
    int kernels = (int)(sizeof(struct lj_kernels) / sizeof(void (*)(void))) - 1, named = 0;
    for (int i = 0; i < CASES; i++)
        named += strchr(cases[i].name, ' ') == NULL;
    cr_assert_eq(named + OTHER_KERNELS, kernels, "%d kernels, cases for %d", kernels,
                 named + OTHER_KERNELS);
}

Test(kernels, agree_with_scalar, .timeout = 100)
{
    for (enum lj_isa isa = LJ_ISA_SCALAR; isa < LJ_ISA_COUNT; isa++) {
        const struct lj_kernels *k = lj_kernels_of(isa);
        for (int i = 0; k && i < CASES; i++) {
            for (int64_t count = 0; count <= 67; count++)
                check_case(&cases[i], k, count, false);
            check_case(&cases[i], k, LONGEST, false);
            for (int64_t count = 61; cases[i].extremes && count <= 67; count++)
                check_case(&cases[i], k, count, true);
            if (cases[i].elementwise)
                check_positions(&cases[i], k);
        }
    }
}

/* ---- many rows --------------------------------------------------------------------------- */

enum { TALL = 700, NARROW = 37, TALL_COUNT = TALL * NARROW };

struct tall {
    float x[TALL_COUNT], dy[TALL_COUNT], column[6][NARROW]; /* read */
    float y[TALL_COUNT], dx[TALL_COUNT], sum[3][NARROW];    /* written */
    double moment[2][NARROW];
};

/* Every kernel of columns, on `step` rows at a time. */
static void run_tall(const struct lj_kernels *k, struct tall *t, int64_t step)
{
    struct lj_batchnorm norm = {t->column[0], t->column[1], t->column[2], t->column[3], true};
    memset(t->sum, 0, sizeof t->sum);
    memset(t->moment, 0, sizeof t->moment);
    for (int64_t r = 0; r < TALL; r += step) {
        int64_t at = r * NARROW, rows = lj_min_i64(step, TALL - r);
        k->column_sums(t->sum[0], t->x + at, LJ_F32, rows, NARROW);
        k->column_moments(t->moment[0], t->moment[1], t->x + at, t->column[0], rows, NARROW);
        k->batchnorm(t->y + at, t->x + at, t->dy + at, &norm, rows, NARROW);
        k->batchnorm_sums(t->sum[1], t->sum[2], t->dy + at, t->x + at, &norm, rows, NARROW);
        k->batchnorm_backward(t->dx + at, t->dy + at, t->x + at, &norm, t->column[4], t->column[5],
                              rows, NARROW, false);
    }
}

/* However many rows a call has: sums go on in the order of rows. */
Test(kernels, rows_one_by_one_give_the_same_bits)
{
    static struct tall whole, parts;
    memset(&whole, 0, sizeof whole);
    lj_random_normal_f32(whole.x, TALL_COUNT, 1);
    lj_random_normal_f32(whole.dy, TALL_COUNT, 2);
    lj_random_normal_f32(whole.column[0], 6 * NARROW, 3);
    parts = whole;
    for (enum lj_isa isa = LJ_ISA_SCALAR; isa < LJ_ISA_COUNT; isa++) {
        const struct lj_kernels *k = lj_kernels_of(isa);
        if (!k)
            continue;
        run_tall(k, &whole, TALL);
        run_tall(k, &parts, 1);
        cr_expect_eq(memcmp(&whole, &parts, sizeof whole), 0, "%s: a row at a time", k->name);
        run_tall(k, &parts, 100);
        cr_expect_eq(memcmp(&whole, &parts, sizeof whole), 0, "%s: 100 rows at a time", k->name);
    }
}
