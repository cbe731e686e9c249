/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. Vectors of 16 floats for kernels_body.h. */
#ifndef LEJEPA_SIMD_AVX512_H
#define LEJEPA_SIMD_AVX512_H

#include <immintrin.h>
#include <sleef.h>
#include <stdbool.h>
#include <stdint.h>

typedef __m512 vec;
enum { WIDTH = 16 };

static inline __mmask16 first_lanes(int64_t count)
{
    return (__mmask16)((1u << count) - 1u);
}
static inline vec v_set(float a)
{
    return _mm512_set1_ps(a);
}
static inline vec v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, vec a)
{
    _mm512_storeu_ps(p, a);
}
/* Elements from count on are loaded as 0, and are not stored. */
static inline vec v_load_part(const float *p, int64_t count)
{
    return _mm512_maskz_loadu_ps(first_lanes(count), p);
}
static inline void v_store_part(float *p, vec a, int64_t count)
{
    _mm512_mask_storeu_ps(p, first_lanes(count), a);
}
/* The first count elements from a, the others from b. */
static inline vec v_keep(vec a, vec b, int64_t count)
{
    return _mm512_mask_mov_ps(b, first_lanes(count), a);
}
static inline vec v_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}
static inline vec v_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}
static inline vec v_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}
static inline vec v_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}
static inline vec v_sqrt(vec a)
{
    return _mm512_sqrt_ps(a);
}
static inline vec v_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}
static inline vec v_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}
static inline vec v_fma(vec a, vec b, vec c) /* a b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vec v_nfma(vec a, vec b, vec c) /* c - a b */
{
    return _mm512_fnmadd_ps(a, b, c);
}
/* Sum and maximum of all elements, by halving. */
static inline float v_sum(vec a)
{
    return _mm512_reduce_add_ps(a);
}
static inline float v_largest(vec a)
{
    return _mm512_reduce_max_ps(a);
}
static inline vec v_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a 2^n for integral n; under- and overflow give 0 and infinity. */
static inline vec v_scale2(vec a, vec n)
{
    return _mm512_scalef_ps(a, n);
}
static inline vec v_abs(vec a)
{
    return _mm512_abs_ps(a);
}
/* c where a < b, else d. */
static inline vec v_if_less(vec a, vec b, vec c, vec d)
{
    return _mm512_mask_mov_ps(d, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), c);
}
/* 1 / a to about one rounding. */
static inline vec v_reciprocal(vec a)
{
    vec r = _mm512_rcp14_ps(a);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(a, r, _mm512_set1_ps(2)));
}
static inline vec v_widen(__m256i a)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(a), 16));
}
static inline vec v_load_bf16(const uint16_t *p)
{
    return v_widen(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline vec v_load_bf16_part(const uint16_t *p, int64_t count)
{
    return v_widen(_mm256_maskz_loadu_epi16(first_lanes(count), p));
}
#ifdef __AVX512BF16__
static inline __m256i v_to_bf16(vec a)
{
    return (__m256i)_mm512_cvtneps_pbh(a);
}
#else
static inline __m256i v_to_bf16(vec a)
{
    __m512i bits = _mm512_castps_si512(a);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    up = _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q),
                               _mm512_set1_epi32(0x7fc00000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
}
#endif
static inline void v_store_bf16(uint16_t *p, vec a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v_to_bf16(a));
}
static inline void v_store_bf16_part(uint16_t *p, vec a, int64_t count)
{
    _mm256_mask_storeu_epi16(p, first_lanes(count), v_to_bf16(a));
}
/* Adds `rows` rows of DOUBLES columns to the sums of x - shift and of its square. */
enum { DOUBLES = 8 };
static inline void v_moments(double *sums, double *squares, const float *x, const float *shift,
                             int64_t rows, int64_t stride)
{
    __m512d sum = _mm512_loadu_pd(sums), square = _mm512_loadu_pd(squares);
    __m512d centre = _mm512_cvtps_pd(_mm256_loadu_ps(shift));
    for (int64_t r = 0; r < rows; r++) {
        __m512d d = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_loadu_ps(x + r * stride)), centre);
        sum = _mm512_add_pd(sum, d);
        square = _mm512_fmadd_pd(d, d, square);
    }
    _mm512_storeu_pd(sums, sum);
    _mm512_storeu_pd(squares, square);
}
static inline vec v_fms(vec a, vec b, vec c) /* a b - c */
{
    return _mm512_fmsub_ps(a, b, c);
}
/* a, negated where the lowest bit of b is set. */
static inline vec v_flip_if_odd(vec a, vec b)
{
    __m512i sign = _mm512_slli_epi32(_mm512_castps_si512(b), 31);
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a), sign));
}
/* max(|a|, most) for most >= 0; NaN counts as larger than any number. */
static inline vec v_max_magnitude(vec a, vec most)
{
    __m512i size = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff));
    return _mm512_castsi512_ps(_mm512_max_epu32(size, _mm512_castps_si512(most)));
}
/* Are all elements of a below the limit? False if one is NaN. */
static inline bool v_all_below(vec a, float limit)
{
    return _mm512_cmp_ps_mask(a, v_set(limit), _CMP_LT_OQ) == 0xffff;
}
/* sums[i] += a[i] rounded to fixed point at 2^-32, where |a[i]| < 64; returns for
 * how many this fails. */
static inline int v_add_fixed(int64_t *sums, vec a)
{
    __mmask16 fit = _mm512_cmp_ps_mask(_mm512_abs_ps(a), v_set(64), _CMP_LT_OQ);
    vec scaled = _mm512_maskz_mul_ps(fit, a, v_set(0x1p32f));
    __m512i low = _mm512_cvtps_epi64(_mm512_castps512_ps256(scaled));
    __m512i high = _mm512_cvtps_epi64(_mm512_extractf32x8_ps(scaled, 1));
    _mm512_storeu_si512(sums, _mm512_add_epi64(_mm512_loadu_si512(sums), low));
    _mm512_storeu_si512(sums + 8, _mm512_add_epi64(_mm512_loadu_si512(sums + 8), high));
    return __builtin_popcount(fit ^ 0xffffu);
}
/* Elements of an archive. */
static inline vec v_load_u8(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p)));
}
static inline vec v_load_i8(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}
static inline vec v_load_u16(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)));
}
static inline vec v_load_i16(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256(p)));
}
static inline vec v_load_u32(const void *p)
{
    return _mm512_cvtepu32_ps(_mm512_loadu_si512(p));
}
static inline vec v_load_f64(const void *p)
{
    const char *high = (const char *)p + sizeof(__m512d);
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_loadu_pd(p))),
                              _mm512_cvtpd_ps(_mm512_loadu_pd(high)), 1);
}
/* Splits pixels of three channels: channel c of pixel i is element 3 i + c of x. Since 3 and 16
 * have no common factor, the 16 elements of a channel have 16 different places in the vectors of x.
 * So they are blended into one vector first, then put in order. */
static inline void v_split3(vec channel[3], const vec x[3])
{
    const __mmask16 every_third[3] = {0x9249, 0x2492, 0x4924}; /* from lane 0, 1, 2 on */
    const __m512i triple =
        _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45);
    for (int c = 0; c < 3; c++) {
        vec lanes = _mm512_mask_mov_ps(x[0], every_third[(c + 2) % 3], x[1]);
        lanes = _mm512_mask_mov_ps(lanes, every_third[(c + 1) % 3], x[2]);
        __m512i order = _mm512_add_epi32(triple, _mm512_set1_epi32(c)); /* modulo 16 */
        channel[c] = _mm512_permutexvar_ps(order, lanes);
    }
}
/* Four floats of a pixel, and four each of those 4, 8 and 12 after it; pixels are
 * `step` floats apart. */
static inline vec load_every_fourth(const float *x, int64_t step)
{
    vec a = _mm512_castps128_ps512(_mm_loadu_ps(x));
    a = _mm512_insertf32x4(a, _mm_loadu_ps(x + 4 * step), 1);
    a = _mm512_insertf32x4(a, _mm_loadu_ps(x + 8 * step), 2);
    return _mm512_insertf32x4(a, _mm_loadu_ps(x + 12 * step), 3);
}
/* Channels 0 .. 3 of WIDTH pixels that are `step` floats apart; reads four floats of each. */
static inline void v_split4(vec channel[4], const float *x, int64_t step)
{
    vec p0 = load_every_fourth(x, step), p1 = load_every_fourth(x + step, step);
    vec p2 = load_every_fourth(x + 2 * step, step), p3 = load_every_fourth(x + 3 * step, step);
    vec low01 = _mm512_unpacklo_ps(p0, p1), high01 = _mm512_unpackhi_ps(p0, p1);
    vec low23 = _mm512_unpacklo_ps(p2, p3), high23 = _mm512_unpackhi_ps(p2, p3);
    channel[0] = _mm512_shuffle_ps(low01, low23, 0x44);
    channel[1] = _mm512_shuffle_ps(low01, low23, 0xee);
    channel[2] = _mm512_shuffle_ps(high01, high23, 0x44);
    channel[3] = _mm512_shuffle_ps(high01, high23, 0xee);
}
typedef __m512i ivec;
/* p[i] - from for the first count elements, 0 for the others. */
static inline ivec v_index_from(const int32_t *p, int64_t count, int32_t from)
{
    __mmask16 lanes = first_lanes(count);
    return _mm512_maskz_sub_epi32(lanes, _mm512_maskz_loadu_epi32(lanes, p),
                                  _mm512_set1_epi32(from));
}
/* Element i of the result is element at[i] of a (v_pick), of a and b one behind the other
 * (v_pick2), of the array p (v_gather). */
static inline vec v_pick(vec a, ivec at)
{
    return _mm512_permutexvar_ps(at, a);
}
static inline vec v_pick2(vec a, vec b, ivec at)
{
    return _mm512_permutex2var_ps(a, at, b);
}
static inline vec v_gather(const float *p, ivec at)
{
    return _mm512_i32gather_ps(at, p, 4);
}
/* Towards 0. */
static inline vec v_truncate(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
}
/* Elements of whole numbers: row ld + column. */
static inline ivec v_index_of(vec row, int32_t ld, vec column)
{
    __m512i rows = _mm512_mullo_epi32(_mm512_cvttps_epi32(row), _mm512_set1_epi32(ld));
    return _mm512_add_epi32(rows, _mm512_cvttps_epi32(column));
}
static inline vec v_log(vec a)
{
    return Sleef_logf16_u35avx512f(a);
}
static inline void v_sincospi(vec a, vec *s, vec *c)
{
    Sleef___m512_2 r = Sleef_sincospif16_u35avx512f(a);
    *s = r.x;
    *c = r.y;
}

#endif
