/* SPDX-License-Identifier: Apache-2.0 */
/* Arrays of reproducible random numbers: element i of stream s is a function of s and i alone. */
#ifndef LEJEPA_TEST_RANDOM_H
#define LEJEPA_TEST_RANDOM_H

#include "base/base.h"

#include <stdint.h>

/* One number from N(0, 1): Box-Muller in double. */
double lj_random_normal(struct lj_rng *rng);

/* x (n) from N(0, 1). */
void lj_random_normal_f32(float *x, int64_t n, uint64_t stream);
void lj_random_normal_f64(double *x, int64_t n, uint64_t stream);
/* x (n) from [low, high). */
void lj_random_between_f32(float *x, int64_t n, float low, float high, uint64_t stream);
void lj_random_between_f64(double *x, int64_t n, double low, double high, uint64_t stream);

#endif
