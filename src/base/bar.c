/* SPDX-License-Identifier: Apache-2.0 */
/* What lines of progress are made of. */
#include "base/base.h"

#include <math.h>
#include <stdio.h>

void lj_duration_text(char text[32], double seconds)
{
    long s = lround(seconds);
    if (s >= 3600)
        snprintf(text, 32, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else
        snprintf(text, 32, "%ldm%02lds", s / 60, s % 60);
}

void lj_bar_text(char bar[32], double share)
{
    int filled = (int)(share * 24);
    for (int i = 0; i < 24; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[24] = 0;
}
