/* SPDX-License-Identifier: Apache-2.0 */
/* The specification of `rotate`. */
#include "kernels/kernel_tables.h"

#include <math.h>

/* A position along an axis of n pixels, reflected into it: the pixel before it and the weight of
 * the next one. */
static int64_t reflect(float position, int64_t n, float *weight)
{
    float edge = (float)n - fabsf((float)n - fabsf(position + 0.5f));
    float inside = fminf(fmaxf(edge - 0.5f, 0.0f), (float)(n - 1));
    int64_t before = (int64_t)fminf(inside, (float)lj_max_i64(n - 2, 0));
    *weight = inside - (float)before;
    return before;
}

void lj_scalar_rotate(float *y, const float *x, const struct lj_rotation *rotation, int64_t rows,
                      int64_t count)
{
    const struct lj_rotation *m = rotation;
    int64_t down = m->height > 1 ? m->width : 0, right = m->width > 1 ? 1 : 0;
    for (int64_t r = 0; r < rows; r++, y += count) {
        float row = fmaf(m->row[2], (float)r, m->row[0]);
        float column = fmaf(m->column[2], (float)r, m->column[0]);
        for (int64_t i = 0; i < count; i++) {
            float lower, later;
            int64_t at = reflect(fmaf(m->row[1], (float)i, row), m->height, &lower) * m->width;
            at += reflect(fmaf(m->column[1], (float)i, column), m->width, &later);
            float top = fmaf(later, x[at + right] - x[at], x[at]);
            float next = x[at + down], bottom = fmaf(later, x[at + down + right] - next, next);
            y[i] = fmaf(lower, bottom - top, top);
        }
    }
}
