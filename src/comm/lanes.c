/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns which lanes: rank r of P has lanes floor(r G / P) to floor((r + 1) G / P) - 1 of G,
 * which follow each other. With more ranks than lanes some have none, rank 0 among them. */
#include "comm/comm.h"

void lj_lanes_of_rank(int64_t lanes, int size, int rank, int64_t *first, int64_t *end)
{
    *first = rank * lanes / size;
    *end = (rank + 1) * lanes / size;
}
