/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: set-up and end. gradsync.h says how it works and which file does what. */
#include "comm/gradsync/gradsync.h"

/* Lines of the ledger: which collective moves what, and the bytes of a call. */
static void predict(struct lj_gradsync *s)
{
    const int64_t buckets = s->buckets, sums = lj_subtrees_of(s, s->comm->rank);
    if (!s->all_whole)
        s->ledger_weights->collective = "MPI_Ialltoallv";
    if (s->comm->size == 1)
        return;
    s->ledger_gradient->predicted_bytes_per_call =
        (s->bounds[buckets] * sums + buckets * s->comm->size) * (int64_t)sizeof(float) / buckets;
    s->ledger_weights->predicted_bytes_per_call =
        s->shard.elements * (int64_t)sizeof(float) * lj_gather_copies(s) / buckets;
    s->ledger_norm->predicted_bytes_per_call =
        s->bounds[buckets] / LJ_SHARD_ALIGN * (int64_t)sizeof(double);
}

static int create_locally(struct lj_gradsync *s, const struct lj_gradsync_plan *plan)
{
    LJ_TRY(lj_fault("gradsync-create", -1));
    LJ_TRY(lj_gradsync_lay_out(s, plan));
    predict(s);
    LJ_TRY(lj_gradsync_allocate_leaves(s));
    return lj_gradsync_allocate_moves(s);
}

int lj_gradsync_create(struct lj_gradsync **sync, struct lj_comm *comm,
                       const struct lj_gradsync_plan *plan, struct lj_ledger *ledger)
{
    LJ_CHECK(plan->lanes > 0 && plan->buckets > 0 && plan->bounds[plan->buckets] > 0,
             "a plan of %lld lanes and %d buckets", (long long)plan->lanes, plan->buckets);
    struct lj_gradsync *s = lj_alloc(sizeof *s, "gradient reduction");
    int status = LJ_ERR_RESOURCE;
    *sync = NULL;
    if (s) {
        s->comm = comm;
        s->lanes = plan->lanes;
        s->buckets = plan->buckets;
        s->workers = plan->workers;
        s->joint = plan->joint;
        s->fast = plan->fast;
        s->limit = (float)(0x1p127 / (double)plan->lanes);
        s->ledger_gradient = lj_ledger_entry(ledger, "gradient",
                                             plan->fast ? "MPI_Ireduce_scatter" : "MPI_Ialltoallv");
        s->ledger_weights = lj_ledger_entry(ledger, "weights", "MPI_Iallgatherv");
        s->ledger_norm = lj_ledger_entry(ledger, "norm", "MPI_Allreduce");
        lj_lanes_of_rank(s->lanes, comm->size, comm->rank, &s->first_lane, &s->end_lane);
        status = create_locally(s, plan);
    }
    status = lj_agree(comm, status);
    if (status == LJ_OK)
        *sync = s;
    else
        lj_gradsync_destroy(s);
    return status;
}

void lj_gradsync_destroy(struct lj_gradsync *s)
{
    if (!s)
        return;
    lj_gradsync_free_moves(s);
    lj_gradsync_free_leaves(s);
    lj_gradsync_free_layout(s);
    lj_free(s);
}
