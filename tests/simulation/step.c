/* SPDX-License-Identifier: Apache-2.0 */
/* The step: what lj_trainer_step (train/step.c) and lj_pass_backward (train/passes.c) do, with a
 * sleep for each stretch of arithmetic. A bucket's share of backward is its share of the
 * parameters, as in the model of the network. Messages that a step sends more than once are those
 * of batch statistics: half of them in forward, half in backward, where they all come before the
 * first bucket. Buffers hold zeros. */
#include "simulate.h"

#include <math.h>
#include <time.h>

struct stepping {
    struct lj_comm *comm;
    const struct sim_description *description;
    struct lj_gradsync_plan plan;
    struct lj_gradsync *sync;
    struct lj_ledger *ledger;
    struct lj_ledger_entry *entry[LJ_LEDGER_MAX]; /* (messages) */
    struct lj_lane_gather *gather[LJ_LEDGER_MAX]; /* (messages) NULL: a sum */
    void *buffer;                                 /* of the longest message */
    float *weights;
    int64_t first_lane, end_lane;
    int slices;
};

/* ---- what takes how long ----------------------------------------------------------------- */

struct lj_gradsync_plan sim_plan(const struct sim_description *d, int ranks)
{
    return (struct lj_gradsync_plan){.lanes = d->lanes_of_rank * ranks,
                                     .buckets = d->buckets,
                                     .bounds = d->bounds,
                                     .workers = d->workers,
                                     .fast = d->fast,
                                     .rounded = d->rounded,
                                     .exchange = d->exchange};
}

double sim_phase_s(const struct sim_description *d, enum lj_phase phase, int ranks)
{
    double more = (double)ranks / d->ranks;
    if (phase == LJ_PHASE_OPTIMISER)
        return d->phase_s[phase] / more;
    for (int i = 0; i < d->messages && phase == LJ_PHASE_LOSS; i++)
        if (d->message[i].gathers) /* its rows meet those of all lanes */
            return d->phase_s[phase] * more;
    return d->phase_s[phase];
}

static const enum lj_phase computing[] = {LJ_PHASE_WAIT_DATA, LJ_PHASE_VIEWS, LJ_PHASE_FORWARD,
                                          LJ_PHASE_PROJECTOR, LJ_PHASE_LOSS,  LJ_PHASE_BACKWARD,
                                          LJ_PHASE_OPTIMISER, LJ_PHASE_OTHER};

double sim_compute_s(const struct sim_description *d, int ranks)
{
    double sum = 0;
    for (size_t i = 0; i < sizeof computing / sizeof *computing; i++)
        sum += sim_phase_s(d, computing[i], ranks);
    return sum;
}

static void sleep_s(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds};
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    nanosleep(&left, NULL);
}

static void compute(struct stepping *s, enum lj_phase phase, double share)
{
    sleep_s(share * sim_phase_s(s->description, phase, s->comm->size));
}

/* The same where training lets communication progress meanwhile. */
static void compute_and_progress(struct stepping *s, enum lj_phase phase, double share)
{
    for (int i = 0; i < s->slices; i++) {
        compute(s, phase, share / s->slices);
        lj_gradsync_progress(s->sync);
    }
}

/* ---- the step ---------------------------------------------------------------------------- */

static void send_message(struct stepping *s, int i)
{
    const struct sim_message *m = &s->description->message[i];
    if (s->gather[i])
        lj_lane_gather(s->gather[i], s->buffer);
    else
        lj_sum_exact(s->comm, s->entry[i], s->buffer, m->bytes / (int64_t)sizeof(int64_t));
}

/* Those of batch statistics in one direction. */
static void share_statistics(struct stepping *s, bool backward)
{
    for (int i = 0; i < s->description->messages; i++) {
        int calls = (int)lround(s->description->message[i].calls);
        for (int k = 0; k < (backward ? calls / 2 : calls - calls / 2) && calls > 1; k++)
            send_message(s, i);
    }
}

/* Those of the objective. */
static void reduce_objective(struct stepping *s)
{
    for (int i = 0; i < s->description->messages; i++)
        if (lround(s->description->message[i].calls) == 1)
            send_message(s, i);
}

static void backward_bucket(struct stepping *s, int bucket)
{
    const int64_t *bounds = s->plan.bounds, lanes = s->end_lane - s->first_lane;
    double share = (double)(bounds[bucket + 1] - bounds[bucket]) / (double)bounds[s->plan.buckets];
    for (int64_t first = s->first_lane; first < s->end_lane; first += s->plan.workers) {
        int count = (int)lj_min_i64(s->plan.workers, s->end_lane - first);
        lj_gradsync_take_leaves(s->sync, count);
        compute_and_progress(s, LJ_PHASE_BACKWARD, share * count / (double)lanes);
        for (int worker = 0; worker < count; worker++)
            lj_gradsync_add(s->sync, bucket, worker, first + worker);
    }
    lj_gradsync_start(s->sync, bucket);
}

static void make_step(struct stepping *s)
{
    int64_t nonfinite;
    compute(s, LJ_PHASE_WAIT_DATA, 1);
    compute_and_progress(s, LJ_PHASE_VIEWS, 1);
    lj_gradsync_gather_finish(s->sync);
    compute(s, LJ_PHASE_OTHER, 1); /* packing of weights, mostly */
    compute(s, LJ_PHASE_FORWARD, 1);
    compute(s, LJ_PHASE_PROJECTOR, 0.5);
    share_statistics(s, false);
    compute(s, LJ_PHASE_PROJECTOR, 0.5);
    compute(s, LJ_PHASE_LOSS, 0.5);
    reduce_objective(s);
    compute(s, LJ_PHASE_LOSS, 0.5);
    share_statistics(s, true);
    for (int b = s->plan.buckets - 1; b >= 0; b--)
        backward_bucket(s, b);
    lj_gradsync_finish(s->sync, &nonfinite);
    if (s->description->clips)
        lj_gradsync_norm(s->sync);
    compute(s, LJ_PHASE_OPTIMISER, 1);
    lj_gradsync_gather_start(s->sync, s->weights);
    lj_gradsync_progress(s->sync);
}

/* ---- set-up ------------------------------------------------------------------------------ */

/* Lines of the ledger and buffers of the small messages. Local. */
static int prepare_messages(struct stepping *s)
{
    const struct sim_description *d = s->description;
    int64_t longest = 0;
    for (int i = 0; i < d->messages; i++) {
        const struct sim_message *m = &d->message[i];
        s->entry[i] = lj_ledger_entry(s->ledger, m->name, m->collective);
        s->entry[i]->predicted_bytes_per_call = m->bytes;
        longest = lj_max_i64(longest, m->bytes * (m->gathers ? s->plan.lanes : 1));
        if (m->gathers)
            LJ_TRY(lj_lane_gather_create(&s->gather[i], s->comm, s->plan.lanes, m->bytes,
                                         s->entry[i]));
    }
    s->buffer = lj_alloc((size_t)longest, "simulation");
    return s->buffer ? LJ_OK : LJ_ERR_RESOURCE;
}

static int prepare(struct stepping *s)
{
    lj_lanes_of_rank(s->plan.lanes, s->comm->size, s->comm->rank, &s->first_lane, &s->end_lane);
    LJ_TRY(lj_agree(s->comm, prepare_messages(s)));
    LJ_TRY(lj_gradsync_create(&s->sync, s->comm, &s->plan, s->ledger));
    s->weights = lj_alloc_array(lj_gradsync_shard(s->sync)->weights_elements, sizeof *s->weights,
                                "simulation");
    return lj_agree(s->comm, s->weights ? LJ_OK : LJ_ERR_RESOURCE);
}

/* Timed from one step's new weights on their way to another's, as between steps of training. */
static void run(struct stepping *s, int steps, struct sim_result *result)
{
    make_step(s);
    lj_barrier(s->comm);
    lj_ledger_restart(s->ledger);
    double begun_s = lj_now_s();
    for (int i = 0; i < steps; i++)
        make_step(s);
    result->step_s = (lj_now_s() - begun_s) / steps;
    result->ledger = *s->ledger;
    lj_gradsync_gather_finish(s->sync);
    lj_all_max_f64(s->comm, &result->step_s, 1);
}

int sim_steps(struct lj_comm *comm, const struct sim_description *description, int steps,
              int slices, struct sim_result *result)
{
    struct lj_ledger ledger = {0};
    struct stepping s = {.comm = comm,
                         .description = description,
                         .plan = sim_plan(description, comm->size),
                         .ledger = &ledger,
                         .slices = slices};
    *result = (struct sim_result){.compute_s = sim_compute_s(description, comm->size)};
    int status = prepare(&s);
    result->nodes_exchange = status == LJ_OK && lj_gradsync_common_bytes(s.sync) > 0;
    if (status == LJ_OK)
        run(&s, steps, result);
    lj_free(s.weights);
    lj_gradsync_destroy(s.sync);
    lj_free(s.buffer);
    for (int i = 0; i < description->messages; i++)
        lj_lane_gather_destroy(s.gather[i]);
    return status;
}
