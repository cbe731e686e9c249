/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient reduction: set-up, progress and end. gradsync.h says how it works and which file
 * does what. */
#include "comm/gradsync/gradsync.h"

/* Messages of a bucket in which this rank sends its node's sums, and the bytes of one sum in all of
 * them. */
static int64_t count_parts(const struct lj_gradsync *s, int bucket, int64_t *bytes)
{
    struct lj_deal deal = lj_deal_of(s, bucket);
    int64_t parts = 0;
    for (int turn = 0; turn < deal.parts; turn++) {
        struct lj_part part = lj_deal_part(&deal, turn);
        if (!lj_node_speaks_to(&s->map, s->comm->rank, part.rank))
            continue;
        parts++;
        *bytes += lj_wire_bytes(&s->wire, part.first, part.count);
    }
    return parts;
}

/* What this rank will send in a step, for the lines of the ledger. */
static void predict(struct lj_gradsync *s)
{
    struct lj_ledger_entry *gradient = s->ledger_gradient, *weights = s->ledger_weights;
    const int64_t width = (int64_t)sizeof(float), all = s->bounds[s->buckets];
    const int64_t sums = s->fast ? 0 : lj_node_outputs(s, s->map.mine);
    int64_t bytes = 0;
    if (s->comm->size == 1)
        return;
    for (int b = 0; b < s->buckets; b++) {
        bool mine = lj_my_count(s, b) > 0;
        gradient->predicted_messages_per_step += sums > 0 ? count_parts(s, b, &bytes) : 0;
        weights->predicted_messages_per_step += mine ? s->others_whole : 0;
    }
    gradient->predicted_bytes_per_step = bytes * sums;
    gradient->predicted_bytes_per_call =
        (s->fast ? all * width : gradient->predicted_bytes_per_step) / s->buckets;
    weights->predicted_bytes_per_step = s->shard.elements * s->others_whole * width;
    weights->predicted_bytes_per_call = weights->predicted_bytes_per_step;
    s->ledger_nonfinite->predicted_bytes_per_call = (int64_t)sizeof s->nonfinite;
    s->ledger_norm->predicted_bytes_per_call = all / LJ_SHARD_ALIGN * (int64_t)sizeof(double);
}

static int create_locally(struct lj_gradsync *s, const struct lj_gradsync_plan *plan)
{
    LJ_TRY(lj_fault("gradsync-create", -1));
    LJ_TRY(lj_gradsync_lay_out(s, plan));
    predict(s);
    LJ_TRY(lj_gradsync_allocate_leaves(s));
    LJ_TRY(lj_gradsync_allocate_gathering(s));
    LJ_TRY(lj_gradsync_allocate_collecting(s));
    return lj_gradsync_allocate_moves(s);
}

static void describe(struct lj_gradsync *s, struct lj_comm *comm,
                     const struct lj_gradsync_plan *plan, struct lj_ledger *ledger)
{
    s->comm = comm;
    s->lanes = plan->lanes;
    s->buckets = plan->buckets;
    s->workers = plan->workers;
    s->by_wave = plan->by_wave;
    s->fast = plan->fast;
    /* Half of what float32 holds: rounding to bf16 adds up to 2^-8 of a sum at a level. */
    s->limit = (float)(0x1p127 / (double)plan->lanes);
    s->ledger_gradient =
        lj_ledger_entry(ledger, "gradient", plan->fast ? "MPI_Ireduce_scatter" : "MPI_Isend");
    s->ledger_nonfinite = lj_ledger_entry(ledger, "nonfinite", "MPI_Iallreduce");
    s->ledger_weights = lj_ledger_entry(ledger, "weights", "MPI_Isend");
    s->ledger_norm = lj_ledger_entry(ledger, "norm", "MPI_Allreduce");
    lj_lanes_of_rank(s->lanes, comm->size, comm->rank, &s->first_lane, &s->end_lane);
}

int lj_gradsync_create(struct lj_gradsync **sync, struct lj_comm *comm,
                       const struct lj_gradsync_plan *plan, struct lj_ledger *ledger)
{
    LJ_CHECK(!plan->fast || !plan->rounded, "MPI's own reduction does not round");
    LJ_CHECK(plan->lanes > 0 && plan->buckets > 0 && plan->bounds[plan->buckets] > 0,
             "a plan of %lld lanes and %d buckets", (long long)plan->lanes, plan->buckets);
    struct lj_gradsync *s = lj_alloc(sizeof *s, "gradient reduction");
    *sync = NULL;
    int status = lj_agree(comm, s ? LJ_OK : LJ_ERR_RESOURCE);
    if (status != LJ_OK) {
        lj_free(s);
        return status;
    }
    describe(s, comm, plan, ledger);
    status = lj_gradsync_join_nodes(s, plan);
    if (status == LJ_OK)
        status = lj_agree(comm, create_locally(s, plan));
    if (status == LJ_OK)
        *sync = s;
    else
        lj_gradsync_destroy(s);
    return status;
}

void lj_gradsync_progress(struct lj_gradsync *s)
{
    lj_moves_progress(s);
    lj_gathering_progress(s);
}

void lj_gradsync_gather(struct lj_gradsync *s, float *weights)
{
    lj_gradsync_gather_start(s, weights);
    lj_gradsync_gather_finish(s);
}

void lj_gradsync_destroy(struct lj_gradsync *s)
{
    if (!s)
        return;
    lj_gradsync_free_moves(s);
    lj_gradsync_free_gathering(s);
    lj_gradsync_free_collecting(s);
    lj_gradsync_free_leaves(s);
    lj_gradsync_free_layout(s);
    lj_gradsync_leave_nodes(s);
    lj_free(s);
}
