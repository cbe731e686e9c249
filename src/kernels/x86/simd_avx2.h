/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. Vectors of 8 floats for kernels_body.h. */
#ifndef LEJEPA_SIMD_AVX2_H
#define LEJEPA_SIMD_AVX2_H

#include <immintrin.h>
#include <sleef.h>
#include <stdbool.h>
#include <stdint.h>

typedef __m256 vec;
enum { WIDTH = 8 };

static inline __m256i first_lanes(int64_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vec v_set(float a)
{
    return _mm256_set1_ps(a);
}
static inline vec v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void v_store(float *p, vec a)
{
    _mm256_storeu_ps(p, a);
}
/* Elements from count on are loaded as 0, and are not stored. */
static inline vec v_load_part(const float *p, int64_t count)
{
    return _mm256_maskload_ps(p, first_lanes(count));
}
static inline void v_store_part(float *p, vec a, int64_t count)
{
    _mm256_maskstore_ps(p, first_lanes(count), a);
}
/* The first count elements from a, the others from b. */
static inline vec v_keep(vec a, vec b, int64_t count)
{
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(first_lanes(count)));
}
static inline vec v_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}
static inline vec v_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}
static inline vec v_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}
static inline vec v_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}
static inline vec v_sqrt(vec a)
{
    return _mm256_sqrt_ps(a);
}
static inline vec v_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}
static inline vec v_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}
static inline vec v_fma(vec a, vec b, vec c) /* a b + c */
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vec v_nfma(vec a, vec b, vec c) /* c - a b */
{
    return _mm256_fnmadd_ps(a, b, c);
}
/* Sum and maximum of all elements, by halving. */
static inline float v_sum(vec a)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
static inline float v_largest(vec a)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
static inline vec v_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a 2^n for integral n, in two halves so that neither factor leaves the range of exponents. */
static inline vec v_scale2(vec a, vec n)
{
    n = _mm256_max_ps(_mm256_min_ps(n, _mm256_set1_ps(250)), _mm256_set1_ps(-250));
    __m256i whole = _mm256_cvtps_epi32(n), first = _mm256_srai_epi32(whole, 1);
    __m256i second = _mm256_sub_epi32(whole, first), bias = _mm256_set1_epi32(127);
    vec x = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(first, bias), 23));
    vec y = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(second, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(a, x), y);
}
static inline vec v_abs(vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
/* c where a < b, else d. */
static inline vec v_if_less(vec a, vec b, vec c, vec d)
{
    return _mm256_blendv_ps(d, c, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
static inline vec v_reciprocal(vec a)
{
    return _mm256_div_ps(_mm256_set1_ps(1), a);
}
static inline vec v_load_bf16(const uint16_t *p)
{
    __m128i half = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
static inline vec v_load_bf16_part(const uint16_t *p, int64_t count)
{
    uint16_t lane[8] = {0};
    for (int64_t i = 0; i < count; i++)
        lane[i] = p[i];
    return v_load_bf16(lane);
}
static inline void v_store_bf16(uint16_t *p, vec a)
{
    __m256i bits = _mm256_castps_si256(a);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    up = _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(up),
                                              _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)),
                                              _mm256_cmp_ps(a, a, _CMP_UNORD_Q)));
    up = _mm256_srli_epi32(up, 16);
    up = _mm256_permute4x64_epi64(_mm256_packus_epi32(up, up), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(up));
}
static inline void v_store_bf16_part(uint16_t *p, vec a, int64_t count)
{
    uint16_t lane[8];
    v_store_bf16(lane, a);
    for (int64_t i = 0; i < count; i++)
        p[i] = lane[i];
}
/* Adds `rows` rows of DOUBLES columns to the sums of x - shift and of its square. */
enum { DOUBLES = 4 };
static inline void v_moments(double *sums, double *squares, const float *x, const float *shift,
                             int64_t rows, int64_t stride)
{
    __m256d sum = _mm256_loadu_pd(sums), square = _mm256_loadu_pd(squares);
    __m256d centre = _mm256_cvtps_pd(_mm_loadu_ps(shift));
    for (int64_t r = 0; r < rows; r++) {
        __m256d d = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(x + r * stride)), centre);
        sum = _mm256_add_pd(sum, d);
        square = _mm256_fmadd_pd(d, d, square);
    }
    _mm256_storeu_pd(sums, sum);
    _mm256_storeu_pd(squares, square);
}
static inline vec v_fms(vec a, vec b, vec c) /* a b - c */
{
    return _mm256_fmsub_ps(a, b, c);
}
/* a, negated where the lowest bit of b is set. */
static inline vec v_flip_if_odd(vec a, vec b)
{
    __m256i sign = _mm256_slli_epi32(_mm256_castps_si256(b), 31);
    return _mm256_xor_ps(a, _mm256_castsi256_ps(sign));
}
/* max(|a|, most) for most >= 0; NaN counts as larger than any number. */
static inline vec v_max_magnitude(vec a, vec most)
{
    __m256i size = _mm256_castps_si256(v_abs(a));
    return _mm256_castsi256_ps(_mm256_max_epi32(size, _mm256_castps_si256(most)));
}
/* Are all elements of a below the limit? False if one is NaN. */
static inline bool v_all_below(vec a, float limit)
{
    return _mm256_movemask_ps(_mm256_cmp_ps(a, v_set(limit), _CMP_LT_OQ)) == 0xff;
}
/* v_add_fixed for four elements: adding 1.5 2^52 leaves the rounded integer in the low
 * bits of the double. */
static inline void add_fixed_half(int64_t *sums, __m128 a)
{
    __m256d magic = _mm256_set1_pd(0x1.8p52);
    __m256d shifted = _mm256_fmadd_pd(_mm256_cvtps_pd(a), _mm256_set1_pd(0x1p32), magic);
    __m256i fixed = _mm256_sub_epi64(_mm256_castpd_si256(shifted), _mm256_castpd_si256(magic));
    __m256i *at = (__m256i *)sums;
    _mm256_storeu_si256(at, _mm256_add_epi64(_mm256_loadu_si256(at), fixed));
}
/* sums[i] += a[i] rounded to fixed point at 2^-32, where |a[i]| < 64; returns for
 * how many this fails. */
static inline int v_add_fixed(int64_t *sums, vec a)
{
    vec fit = _mm256_cmp_ps(v_abs(a), v_set(64), _CMP_LT_OQ), valid = _mm256_and_ps(a, fit);
    add_fixed_half(sums, _mm256_castps256_ps128(valid));
    add_fixed_half(sums + 4, _mm256_extractf128_ps(valid, 1));
    return 8 - __builtin_popcount((unsigned)_mm256_movemask_ps(fit));
}
/* Elements of an archive. */
static inline __m128i load_half(const void *p)
{
    return _mm_loadl_epi64((const __m128i *)p);
}
static inline __m128i load_whole(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}
static inline vec v_load_u8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_half(p)));
}
static inline vec v_load_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load_half(p)));
}
static inline vec v_load_u16(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(load_whole(p)));
}
static inline vec v_load_i16(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(load_whole(p)));
}
/* Both halves of 16 bits are exact, so that their sum is rounded once. */
static inline vec v_load_u32(const void *p)
{
    __m256i whole = _mm256_loadu_si256((const __m256i *)p);
    vec high = _mm256_cvtepi32_ps(_mm256_srli_epi32(whole, 16));
    vec low = _mm256_cvtepi32_ps(_mm256_and_si256(whole, _mm256_set1_epi32(0xffff)));
    return _mm256_fmadd_ps(high, _mm256_set1_ps(0x1p16f), low);
}
static inline vec v_load_f64(const void *p)
{
    const char *high = (const char *)p + sizeof(__m256d);
    return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd((const double *)(const void *)high)),
                           _mm256_cvtpd_ps(_mm256_loadu_pd((const double *)p)));
}
/* Splits pixels of three channels: channel c of pixel i is element 3 i + c of x. Since 3 and 8 have
 * no common factor, the 8 elements of a channel have 8 different places in the vectors of x. So
 * they are blended into one vector first, then put in order. */
static inline void v_split3(vec channel[3], const vec x[3])
{
    enum { FROM_0 = 0x49, FROM_1 = 0x92, FROM_2 = 0x24 }; /* every third lane */
    const __m256i triple = _mm256_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21);
    channel[0] = _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], FROM_1), x[2], FROM_2);
    channel[1] = _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], FROM_2), x[2], FROM_0);
    channel[2] = _mm256_blend_ps(_mm256_blend_ps(x[0], x[1], FROM_0), x[2], FROM_1);
    for (int c = 0; c < 3; c++) {
        __m256i order = _mm256_add_epi32(triple, _mm256_set1_epi32(c)); /* modulo 8 */
        channel[c] = _mm256_permutevar8x32_ps(channel[c], order);
    }
}
/* Four floats of a pixel, and four of the pixel 4 after it; pixels are `step` floats apart. */
static inline vec load_every_fourth(const float *x, int64_t step)
{
    return _mm256_set_m128(_mm_loadu_ps(x + 4 * step), _mm_loadu_ps(x));
}
/* Channels 0 .. 3 of WIDTH pixels that are `step` floats apart; reads four floats of each. */
static inline void v_split4(vec channel[4], const float *x, int64_t step)
{
    vec p0 = load_every_fourth(x, step), p1 = load_every_fourth(x + step, step);
    vec p2 = load_every_fourth(x + 2 * step, step), p3 = load_every_fourth(x + 3 * step, step);
    vec low01 = _mm256_unpacklo_ps(p0, p1), high01 = _mm256_unpackhi_ps(p0, p1);
    vec low23 = _mm256_unpacklo_ps(p2, p3), high23 = _mm256_unpackhi_ps(p2, p3);
    channel[0] = _mm256_shuffle_ps(low01, low23, 0x44);
    channel[1] = _mm256_shuffle_ps(low01, low23, 0xee);
    channel[2] = _mm256_shuffle_ps(high01, high23, 0x44);
    channel[3] = _mm256_shuffle_ps(high01, high23, 0xee);
}
typedef __m256i ivec;
/* p[i] - from for the first count elements, 0 for the others. */
static inline ivec v_index_from(const int32_t *p, int64_t count, int32_t from)
{
    __m256i lanes = first_lanes(count);
    __m256i index = _mm256_sub_epi32(_mm256_maskload_epi32(p, lanes), _mm256_set1_epi32(from));
    return _mm256_and_si256(index, lanes);
}
/* Element i of the result is element at[i] of a (v_pick), of a and b one behind the other
 * (v_pick2), of the array p (v_gather). */
static inline vec v_pick(vec a, ivec at)
{
    return _mm256_permutevar8x32_ps(a, at);
}
static inline vec v_pick2(vec a, vec b, ivec at)
{
    vec in_b = _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)); /* bit 3 as the sign */
    return _mm256_blendv_ps(v_pick(a, at), v_pick(b, at), in_b);
}
static inline vec v_gather(const float *p, ivec at)
{
    return _mm256_i32gather_ps(p, at, 4);
}
/* Towards 0. */
static inline vec v_truncate(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
/* Elements of whole numbers: row ld + column. */
static inline ivec v_index_of(vec row, int32_t ld, vec column)
{
    __m256i rows = _mm256_mullo_epi32(_mm256_cvttps_epi32(row), _mm256_set1_epi32(ld));
    return _mm256_add_epi32(rows, _mm256_cvttps_epi32(column));
}
static inline vec v_log(vec a)
{
    return Sleef_logf8_u35avx2(a);
}
static inline void v_sincospi(vec a, vec *s, vec *c)
{
    Sleef___m256_2 r = Sleef_sincospif8_u35avx2(a);
    *s = r.x;
    *c = r.y;
}

#endif
