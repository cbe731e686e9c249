/* SPDX-License-Identifier: Apache-2.0 */
/* A matmul with more than 2^31 elements, by the level's library and by BLIS: takes 9 GiB, so it is
 * in the suite `slow`. Every element is known: row r is r % 97, column j is 1 + j % 89. */
#include "kernels/kernels.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { SIDE = 46342, DEPTH = 2 };

static void check(const char *who, const float *c)
{
    static const int64_t at[] = {0, 1, 1000, 23170, 23171, 46340, SIDE - 1};
    enum { PLACES = sizeof at / sizeof *at };
    for (int i = 0; i < PLACES; i++)
        for (int k = 0; k < PLACES; k++) {
            int64_t r = at[i], j = at[k];
            float want = (float)DEPTH * (float)(r % 97) * (float)(1 + j % 89);
            cr_assert_eq(c[r * SIDE + j], want, "%s: (%lld, %lld) is %g, not %g", who, (long long)r,
                         (long long)j, (double)c[r * SIDE + j], (double)want);
        }
}

Test(large_matmul, has_all_its_elements, .timeout = 600)
{
    float *a = malloc(sizeof *a * SIDE * DEPTH), *b = malloc(sizeof *b * SIDE * DEPTH);
    float *c = malloc(sizeof *c * (size_t)SIDE * SIDE);
    cr_assert(a && b && c, "no memory");
    for (int64_t i = 0; i < (int64_t)SIDE * DEPTH; i++) {
        a[i] = (float)(i / DEPTH % 97);
        b[i] = (float)(1 + i / DEPTH % 89);
    }
    struct lj_matmul matmul = {.batch = 1, .m = SIDE, .n = SIDE, .k = DEPTH, .transpose_b = true};
    lj_matmul(&matmul, a, b, NULL, c);
    check(lj_matmul_backend(&matmul), c);
    lj_gemm(false, true, SIDE, SIDE, DEPTH, 2, a, DEPTH, b, DEPTH, 0, c, SIDE); /* 2: BLIS */
    for (int64_t i = 0; i < (int64_t)SIDE * SIDE; i++)
        c[i] /= 2;
    check("BLIS", c);
    free(a);
    free(b);
    free(c);
}
