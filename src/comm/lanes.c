/* SPDX-License-Identifier: Apache-2.0 */
/* Who owns which lanes: rank r of P has lanes floor(r G / P) to floor((r + 1) G / P) - 1 of G,
 * which follow each other. With more ranks than lanes some have none, rank 0 among them. */
#include "comm/tree.h"

void lj_lanes_of_rank(int64_t lanes, int size, int rank, int64_t *first, int64_t *end)
{
    *first = rank * lanes / size;
    *end = (rank + 1) * lanes / size;
}

int lj_lanes_most_sums(int64_t lanes, int size)
{
    int most = 0;
    for (int r = 0; r < size; r++) {
        struct lj_forest forest;
        int64_t first, end;
        lj_lanes_of_rank(lanes, size, r, &first, &end);
        lj_forest_plan(&forest, lanes, first, end);
        most = forest.count > most ? forest.count : most;
    }
    return most;
}

int lj_lanes_sums_between_waves(int64_t lanes, int64_t first, int64_t end, int workers)
{
    int most = 0;
    struct lj_forest forest = {.lanes = lanes};
    for (int64_t lane = first; lane < end; lane++) {
        if (lane > first && (lane - first) % workers == 0)
            most = forest.count > most ? forest.count : most;
        lj_forest_append(&forest, (struct lj_subtree){lane, 0}, NULL, NULL);
    }
    return most;
}

/* Keeps of two candidates the one nearer to what there is, the smaller one of equally near ones. */
static void keep_nearest(int64_t *nearest, int64_t candidate, int64_t wanted)
{
    int64_t now = *nearest > wanted ? *nearest - wanted : wanted - *nearest;
    int64_t then = candidate > wanted ? candidate - wanted : wanted - candidate;
    if (*nearest == 0 || then < now || (then == now && candidate < *nearest))
        *nearest = candidate;
}

int64_t lj_lanes_nearest_ranks(int64_t lanes, int size)
{
    int64_t nearest = 0;
    for (int64_t each = 1; lanes % each == 0; each *= 2)
        keep_nearest(&nearest, lanes / each, size);
    return nearest;
}

int64_t lj_lanes_nearest(int64_t lanes, int size)
{
    int64_t nearest = 0;
    for (int64_t each = 1; nearest == 0 || each / 2 * size < lanes; each *= 2)
        keep_nearest(&nearest, each * size, lanes);
    return nearest;
}
