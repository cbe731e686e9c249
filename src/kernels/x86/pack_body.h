/* SPDX-License-Identifier: Apache-2.0 */
/* Private to kernels. The kernel that packs B of bf16 matmuls, for level avx512bf16 only. The
 * packed form consists of blocks of 32 rows and 64 columns, one behind another, down a panel of 64
 * columns first; a vector of it holds 16 columns of a pair of rows. Where B ends inside a block,
 * the rest of the block is zero. */

#include "kernels/kernels.h"

#include <string.h>

enum { BLOCK = LJ_PANEL_ROWS * LJ_PANEL_COLUMNS };

/* Rounds both vectors to bf16: a into the lower half of the result, b into the upper half. */
static inline __m512i round_two(vec a, vec b)
{
    return (__m512i)_mm512_cvtne2ps_pbh(b, a);
}

/* Packs a whole block of B (k, n); stride: floats from row to row. */
static inline void pack_rows(lj_bf16 *packed, const float *b, int64_t stride)
{
    const __m512i halves_in_turn =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    for (int64_t i = 0; i < LJ_PANEL_ROWS; i += 2)
        for (int64_t j = 0; j < LJ_PANEL_COLUMNS; j += WIDTH) {
            const float *pair = b + i * stride + j;
            __m512i bf16 = round_two(v_load(pair), v_load(pair + stride));
            _mm512_store_si512(packed + i * LJ_PANEL_COLUMNS + 2 * j,
                               _mm512_permutexvar_epi16(halves_in_turn, bf16));
        }
}

/* Transposes a matrix of 16 x 16 numbers of 32 bits. */
static inline void transpose(__m512i a[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int half = 0; half < 2; half++) {
            a[i + 2 * half] = _mm512_unpacklo_epi64(t[i + half], t[i + half + 2]);
            a[i + 2 * half + 1] = _mm512_unpackhi_epi64(t[i + half], t[i + half + 2]);
        }
    for (int half = 0; half < 16; half += 8)
        for (int i = half; i < half + 4; i++) {
            t[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
            t[i + 4] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        a[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        a[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* Packs a whole block of a transposed B (n, k); stride: floats from column to column. */
static inline void pack_columns(lj_bf16 *packed, const float *b, int64_t stride)
{
    for (int64_t j = 0; j < LJ_PANEL_COLUMNS; j += WIDTH) {
        __m512i pair[16];
        for (int c = 0; c < 16; c++) {
            const float *column = b + (j + c) * stride;
            pair[c] = round_two(v_load(column), v_load(column + WIDTH));
        }
        transpose(pair);
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(packed + 2 * (i * LJ_PANEL_COLUMNS + j), pair[i]);
    }
}

/* Copies `lines` stored lines of `count` floats into a block that is zero elsewhere and whose lines
 * have `wide` floats. */
static void fill_block(float *block, int64_t wide, const float *b, int64_t stride, int64_t lines,
                       int64_t count)
{
    memset(block, 0, BLOCK * sizeof *block);
    for (int64_t l = 0; l < lines; l++)
        memcpy(block + l * wide, b + l * stride, (size_t)count * sizeof *block);
}

static void k_pack(lj_bf16 *packed, const float *b, int64_t k, int64_t n, bool transposed)
{
    float block[BLOCK];
    for (int64_t j = 0; j < n; j += LJ_PANEL_COLUMNS)
        for (int64_t i = 0; i < k; i += LJ_PANEL_ROWS, packed += BLOCK) {
            int64_t rows = lj_min_i64(LJ_PANEL_ROWS, k - i);
            int64_t columns = lj_min_i64(LJ_PANEL_COLUMNS, n - j);
            int64_t stride = transposed ? k : n;
            const float *from = b + (transposed ? j * stride + i : i * stride + j);
            if (rows < LJ_PANEL_ROWS || columns < LJ_PANEL_COLUMNS) {
                int64_t wide = transposed ? LJ_PANEL_ROWS : LJ_PANEL_COLUMNS;
                fill_block(block, wide, from, stride, transposed ? columns : rows,
                           transposed ? rows : columns);
                from = block;
                stride = wide;
            }
            if (transposed)
                pack_columns(packed, from, stride);
            else
                pack_rows(packed, from, stride);
        }
}
