/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of 16 floats for kernels_body.h. */
#ifndef LEJEPA_SIMD_AVX512_H
#define LEJEPA_SIMD_AVX512_H

#include <immintrin.h>
#include <sleef.h>
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
/* Lanes from count on read as 0, and are not written. */
static inline vec v_load_part(const float *p, int64_t count)
{
    return _mm512_maskz_loadu_ps(first_lanes(count), p);
}
static inline void v_store_part(float *p, vec a, int64_t count)
{
    _mm512_mask_storeu_ps(p, first_lanes(count), a);
}
/* a in the first count lanes, b elsewhere. */
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
static inline vec v_fma(vec a, vec b, vec c) /* a b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline vec v_nfma(vec a, vec b, vec c) /* c - a b */
{
    return _mm512_fnmadd_ps(a, b, c);
}
static inline vec v_exp(vec a)
{
    return Sleef_expf16_u10avx512f(a);
}
static inline vec v_erf(vec a)
{
    return Sleef_erff16_u10avx512f(a);
}
static inline void v_sincos(vec a, vec *s, vec *c)
{
    Sleef___m512_2 r = Sleef_sincosf16_u10avx512f(a);
    *s = r.x;
    *c = r.y;
}

#endif
