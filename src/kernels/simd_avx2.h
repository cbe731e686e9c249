/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of 8 floats for kernels_body.h. */
#ifndef LEJEPA_SIMD_AVX2_H
#define LEJEPA_SIMD_AVX2_H

#include <immintrin.h>
#include <sleef.h>
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
/* Lanes from count on read as 0, and are not written. */
static inline vec v_load_part(const float *p, int64_t count)
{
    return _mm256_maskload_ps(p, first_lanes(count));
}
static inline void v_store_part(float *p, vec a, int64_t count)
{
    _mm256_maskstore_ps(p, first_lanes(count), a);
}
/* a in the first count lanes, b elsewhere. */
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
static inline vec v_fma(vec a, vec b, vec c) /* a b + c */
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline vec v_nfma(vec a, vec b, vec c) /* c - a b */
{
    return _mm256_fnmadd_ps(a, b, c);
}
static inline vec v_exp(vec a)
{
    return Sleef_expf8_u10avx2(a);
}
static inline vec v_erf(vec a)
{
    return Sleef_erff8_u10avx2(a);
}
static inline void v_sincos(vec a, vec *s, vec *c)
{
    Sleef___m256_2 r = Sleef_sincosf8_u10avx2(a);
    *s = r.x;
    *c = r.y;
}

#endif
