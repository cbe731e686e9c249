/* SPDX-License-Identifier: Apache-2.0 */
/* lj_gemm against sums in double, and what its bits depend on. */
#include "lejepa/kernels.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct product {
    bool ta, tb;
    int64_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
};

static double expected(const struct product *p, const float *a, const float *b, const float *c,
                       int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t l = 0; l < p->k; l++)
        sum += (double)(p->ta ? a[l * p->lda + i] : a[i * p->lda + l]) *
               (double)(p->tb ? b[j * p->ldb + l] : b[l * p->ldb + j]);
    double before = p->beta != 0 ? (double)p->beta * (double)c[i * p->ldc + j] : 0;
    return (double)p->alpha * sum + before;
}

static void check(const struct product *p)
{
    int64_t a_count = (p->ta ? p->k : p->m) * p->lda, b_count = (p->tb ? p->n : p->k) * p->ldb;
    int64_t c_count = p->m * p->ldc;
    float *a = malloc((size_t)(a_count + b_count + 2 * c_count + 1) * sizeof *a);
    float *b = a + a_count, *c = b + b_count, *before = c + c_count;
    lj_random_normal_f32(a, a_count, 1);
    lj_random_normal_f32(b, b_count, 2);
    lj_random_normal_f32(before, c_count, 3);
    for (int64_t i = 0; i < c_count; i++) /* what beta 0 must not read, between rows what stays */
        before[i] = p->beta == 0 && i % p->ldc < p->n ? NAN : before[i];
    memcpy(c, before, (size_t)c_count * sizeof *c);
    lj_gemm(p->ta, p->tb, p->m, p->n, p->k, p->alpha, a, p->lda, b, p->ldb, p->beta, c, p->ldc);
    double tolerance = 1e-6 * (4 + (double)p->k);
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->ldc; j++) {
            double got = (double)c[i * p->ldc + j];
            double want =
                j < p->n ? expected(p, a, b, before, i, j) : (double)before[i * p->ldc + j];
            cr_assert(fabs(got - want) <= (j < p->n ? tolerance : 0),
                      "%c%c %lld x %lld x %lld beta %g at (%lld, %lld): %g, expected %g",
                      p->ta ? 't' : 'n', p->tb ? 't' : 'n', (long long)p->m, (long long)p->n,
                      (long long)p->k, (double)p->beta, (long long)i, (long long)j, got, want);
        }
    free(a);
}

Test(gemm, agrees_with_sums_in_double)
{
    static const int64_t sizes[][3] = {{1, 1, 1},  {1, 17, 3},  {5, 1, 9},    {7, 13, 31},
                                       {65, 3, 2}, {33, 65, 1}, {48, 100, 67}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int t = 0; t < 4; t++)
            for (int pad = 0; pad < 4; pad += 3)
                for (int beta = 0; beta < 3; beta++) {
                    struct product p = {.ta = t & 1,
                                        .tb = t & 2,
                                        .m = sizes[s][0],
                                        .n = sizes[s][1],
                                        .k = sizes[s][2],
                                        .alpha = beta == 2 ? -0.5f : 1,
                                        .beta = beta == 2 ? 0.25f : (float)beta};
                    p.lda = (p.ta ? p.m : p.k) + pad;
                    p.ldb = (p.tb ? p.k : p.n) + pad;
                    p.ldc = p.n + pad;
                    check(&p);
                }
}

Test(gemm, empty_products)
{
    float a[4] = {1, 2, 3, 4}, c[4] = {5, 6, 7, 8};
    lj_gemm(false, false, 0, 2, 2, 1, a, 2, a, 2, 0, c, 2);
    lj_gemm(false, false, 2, 0, 2, 1, a, 2, a, 2, 0, c, 2);
    cr_assert(c[0] == 5 && c[3] == 8);
    lj_gemm(false, false, 2, 2, 0, 1, a, 2, a, 2, 0, c, 2); /* an empty sum */
    for (int i = 0; i < 4; i++)
        cr_assert_eq(c[i], 0);
}

/* Equal products at other addresses: a lane's place in memory does not show. */
Test(gemm, bits_do_not_depend_on_addresses)
{
    enum { M = 68, N = 65, K = 48, SHIFTS = 16 };
    static float a[M * K + SHIFTS], b[N * K + SHIFTS], c[M * N + SHIFTS], first[M * N];
    for (int shift = 0; shift < SHIFTS; shift++) {
        lj_random_normal_f32(a + shift, M * K, 1);
        lj_random_normal_f32(b + shift, N * K, 2);
        lj_gemm(false, true, M, N, K, 1, a + shift, K, b + shift, K, 0, c + shift, N);
        if (shift == 0)
            memcpy(first, c, sizeof first);
        cr_assert_eq(memcmp(first, c + shift, sizeof first), 0, "%d floats off", shift);
    }
}

/* Rows of x W^T and dy W in several calls: the same bits as in one call. BLIS 0.9 has this with its
 * generic and Skylake-X kernels; its Haswell kernels take small products by dot products along k, which
 * add up in another order: 544 x 576 x 192 with B transposed, in parts of 34 rows, differs in most
 * elements. Nothing relies on it, because a lane's rows are never split. */
static void check_split(bool tb, int64_t rows, int64_t n, int64_t k, int64_t part)
{
    float *a = malloc((size_t)(rows * k + n * k + 2 * rows * n) * sizeof *a);
    float *b = a + rows * k, *whole = b + n * k, *parts = whole + rows * n;
    lj_random_normal_f32(a, rows * k, 1);
    lj_random_normal_f32(b, n * k, 2);
    int64_t ldb = tb ? k : n, differ = 0;
    lj_gemm(false, tb, rows, n, k, 1, a, k, b, ldb, 0, whole, n);
    for (int64_t r = 0; r < rows; r += part)
        lj_gemm(false, tb, lj_min_i64(part, rows - r), n, k, 1, a + r * k, k, b, ldb, 0,
                parts + r * n, n);
    for (int64_t i = 0; i < rows * n; i++)
        differ += memcmp(whole + i, parts + i, sizeof *whole) != 0;
    cr_assert_eq(differ, 0, "%lld x %lld x %lld in parts of %lld rows: %lld of %lld differ",
                 (long long)rows, (long long)n, (long long)k, (long long)part, (long long)differ,
                 (long long)(rows * n));
    free(a);
}

Test(gemm, split_rows_keep_their_bits, .timeout = 100)
{
    if (lj_kernels() == lj_kernels_of(LJ_ISA_AVX2))
        return;
    static const int64_t shapes[][3] = {{544, 576, 192},  {544, 192, 768}, {544, 1152, 384},
                                        {260, 384, 1536}, {136, 192, 48},  {64, 2048, 192}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int tb = 0; tb < 2; tb++) {
            check_split(tb, shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][0] / 2);
            check_split(tb, shapes[s][0], shapes[s][1], shapes[s][2], 34);
            check_split(tb, shapes[s][0], shapes[s][1], shapes[s][2], 17);
        }
}
