/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include "random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Known answers of philox4x64-10 as distributed with Random123 (kat_vectors): zeros, ones, and the
 * digits of pi. */
Test(rng, philox_known_answers)
{
    static const struct {
        uint64_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0},
         {0, 0},
         {0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
        {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
         {UINT64_MAX, UINT64_MAX},
         {0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}},
        {{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89},
         {0x452821e638d01377, 0xbe5466cf34e90c6c},
         {0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6}},
    };
    for (int v = 0; v < 3; v++) {
        struct lj_rng rng = {.used = 4};
        memcpy(rng.key, vectors[v].key, sizeof rng.key);
        memcpy(rng.counter, vectors[v].counter, sizeof rng.counter);
        for (int i = 0; i < 4; i++)
            cr_assert_eq(lj_rng_bits(&rng), vectors[v].expected[i], "vector %d, word %d", v, i);
    }
}

Test(rng, a_stream_is_its_name)
{
    struct lj_rng rng, other;
    lj_rng_begin(&rng, 5, LJ_DRAW_VIEW, 1, 2, 3);
    cr_assert(rng.key[0] == 5 && rng.key[1] == LJ_DRAW_VIEW);
    cr_assert(rng.counter[0] == 1 && rng.counter[1] == 2 && rng.counter[2] == 3);
    uint64_t first[9];
    for (int i = 0; i < 9; i++)
        first[i] = lj_rng_bits(&rng);
    cr_assert_eq(rng.counter[3], 3, "nine draws use three blocks of four");
    lj_rng_begin(&rng, 5, LJ_DRAW_VIEW, 1, 2, 3);
    for (int i = 0; i < 9; i++)
        cr_assert_eq(lj_rng_bits(&rng), first[i]);
    const uint64_t names[][5] = {{6, LJ_DRAW_VIEW, 1, 2, 3},
                                 {5, LJ_DRAW_ORDER, 1, 2, 3},
                                 {5, LJ_DRAW_VIEW, 0, 2, 3},
                                 {5, LJ_DRAW_VIEW, 1, 3, 3},
                                 {5, LJ_DRAW_VIEW, 1, 2, 4}};
    for (int i = 0; i < 5; i++) {
        lj_rng_begin(&other, (int64_t)names[i][0], (enum lj_purpose)names[i][1], names[i][2],
                     names[i][3], names[i][4]);
        cr_assert_neq(lj_rng_bits(&other), first[0], "name %d", i);
    }
}

/* The permutation reaches every place once. */
Test(rng, permute_is_a_bijection)
{
    static const int64_t sizes[] = {1, 2, 3, 10, 1000, 4096, 4097};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int64_t n = sizes[s];
        char *seen = calloc((size_t)n, 1);
        for (int64_t i = 0; i < n; i++) {
            int64_t place = lj_permute(7, LJ_DRAW_ORDER, 1, 2, n, i);
            cr_assert(place >= 0 && place < n && !seen[place], "n %lld: %lld -> %lld", (long long)n,
                      (long long)i, (long long)place);
            seen[place] = 1;
        }
        free(seen);
    }
}

static int fixed_places(int64_t seed, enum lj_purpose purpose, uint64_t a, uint64_t b)
{
    int fixed = 0;
    for (int64_t i = 0; i < 1000; i++)
        fixed +=
            lj_permute(seed, purpose, a, b, 1000, i) == lj_permute(7, LJ_DRAW_ORDER, 1, 2, 1000, i);
    return fixed;
}

/* Two random permutations agree in one place on average; in 15 with probability 1e-12. */
Test(rng, permutations_of_other_names_are_others)
{
    cr_assert_eq(fixed_places(7, LJ_DRAW_ORDER, 1, 2), 1000);
    cr_assert_lt(fixed_places(8, LJ_DRAW_ORDER, 1, 2), 15);
    cr_assert_lt(fixed_places(7, LJ_DRAW_TEST, 1, 2), 15);
    cr_assert_lt(fixed_places(7, LJ_DRAW_ORDER, 2, 2), 15);
    cr_assert_lt(fixed_places(7, LJ_DRAW_ORDER, 1, 3), 15);
}

/* Where element 0 of five lands, over many keys: each place about equally often. */
Test(rng, permute_has_no_favourite_place)
{
    int counts[5] = {0};
    for (uint64_t a = 0; a < 10000; a++)
        counts[lj_permute(3, LJ_DRAW_ORDER, a, 0, 5, 0)]++;
    double chi2 = 0;
    for (int i = 0; i < 5; i++)
        chi2 += (counts[i] - 2000.0) * (counts[i] - 2000.0) / 2000;
    cr_assert_lt(chi2, 23.5, "chi squared with 4 degrees: 23.5 has probability 1e-4");
}

Test(rng, permute_refuses_a_place_outside, .exit_code = 70)
{
    lj_permute(0, LJ_DRAW_ORDER, 0, 0, 3, 3);
}

Test(rng, uniform_fills_the_unit_interval)
{
    enum { N = 100000, BINS = 64 };
    struct lj_rng rng;
    double sum = 0, squares = 0, chi2 = 0;
    int counts[BINS] = {0};
    lj_rng_begin(&rng, 1, LJ_DRAW_TEST, 0, 0, 0);
    for (int i = 0; i < N; i++) {
        double u = lj_rng_uniform(&rng);
        cr_assert(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
        counts[(int)(u * BINS)]++;
    }
    for (int i = 0; i < BINS; i++)
        chi2 += pow(counts[i] - (double)N / BINS, 2) / ((double)N / BINS);
    cr_assert_float_eq(sum / N, 0.5, 4.5 * sqrt(1.0 / 12 / N));
    cr_assert_float_eq(squares / N, 1.0 / 3, 4.5 * sqrt(4.0 / 45 / N));
    cr_assert_lt(chi2, 112, "chi squared with 63 degrees: 112 has probability 1e-4");
}

Test(rng, uniform_is_the_upper_53_bits)
{
    struct lj_rng rng = {.block = {UINT64_MAX, 1 << 11, 0x7ff, 0}};
    cr_assert_eq(lj_rng_uniform(&rng), 1 - 0x1p-53);
    cr_assert_eq(lj_rng_uniform(&rng), 0x1p-53);
    cr_assert_eq(lj_rng_uniform(&rng), 0.0);
}

Test(rng, below_is_unbiased_and_in_bounds)
{
    enum { N = 60000 };
    static const int64_t ranges[] = {2, 3, 6, 7, 60};
    struct lj_rng rng;
    lj_rng_begin(&rng, 2, LJ_DRAW_TEST, 0, 0, 0);
    for (int r = 0; r < 5; r++) {
        int counts[60] = {0};
        double chi2 = 0, mean = (double)N / (double)ranges[r];
        for (int i = 0; i < N; i++) {
            int64_t value = lj_rng_below(&rng, ranges[r]);
            cr_assert(value >= 0 && value < ranges[r]);
            counts[value]++;
        }
        for (int i = 0; i < ranges[r]; i++)
            chi2 += pow(counts[i] - mean, 2) / mean;
        double degrees = (double)ranges[r] - 1;
        cr_assert_lt(chi2, degrees + 5 * sqrt(2 * degrees) + 12, "range %lld: chi squared %g",
                     (long long)ranges[r], chi2);
    }
    for (int i = 0; i < 100; i++)
        cr_assert_eq(lj_rng_below(&rng, 1), 0);
}

/* 8 words for each 3 values of a range of 3 * 2^61: without rejection the values of residues 0, 1,
 * 2 modulo 3 would come up as 3 : 3 : 2. */
Test(rng, below_rejects_what_would_favour_some)
{
    enum { N = 30000 };
    const int64_t range = INT64_C(3) << 61;
    int thirds[3] = {0};
    struct lj_rng rng;
    lj_rng_begin(&rng, 4, LJ_DRAW_TEST, 0, 0, 0);
    for (int i = 0; i < N; i++) {
        int64_t value = lj_rng_below(&rng, range);
        cr_assert(value >= 0 && value < range);
        thirds[value % 3]++;
    }
    for (int i = 0; i < 3; i++)
        cr_assert_float_eq(thirds[i], N / 3.0, 4.5 * sqrt(N * 2 / 9.0), "residue %d: %d", i,
                           thirds[i]);
}

Test(rng, below_refuses_an_empty_range, .exit_code = 70)
{
    struct lj_rng rng = {.used = 4};
    lj_rng_below(&rng, 0);
}

Test(rng, normal_has_the_moments_of_a_gaussian)
{
    enum { N = 200000 };
    double moments[5] = {0};
    int beyond = 0;
    struct lj_rng rng;
    lj_rng_begin(&rng, 3, LJ_DRAW_TEST, 0, 0, 0);
    for (int i = 0; i < N; i++) {
        double x = lj_random_normal(&rng), power = 1;
        for (int k = 0; k < 5; k++, power *= x)
            moments[k] += power / N;
        beyond += fabs(x) > 1.959963984540054;
    }
    /* E x^k = 0 1 0 3, Var x^k = 1 2 15 96 */
    cr_assert_float_eq(moments[1], 0, 4.5 * sqrt(1.0 / N));
    cr_assert_float_eq(moments[2], 1, 4.5 * sqrt(2.0 / N));
    cr_assert_float_eq(moments[3], 0, 4.5 * sqrt(15.0 / N));
    cr_assert_float_eq(moments[4], 3, 4.5 * sqrt(96.0 / N));
    cr_assert_float_eq(beyond, 0.05 * N, 4.5 * sqrt(0.05 * 0.95 * N));
}

Test(rng, between_and_chance)
{
    struct lj_rng rng;
    int hits = 0;
    lj_rng_begin(&rng, 5, LJ_DRAW_TEST, 0, 0, 0);
    for (int i = 0; i < 10000; i++) {
        double x = lj_rng_between(&rng, -2, 6);
        cr_assert(x >= -2 && x < 6);
        hits += lj_rng_chance(&rng, 0.25);
        cr_assert(lj_rng_chance(&rng, 1) && !lj_rng_chance(&rng, 0));
    }
    cr_assert_float_eq(hits, 2500, 4.5 * sqrt(10000 * 0.25 * 0.75));
}
