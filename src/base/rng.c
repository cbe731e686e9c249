/* SPDX-License-Identifier: Apache-2.0 */
/* Counter-based random numbers: philox4x64-10 (Salmon et al., SC 2011) from Random123. A
 * stream has no state but its name and position: key (seed, purpose), counter (a, b, c,
 * philox calls so far). */
#include "base/base.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

static void philox(uint64_t out[4], const uint64_t key[2], const uint64_t counter[4])
{
    philox4x64_ctr_t c = {{counter[0], counter[1], counter[2], counter[3]}};
    philox4x64_key_t k = {{key[0], key[1]}};
    philox4x64_ctr_t r = philox4x64(c, k);
    for (int i = 0; i < 4; i++)
        out[i] = r.v[i];
}

void lj_rng_begin(struct lj_rng *rng, int64_t seed, enum lj_purpose purpose, uint64_t a, uint64_t b,
                  uint64_t c)
{
    *rng = (struct lj_rng){
        .key = {(uint64_t)seed, (uint64_t)purpose}, .counter = {a, b, c, 0}, .used = 4};
}

uint64_t lj_rng_bits(struct lj_rng *rng)
{
    if (rng->used == 4) {
        philox(rng->block, rng->key, rng->counter);
        rng->counter[3]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

double lj_rng_uniform(struct lj_rng *rng)
{
    return (double)(lj_rng_bits(rng) >> 11) * 0x1p-53;
}

double lj_rng_between(struct lj_rng *rng, double low, double high)
{
    return low + (high - low) * lj_rng_uniform(rng);
}

/* Lemire's multiplication with rejection (2019): every value is equally likely. */
int64_t lj_rng_below(struct lj_rng *rng, int64_t n)
{
    LJ_CHECK(n >= 1, "lj_rng_below(%lld)", (long long)n);
    uint64_t range = (uint64_t)n, threshold = (0 - range) % range;
    for (;;) {
        unsigned __int128 product = (unsigned __int128)lj_rng_bits(rng) * range;
        if ((uint64_t)product >= threshold)
            return (int64_t)(uint64_t)(product >> 64);
    }
}

bool lj_rng_chance(struct lj_rng *rng, double probability)
{
    return lj_rng_uniform(rng) < probability;
}

/* The function of one Feistel round: hashes the right half with the key, by one philox call. */
static uint64_t feistel_round(const uint64_t key[2], uint64_t a, uint64_t b, uint64_t round,
                              uint64_t right)
{
    uint64_t counter[4] = {a, b, round, right}, out[4];
    philox(out, key, counter);
    return out[0];
}

/* A balanced Feistel network permutes 0 .. 4^half-1, the smallest such range that holds 0 .. n-1. A
 * result at or above n is sent through the network again, until one is below n (cycle walking; at
 * most 4 turns are expected, since the range is at most 4 times as large as n). */
int64_t lj_permute(int64_t seed, enum lj_purpose purpose, uint64_t a, uint64_t b, int64_t n,
                   int64_t i)
{
    LJ_CHECK(i >= 0 && i < n, "lj_permute: %lld of %lld", (long long)i, (long long)n);
    int half = 1;
    while (half < 31 && ((int64_t)1 << (2 * half)) < n)
        half++;
    uint64_t mask = ((uint64_t)1 << half) - 1, value = (uint64_t)i;
    uint64_t key[2] = {(uint64_t)seed, (uint64_t)purpose};
    do {
        uint64_t left = value >> half, right = value & mask;
        for (uint64_t round = 0; round < 4; round++) {
            uint64_t mixed = left ^ (feistel_round(key, a, b, round, right) & mask);
            left = right;
            right = mixed;
        }
        value = left << half | right;
    } while (value >= (uint64_t)n);
    return (int64_t)value;
}
