/* SPDX-License-Identifier: Apache-2.0 */
/* lj_matmul in every form: batches, transposes, bias, adding, bf16 in and out, packed factors,
 * against sums in double of the rounded factors; and what its bits depend on. */
#include "kernels/kernels.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct arrays {
    float *a, *b, *c, *bias;  /* what goes in, exactly representable in the input's type */
    lj_bf16 *bf16_a, *bf16_b; /* the same */
    lj_bf16 *bf16_c;
    void *packed;
};

static bool has_bf16(void)
{
    return lj_isa_selected() == LJ_ISA_AVX512BF16;
}

/* Normal numbers, rounded when matmuls take bf16. */
static void fill(float *x, lj_bf16 *bf16, int64_t count, bool round, uint64_t stream)
{
    const struct lj_kernels *k = lj_kernels_of(LJ_ISA_SCALAR);
    lj_random_normal_f32(x, count, stream);
    k->to_bf16(bf16, x, count);
    if (round)
        k->from_bf16(x, bf16, count);
}

static struct arrays begin(const struct lj_matmul *p)
{
    int64_t na = p->batch * p->m * p->k, nb = p->batch * p->k * p->n, nc = p->batch * p->m * p->n;
    struct arrays x = {.a = malloc((size_t)na * 4),
                       .b = malloc((size_t)nb * 4),
                       .c = malloc((size_t)nc * 4),
                       .bias = malloc((size_t)p->n * 4),
                       .bf16_a = malloc((size_t)na * 2),
                       .bf16_b = malloc((size_t)nb * 2),
                       .bf16_c = malloc((size_t)nc * 2)};
    fill(x.a, x.bf16_a, na, p->input == LJ_BF16, 1);
    fill(x.b, x.bf16_b, nb, p->input == LJ_BF16, 2);
    fill(x.c, x.bf16_c, nc, p->output == LJ_BF16, 3);
    lj_random_normal_f32(x.bias, p->n, 4);
    if (p->packed_b) {
        x.packed = lj_alloc((size_t)lj_matmul_packed_bytes(p), "test");
        cr_assert_not_null(x.packed);
        lj_matmul_pack(p, x.b, x.packed);
    }
    return x;
}

static void end(struct arrays *x)
{
    free(x->a);
    free(x->b);
    free(x->c);
    free(x->bias);
    free(x->bf16_a);
    free(x->bf16_b);
    free(x->bf16_c);
    lj_free(x->packed);
}

static void multiply(const struct lj_matmul *p, const struct arrays *x, bool bias, void *c)
{
    const void *a = p->input == LJ_BF16 ? (const void *)x->bf16_a : x->a;
    const void *b = p->packed_b ? x->packed : p->input == LJ_BF16 ? (const void *)x->bf16_b : x->b;
    lj_matmul(p, a, b, bias ? x->bias : NULL, c);
}

static double expected(const struct lj_matmul *p, const struct arrays *x, bool bias, int64_t i,
                       int64_t r, int64_t j)
{
    const float *a = x->a + i * p->m * p->k, *b = x->b + i * p->k * p->n;
    double sum =
        (p->add ? (double)x->c[(i * p->m + r) * p->n + j] : 0) + (bias ? (double)x->bias[j] : 0);
    for (int64_t l = 0; l < p->k; l++)
        sum += (double)(p->transpose_a ? a[l * p->m + r] : a[r * p->k + l]) *
               (double)(p->transpose_b ? b[j * p->k + l] : b[l * p->n + j]);
    return sum;
}

static void check(const struct lj_matmul *p, bool bias)
{
    struct arrays x = begin(p);
    int64_t count = p->batch * p->m * p->n;
    float *c = malloc((size_t)count * 4);
    memcpy(c, x.c, (size_t)count * 4);
    multiply(p, &x, bias, p->output == LJ_BF16 ? (void *)x.bf16_c : c);
    if (p->output == LJ_BF16)
        lj_kernels_of(LJ_ISA_SCALAR)->from_bf16(c, x.bf16_c, count);
    for (int64_t i = 0; i < p->batch; i++)
        for (int64_t r = 0; r < p->m; r++)
            for (int64_t j = 0; j < p->n; j++) {
                double got = (double)c[(i * p->m + r) * p->n + j];
                double want = expected(p, &x, bias, i, r, j);
                double tolerance =
                    1e-6 * (4 + (double)p->k) + (p->output == LJ_BF16 ? 0x1p-8 * fabs(want) : 0);
                cr_assert(
                    fabs(got - want) <= tolerance,
                    "%lld of %c%c %lld x %lld x %lld, in %d out %d packed %d: (%lld, %lld) is "
                    "%g, expected %g",
                    (long long)p->batch, p->transpose_a ? 't' : 'n', p->transpose_b ? 't' : 'n',
                    (long long)p->m, (long long)p->n, (long long)p->k, (int)p->input,
                    (int)p->output, p->packed_b, (long long)r, (long long)j, got, want);
            }
    free(c);
    end(&x);
}

/* Every way to store and to finish one matmul. */
static void check_forms(int64_t batch, int64_t m, int64_t n, int64_t k)
{
    for (int form = 0; form < 16; form++) {
        struct lj_matmul p = {.batch = batch,
                              .m = m,
                              .n = n,
                              .k = k,
                              .transpose_a = form & 1,
                              .transpose_b = form & 2,
                              .add = (form & 4) != 0};
        bool bias = (form & 8) != 0;
        check(&p, bias);
        if (!has_bf16())
            continue;
        p.input = LJ_BF16;
        check(&p, bias);
        p.output = LJ_BF16;
        check(&p, bias);
    }
}

Test(matmul, every_form, .timeout = 100)
{
    static const int64_t sizes[][4] = {{1, 1, 1, 1},    {1, 7, 13, 31},  {1, 65, 17, 3},
                                       {1, 33, 64, 96}, {5, 10, 10, 16}, {3, 17, 17, 64},
                                       {4, 65, 64, 65}, {2, 5, 16, 5},   {1, 40, 24, 257}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_forms(sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);
}

/* One packed factor serves any number of rows, whole tiles and short ones. */
Test(matmul, packed_factors_serve_any_number_of_rows, .timeout = 100)
{
    static const int64_t rows[] = {1, 10, 65, 260}, shapes[][2] = {{192, 576}, {48, 100}, {7, 3}};
    struct lj_matmul wide = {.batch = 1, .m = 1, .n = 8, .k = 8, .transpose_b = true};
    cr_assert_eq(lj_matmul_packed_bytes(&wide), 0, "float32 takes factors as they are");
    if (!has_bf16())
        cr_skip("this processor has no bf16 matmuls");
    for (int s = 0; s < 3; s++)
        for (int r = 0; r < 4; r++)
            for (int transposed = 0; transposed < 2; transposed++) {
                struct lj_matmul p = {.batch = 1,
                                      .m = rows[r],
                                      .n = shapes[s][1],
                                      .k = shapes[s][0],
                                      .transpose_b = transposed,
                                      .packed_b = true,
                                      .input = LJ_BF16,
                                      .output = LJ_F32};
                check(&p, true);
                p.add = true;
                p.output = LJ_BF16;
                check(&p, false);
            }
}

/* At other addresses, and after other matmuls: the same bits. */
static void check_bits(struct lj_matmul p)
{
    struct arrays x = begin(&p);
    int64_t count = p.batch * p.m * p.n;
    float *c = malloc((size_t)(2 * count + 7) * 4);
    memcpy(c, x.c, (size_t)count * 4);
    memcpy(c + count + 7, x.c, (size_t)count * 4);
    multiply(&p, &x, false, c);
    check_forms(1, 9, 9, 9);
    multiply(&p, &x, false, c + count + 7);
    cr_assert_eq(memcmp(c, c + count + 7, (size_t)count * 4), 0);
    free(c);
    end(&x);
}

/* In a batch, and as the gradient of a weight. */
Test(matmul, equal_calls_give_equal_bits)
{
    for (int type = LJ_F32; type <= (has_bf16() ? LJ_BF16 : LJ_F32); type++) {
        check_bits((struct lj_matmul){
            .batch = 3, .m = 65, .n = 64, .k = 65, .input = (enum lj_type)type, .output = LJ_F32});
        check_bits((struct lj_matmul){.batch = 1,
                                      .m = 192,
                                      .n = 48,
                                      .k = 520,
                                      .transpose_a = true,
                                      .add = true,
                                      .input = (enum lj_type)type,
                                      .output = LJ_F32});
    }
}
