/* SPDX-License-Identifier: Apache-2.0 */
/* lj_gemm against sums in double, and what its bits depend on. */
#include "kernels/kernels.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct matmul {
    bool ta, tb;
    int64_t m, n, k, lda, ldb, ldc;
    float alpha, beta;
};

static double expected(const struct matmul *p, const float *a, const float *b, const float *c,
                       int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t l = 0; l < p->k; l++)
        sum += (double)(p->ta ? a[l * p->lda + i] : a[i * p->lda + l]) *
               (double)(p->tb ? b[j * p->ldb + l] : b[l * p->ldb + j]);
    double before = p->beta != 0 ? (double)p->beta * (double)c[i * p->ldc + j] : 0;
    return (double)p->alpha * sum + before;
}

static void check(const struct matmul *p)
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
                    struct matmul p = {.ta = t & 1,
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

Test(gemm, empty_matmuls)
{
    float a[4] = {1, 2, 3, 4}, c[4] = {5, 6, 7, 8};
    lj_gemm(false, false, 0, 2, 2, 1, a, 2, a, 2, 0, c, 2);
    lj_gemm(false, false, 2, 0, 2, 1, a, 2, a, 2, 0, c, 2);
    cr_assert(c[0] == 5 && c[3] == 8);
    lj_gemm(false, false, 2, 2, 0, 1, a, 2, a, 2, 0, c, 2); /* an empty sum */
    for (int i = 0; i < 4; i++)
        cr_assert_eq(c[i], 0);
}

/* ---- the matmuls of the presets ---------------------------------------------------------- */

/* A matrix of (rows, columns) at an address `shift` floats off, with `pad` floats between its
 * rows. */
struct matrix {
    int64_t rows, columns, ld;
    float *memory, *at;
};

static struct matrix place(const float *values, int64_t rows, int64_t columns, int shift, int pad)
{
    struct matrix m = {.rows = rows, .columns = columns, .ld = columns + pad};
    m.memory = malloc((size_t)(rows * m.ld + shift) * sizeof *m.memory);
    m.at = m.memory + shift;
    for (int64_t r = 0; r < rows; r++)
        memcpy(m.at + r * m.ld, values + r * columns, (size_t)columns * sizeof *values);
    return m;
}

static const char *name_of(const struct matmul *p)
{
    static char name[96];
    snprintf(name, sizeof name, "%c%c %lld x %lld x %lld", p->ta ? 't' : 'n', p->tb ? 't' : 'n',
             (long long)p->m, (long long)p->n, (long long)p->k);
    return name;
}

/* Some elements of the tight matmul, spread over it with a stride that meets every column. */
static void check_values(const struct matmul *p, const float *a, const float *b, const float *c,
                         const float *got)
{
    enum { SAMPLES = 41 };
    double tolerance = 1e-6 * (4 + (double)p->k);
    for (int64_t s = 0; s < SAMPLES; s++) {
        int64_t at = s * (p->m * p->n - 1) / (SAMPLES - 1);
        double want = expected(p, a, b, c, at / p->n, at % p->n);
        cr_assert(fabs((double)got[at] - want) <= tolerance, "%s, element %lld: %g, expected %g",
                  name_of(p), (long long)at, (double)got[at], want);
    }
}

/* The same matmul elsewhere: its bits are those of `got`. With other leading dimensions it is
 * another call (oneDNN chooses by them), of the same value to rounding. Factors share numbers, so
 * that some elements are sums of squares. */
static void check_elsewhere(struct matmul p, const float *a, const float *b, const float *c,
                            const float *got, int shift, int pad)
{
    struct matrix at[3] = {place(a, p.ta ? p.k : p.m, p.ta ? p.m : p.k, shift, pad),
                           place(b, p.tb ? p.n : p.k, p.tb ? p.k : p.n, shift + 1, pad),
                           place(c, p.m, p.n, shift + 2, pad)};
    lj_gemm(p.ta, p.tb, p.m, p.n, p.k, p.alpha, at[0].at, at[0].ld, at[1].at, at[1].ld, p.beta,
            at[2].at, at[2].ld);
    for (int64_t r = 0; r < p.m; r++)
        for (int64_t j = 0; pad > 0 && j < p.n; j++)
            cr_assert(fabs((double)(at[2].at[r * at[2].ld + j] - got[r * p.n + j])) <=
                          fmax(1e-6 * (4 + (double)p.k), 2e-6 * fabs((double)got[r * p.n + j])),
                      "%s, rows %d floats apart: row %lld has other values", name_of(&p), pad,
                      (long long)r);
    for (int64_t r = 0; pad == 0 && r < p.m; r++)
        cr_assert_eq(memcmp(at[2].at + r * at[2].ld, got + r * p.n, (size_t)p.n * sizeof *got), 0,
                     "%s, %d floats off: row %lld has other bits", name_of(&p), shift,
                     (long long)r);
    for (int i = 0; i < 3; i++)
        free(at[i].memory);
}

/* The numbers that all these matmuls are made of: drawn once in a test. */
static const float *numbers(int64_t first, int64_t count)
{
    enum { COUNT = 7 << 20 };
    static float pool[COUNT];
    if (pool[0] == 0)
        lj_random_normal_f32(pool, COUNT, 1);
    cr_assert_leq(first + count, COUNT);
    return pool + first;
}

static void check_matmul(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float beta)
{
    struct matmul p = {ta, tb, m, n, k, ta ? m : k, tb ? k : n, n, 1, beta};
    const float *a = numbers(0, m * k), *b = numbers(1, n * k), *c = numbers(2, m * n);
    float *got = malloc((size_t)(m * n) * sizeof *got);
    memcpy(got, c, (size_t)(m * n) * sizeof *got);
    lj_gemm(ta, tb, m, n, k, 1, a, p.lda, b, p.ldb, beta, got, n);
    check_values(&p, a, b, c, got);
    check_elsewhere(p, a, b, c, got, 5, 0);
    check_elsewhere(p, a, b, c, got, 0, 3);
    free(got);
}

/* y = x W^T, dx = dy W, dW += dy^T x. */
static void check_linear(int64_t rows, int64_t in, int64_t out)
{
    check_matmul(false, true, rows, out, in, 0);
    check_matmul(false, false, rows, in, out, 0);
    check_matmul(true, false, out, in, rows, 1);
}

static const int64_t widths[] = {192, 384, 768, 1024, 1280}; /* vit_tiny .. vit_huge */
enum { WIDTHS = sizeof widths / sizeof *widths };

static void check_block(int64_t rows, int64_t width)
{
    check_linear(rows, width, 3 * width); /* q, k, v */
    check_linear(rows, width, width);
    check_linear(rows, width, 4 * width);
    check_linear(rows, 4 * width, width);
}

/* Rows of one global view of 128 pixels in patches of 8, of one local view of 48: a lane has 16 and
 * 48 times as many, which only repeats the same tiles; for the smallest encoder all of them are
 * taken. */
Test(gemm, encoders_of_the_presets, .timeout = 100)
{
    for (int w = 0; w < WIDTHS; w++) {
        check_block(257, widths[w]);
        check_block(37, widths[w]);
    }
    check_block(16 * 257, widths[0]);
    check_block(48 * 37, widths[0]);
}

/* Colour images in patches of 4, 8, 16; the position table; the head of the preset `minimal`. */
Test(gemm, ends_of_the_encoders, .timeout = 100)
{
    for (int w = 0; w < WIDTHS; w++) {
        for (int64_t patch = 4; patch <= 16; patch *= 2)
            check_linear(8 * 49, 3 * patch * patch, widths[w]);
        check_matmul(false, false, 36, widths[w], 256, 0);
        check_matmul(true, false, 256, widths[w], 36, 0);
    }
    check_linear(32, 384, 512);
}

/* One head: scores q k^T, weighted sums p v, and back. */
Test(gemm, attention_of_the_presets, .timeout = 100)
{
    static const int64_t tokens[] = {257, 50, 37, 10}, sizes[] = {64, 80};
    for (int t = 0; t < 4; t++)
        for (int s = 0; s < 2; s++) {
            check_matmul(false, true, tokens[t], tokens[t], sizes[s], 0);
            check_matmul(false, false, tokens[t], sizes[s], tokens[t], 0);
            check_matmul(true, false, tokens[t], sizes[s], tokens[t], 0);
        }
}

/* 8 samples in 2 and 6 views, or in 4; then SIGReg's slices, a tile of 256 at a time. */
Test(gemm, projectors_and_slices, .timeout = 100)
{
    for (int w = 0; w < WIDTHS; w++)
        check_linear(64, widths[w], 2048);
    check_linear(64, 2048, 2048);
    check_linear(32, 512, 2048);
    for (int64_t out = 16; out <= 64; out *= 4) {
        check_linear(64, 2048, out);
        check_matmul(false, false, 128, 256, out, 0);
        check_matmul(false, true, 128, out, 256, 1);
    }
}

/* Rows of x W^T and dy W in several calls: the same bits as in one call. BLIS 0.9 has this with its
 * generic and Skylake-X kernels; its Haswell kernels take small matmuls by dot matmuls along k,
 * which add up in another order: 544 x 576 x 192 with B transposed, in parts of 34 rows, differs in
 * most elements. Nothing relies on it, because a lane's rows are never split. */
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
