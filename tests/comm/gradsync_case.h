/* SPDX-License-Identifier: Apache-2.0 */
/* A gradient reduction on several ranks, against a tree written by recursion. A lane's leaf depends
 * on (step, lane, element) alone, so the expected totals are known to every rank; their bits must
 * not depend on the number of ranks, workers, threads, on how buckets are filled, or on which ranks
 * share a node and exchange for it. */
#ifndef LEJEPA_TEST_GRADSYNC_CASE_H
#define LEJEPA_TEST_GRADSYNC_CASE_H

#include "mpi_case.h"

enum { BUCKETS_MOST = 4, RANKS_MOST = 8, UNITS_MOST = 64, UNIT = LJ_SHARD_ALIGN };

struct layout {
    int64_t lanes;
    int buckets;
    int64_t units[BUCKETS_MOST + 1]; /* bounds in units of LJ_SHARD_ALIGN */
    int workers, by_wave, threads;
};
enum { LAYOUTS = 12 };
extern const struct layout layouts[LAYOUTS];

/* What LJ_NODES makes of the ranks; ranks exchange where there is no text. */
enum { NODE_MAPS = 6 };
extern const char *const node_maps[NODE_MAPS];

/* One element of one lane's leaf. */
typedef float (*leaf_value)(int64_t step, int64_t lane, int64_t element);
/* Magnitudes from 2^-20 to 2^20, either sign. */
float wild(int64_t step, int64_t lane, int64_t element);
struct run {
    const struct layout *layout;
    struct lj_comm *comm;
    struct lj_gradsync *sync;
    struct lj_ledger ledger;
    int64_t bounds[BUCKETS_MOST + 1], first_lane, end_lane;
    bool rounded[UNITS_MOST]; /* to bf16 */
    leaf_value value;         /* wild; a test may set another */
    int64_t step;
    int node[RANKS_MOST]; /* of each rank, by a number of any kind */
    bool hesitates;       /* this rank stands still now and then, each in its own way */
};

/* Manners of a run: MPI's own reductions; all weights on ranks without lanes, too; most units in
 * bf16. */
enum { FAST = 1, EVERYWHERE = 2, BF16 = 4 };

/* Creates the reduction. Collective.
 *   nodes  in  ranks are taken for those of these nodes, which exchange; NULL: ranks do */
void run_begin(struct run *r, struct lj_comm *comm, const struct layout *layout, int manner,
               const char *nodes);
/* Returns the number of nonfinite elements. Collective. */
int64_t run_step(struct run *r, int64_t step);
/* Up to a third of a millisecond, at one of four occasions. */
void hesitate(const struct run *r, int64_t occasion);
/* The sum of all lanes along the tree in this step. */
float total(const struct run *r, int64_t element);
/* My shard, element by element: the parameter's index that lies at shard[at], -1 at the end. */
int64_t shard_element(const struct lj_shard *shard, int64_t at);
/* The totals have the bits of the tree. Collective. */
void assert_totals(const struct run *r);

#endif
