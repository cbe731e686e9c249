/* SPDX-License-Identifier: Apache-2.0 */
/* Packed factors: our kernel writes the bytes that oneDNN's reorder writes, and those of its
 * specification. */
#include "kernels/gemm/backends.h"
#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { GUARD = 64 };

/* Ones and edges of blocks of 16 and panels of 32 x 64; preset widths; a patch embedding. */
static const int64_t sizes[] = {1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 129};
static const int64_t shapes[][2] = {{192, 576}, {768, 192}, {147, 192}, {1024, 64}, {5, 300}};
enum { SIZES = sizeof sizes / sizeof *sizes, SHAPES = sizeof shapes / sizeof *shapes };

typedef void check(int64_t k, int64_t n, bool transposed, const float *b);

static void fill(float *b, int64_t count, const float *special, int64_t specials, uint64_t stream)
{
    lj_random_normal_f32(b, count, stream);
    for (int64_t i = 0; i < count; i++)
        if ((i * 7 + (int64_t)stream) % 5 == 0)
            b[i] = special[i / 5 % specials];
}

/* b ends where its memory ends, one float off alignment, so that a sanitizer sees what reads too
 * far. */
static void for_shape(check *check_shape, int64_t k, int64_t n, const float *special,
                      int64_t specials)
{
    float *memory = lj_alloc((size_t)(k * n + 1) * sizeof(float), "test");
    cr_assert_not_null(memory);
    fill(memory + 1, k * n, special, specials, (uint64_t)(k * 1000 + n));
    check_shape(k, n, false, memory + 1);
    check_shape(k, n, true, memory + 1);
    lj_free(memory);
}

static void for_shapes(check *check_shape, const float *special, int64_t specials)
{
    for (int i = 0; i < SIZES; i++)
        for (int j = 0; j < SIZES; j++)
            for_shape(check_shape, sizes[i], sizes[j], special, specials);
    for (int i = 0; i < SHAPES; i++)
        for_shape(check_shape, shapes[i][0], shapes[i][1], special, specials);
}

static lj_bf16 *allocate(int64_t bytes)
{
    lj_bf16 *packed = lj_alloc((size_t)(bytes + GUARD), "test");
    cr_assert_not_null(packed);
    memset(packed, 0xa5, (size_t)(bytes + GUARD));
    return packed;
}

static void compare(const lj_bf16 *got, const lj_bf16 *want, int64_t bytes, int64_t k, int64_t n,
                    bool transposed)
{
    for (int64_t i = 0; i < (bytes + GUARD) / 2; i++)
        cr_assert_eq(got[i], want[i], "%lld x %lld%s: element %lld of %lld is %04x, expected %04x",
                     (long long)k, (long long)n, transposed ? " transposed" : "", (long long)i,
                     (long long)bytes / 2, got[i], want[i]);
}

static void check_against_onednn(int64_t k, int64_t n, bool transposed, const float *b)
{
    struct lj_matmul p = {
        .batch = 1, .m = 1, .n = n, .k = k, .transpose_b = transposed, .input = LJ_BF16};
    int64_t bytes = lj_matmul_packed_bytes(&p);
    lj_bf16 *got = allocate(bytes), *want = allocate(bytes);
    lj_matmul_pack(&p, b, got);
    lj_onednn_reorder(&p, b, want);
    compare(got, want, bytes, k, n, transposed);
    lj_free(got);
    lj_free(want);
}

static void check_against_scalar(int64_t k, int64_t n, bool transposed, const float *b)
{
    int64_t bytes = lj_round_up(k, LJ_PANEL_ROWS) * lj_round_up(n, LJ_PANEL_COLUMNS) * 2;
    lj_bf16 *want = allocate(bytes);
    lj_kernels_of(LJ_ISA_SCALAR)->pack(want, b, k, n, transposed);
    for (enum lj_isa isa = LJ_ISA_AVX2; isa < LJ_ISA_COUNT; isa++) {
        const struct lj_kernels *kernels = lj_kernels_of(isa);
        if (!kernels || !kernels->pack)
            continue;
        lj_bf16 *got = allocate(bytes);
        kernels->pack(got, b, k, n, transposed);
        compare(got, want, bytes, k, n, transposed);
        lj_free(got);
    }
    lj_free(want);
}

/* The processor takes denormals for 0, the specification does not. */
Test(product_pack, gives_the_bytes_of_the_specification)
{
    const float special[] = {0,     -0.0f,  NAN,       INFINITY, -INFINITY,
                             1e30f, 1e-30f, 0x1.01p0f, 0x1.03p0f};
    for_shapes(check_against_scalar, special, 9);
}

Test(product_pack, gives_the_bytes_of_onednn)
{
    const float special[] = {0,         -0.0f,     NAN,    -NAN,   INFINITY,       -INFINITY,
                             0x1.01p0f, 0x1.03p0f, 1e-40f, 1e-45f, 0x1.fffffep127f};
    if (lj_isa_selected() != LJ_ISA_AVX512BF16)
        cr_skip("this processor has no bf16 matmuls");
    for_shapes(check_against_onednn, special, 11);
    lj_onednn_release();
}
