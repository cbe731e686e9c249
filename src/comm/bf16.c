/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of 16 bits: plain loops of a fixed length over integers, which compilers vectorise. */
#include "comm/bf16.h"

#include "comm/comm.h"

#include <string.h>

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float rounded(float x)
{
    uint32_t bits = bits_of(x), nearest = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    int32_t magnitude = (int32_t)(bits & 0x7fffffff);
    return float_of(magnitude > 0x7f800000 ? 0x7fc00000 : nearest); /* a NaN would carry over */
}

void lj_bf16_round(float *x)
{
    for (int i = 0; i < LJ_SHARD_ALIGN; i++)
        x[i] = rounded(x[i]);
}

void lj_bf16_add(float *y, const float *x)
{
    for (int i = 0; i < LJ_SHARD_ALIGN; i++)
        y[i] = rounded(y[i] + x[i]);
}

void lj_bf16_from_f32(uint16_t *half, const float *x)
{
    for (int i = 0; i < LJ_SHARD_ALIGN; i++)
        half[i] = (uint16_t)(bits_of(x[i]) >> 16);
}

void lj_bf16_to_f32(float *x, const uint16_t *half)
{
    for (int i = 0; i < LJ_SHARD_ALIGN; i++)
        x[i] = float_of((uint32_t)half[i] << 16);
}
