/* SPDX-License-Identifier: Apache-2.0 */
/* Private to comm: numbers of 16 bits, the upper half of a float32, of units of LJ_SHARD_ALIGN
 * elements. Rounding is to nearest, ties to even; what is not finite stays so. */
#ifndef LEJEPA_COMM_BF16_H
#define LEJEPA_COMM_BF16_H

#include <stdint.h>

/* Rounds a unit in place: its numbers stay float32, with a lower half of zeros. */
void lj_bf16_round(float *x);
/* y += x, a unit, rounded. */
void lj_bf16_add(float *y, const float *x);
/* The upper halves of a unit that is rounded, and the unit that they are of. */
void lj_bf16_from_f32(uint16_t *half, const float *x);
void lj_bf16_to_f32(float *x, const uint16_t *half);

#endif
