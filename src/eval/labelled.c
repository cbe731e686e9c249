/* SPDX-License-Identifier: Apache-2.0 */
/* Rows without a label: by wide convention their label is negative. */
#include "eval/eval.h"

#include <string.h>

int64_t lj_keep_labelled(float *values, int32_t *labels, int64_t rows, int64_t width)
{
    int64_t kept = 0;
    for (int64_t r = 0; r < rows; r++) {
        if (labels[r] < 0)
            continue;
        labels[kept] = labels[r];
        memmove(values + kept * width, values + r * width, (size_t)width * sizeof *values);
        kept++;
    }
    return kept;
}
