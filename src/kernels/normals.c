/* SPDX-License-Identifier: Apache-2.0 */
/* Standard normal numbers: uniform ones from the stream, then the vector kernel for all of them. */
#include "kernels/kernels.h"

/* Numbers for Box-Muller: u in (0, 1] and v in [0, 1], from the two halves of a draw. */
static void draw_uniforms(float *u, float *v, int64_t count, struct lj_rng *rng)
{
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = lj_rng_bits(rng);
        u[i] = (float)(((double)(bits >> 32) + 1) * 0x1p-32);
        v[i] = (float)((double)(bits & 0xffffffff) * 0x1p-32);
    }
}

/* Box-Muller makes pairs: one number of each goes to the first half of x, the other to the second.
 * When count is odd, the last element is the first number of one more pair. */
void lj_draw_normals(float *x, int64_t count, struct lj_rng *rng)
{
    int64_t half = count / 2;
    draw_uniforms(x, x + half, half, rng);
    lj_kernels()->normals(x, x + half, half);
    if (count % 2 == 1) {
        float spare;
        draw_uniforms(x + count - 1, &spare, 1, rng);
        lj_kernels()->normals(x + count - 1, &spare, 1);
    }
}
