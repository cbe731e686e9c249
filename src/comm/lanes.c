/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns which lanes (DESIGN: exactness). */
#include "comm/comm.h"

void lj_lanes_of_rank(int64_t lanes, int size, int rank, int64_t *first, int64_t *end)
{
    *first = rank * lanes / size;
    *end = (rank + 1) * lanes / size;
}
