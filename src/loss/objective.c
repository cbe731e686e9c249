/* SPDX-License-Identifier: Apache-2.0 */
/* The table of objectives, and what is the same for all of them: memory for the sums of each
 * worker, samples counted, lanes checked. */
#include "loss/objective.h"

#include <stdio.h>
#include <string.h>

static const struct lj_objective_kind *const table[] = {
    &lj_objective_lejepa, &lj_objective_byol,       &lj_objective_dino,
    &lj_objective_simclr, &lj_objective_supervised, &lj_objective_vicreg,
};
enum { ROWS = sizeof table / sizeof *table };

int lj_objective_find(const char *name, const struct lj_objective_kind **kind)
{
    char names[256] = "";
    size_t at = 0;
    for (int i = 0; i < ROWS; i++) {
        if (strcmp(table[i]->name, name) == 0) {
            *kind = table[i];
            return LJ_OK;
        }
        if (at < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "",
                                   table[i]->name);
    }
    return lj_fail(LJ_ERR_CONFIG, "objective: '%.80s' is not known; expected one of %s", name,
                   names);
}

const struct lj_objective_kind *lj_objective_at(int i)
{
    return i < ROWS ? table[i] : NULL;
}

struct lj_objective_traffic lj_objective_message(const struct lj_objective_kind *kind, int64_t sums,
                                                 const char *formula)
{
    return (struct lj_objective_traffic){.name = kind->message,
                                         .collective = "MPI_Allreduce",
                                         .bytes =
                                             (sums + LJ_MESSAGE_SCALARS) * (int64_t)sizeof(int64_t),
                                         .formula = formula};
}

bool lj_objective_asks(const char *name, unsigned needs)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(table[i]->name, name) == 0)
            return (table[i]->needs & needs) != 0;
    return false;
}

int lj_objective_terms(const struct lj_objective_kind *kind)
{
    int count = 0;
    while (count < LJ_TERMS_MAX && kind->term[count].name)
        count++;
    return count;
}

/* Names the first thing that the row asks for and the caller does not give. */
static int check_needs(const struct lj_objective_kind *kind, unsigned gives)
{
    static const struct {
        enum lj_objective_need need;
        const char *text;
    } needs[] = {
        {LJ_NEED_LABELS, "the labels of its samples"},
        {LJ_NEED_PREDICTOR, "a predictor behind the projector"},
        {LJ_NEED_AVERAGE, "projections by a moving average of the network"},
        {LJ_NEED_STATE, "a state of its own in checkpoints"},
        {LJ_NEED_PROTOTYPES, "prototypes behind the projector, of the target, too"},
    };
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        if (kind->needs & ~gives & needs[i].need)
            return lj_fail(LJ_ERR_CONFIG,
                           "objective=%s needs %s, which is not given to it here; choose another "
                           "objective",
                           kind->name, needs[i].text);
    return LJ_OK;
}

int lj_objective_check(const struct lj_objective_kind *kind, const struct lj_config *config,
                       const struct lj_objective_shape *shape)
{
    if (kind->compares_views && shape->views < 2)
        return lj_fail(LJ_ERR_CONFIG,
                       "objective=%s compares views of a sample, and there is one; set "
                       "views.global or views.local to have at least 2",
                       kind->name);
    return kind->check ? kind->check(config, shape) : LJ_OK;
}

/* A worker's sums are touched first by the thread that will add to them, so that they lie in that
 * thread's memory. */
static int allocate_sums(struct lj_objective *o)
{
    o->sums = lj_alloc_array(o->workers, sizeof *o->sums, "loss");
    if (!o->sums)
        return LJ_ERR_RESOURCE;
#pragma omp parallel for schedule(static, 1) num_threads(o->workers) if (o->workers > 1)
    for (int s = 0; s < o->workers; s++)
        o->sums[s] = lj_alloc_array(o->count + LJ_MESSAGE_SCALARS, sizeof(int64_t), "loss");
    for (int s = 0; s < o->workers; s++)
        if (!o->sums[s])
            return lj_fail(LJ_ERR_RESOURCE,
                           "out of memory: %d times %lld MiB of sums of objective=%s; use %s",
                           o->workers, (long long)(o->count * (int64_t)sizeof(int64_t) >> 20),
                           o->kind->name, o->kind->fewer_sums);
    return LJ_OK;
}

int lj_objective_assemble(struct lj_objective **objective, struct lj_comm *comm,
                          const struct lj_objective_kind *kind, void *state, int64_t count,
                          int workers, int64_t lane_rows, struct lj_ledger *ledger)
{
    struct lj_objective *o = lj_alloc(sizeof *o, "loss");
    if (!o) {
        kind->destroy(state);
        return LJ_ERR_RESOURCE;
    }
    *o = (struct lj_objective){.kind = kind,
                               .state = state,
                               .comm = comm,
                               .workers = workers,
                               .lane_rows = lane_rows,
                               .count = count};
    if (ledger) {
        o->ledger = lj_ledger_entry(ledger, kind->message, "MPI_Allreduce");
        o->ledger->predicted_bytes_per_call =
            (count + LJ_MESSAGE_SCALARS) * (int64_t)sizeof(int64_t);
    }
    int status = allocate_sums(o);
    if (status == LJ_OK && kind->connect)
        status = kind->connect(state, comm, ledger);
    if (status == LJ_OK)
        *objective = o;
    else
        lj_objective_destroy(o);
    return status;
}

int lj_objective_create(struct lj_objective **objective, struct lj_comm *comm,
                        const struct lj_objective_kind *kind, const struct lj_config *config,
                        const struct lj_objective_shape *shape, struct lj_ledger *ledger)
{
    void *state = NULL;
    int64_t count = 0;
    LJ_TRY(check_needs(kind, shape->gives));
    LJ_TRY(lj_objective_check(kind, config, shape));
    LJ_TRY(kind->create(&state, &count, config, shape));
    return lj_objective_assemble(objective, comm, kind, state, count, shape->workers,
                                 shape->lane_rows, ledger);
}

void lj_objective_destroy(struct lj_objective *o)
{
    if (!o)
        return;
    for (int s = 0; o->sums && s < o->workers; s++)
        lj_free(o->sums[s]);
    lj_free(o->sums);
    o->kind->destroy(o->state);
    lj_free(o);
}

void lj_objective_clear(struct lj_objective *o)
{
#pragma omp parallel for schedule(static, 1) num_threads(o->workers) if (o->workers > 1)
    for (int s = 0; s < o->workers; s++)
        memset(o->sums[s], 0, (size_t)(o->count + LJ_MESSAGE_SCALARS) * sizeof(int64_t));
}

void lj_objective_begin(struct lj_objective *o, int64_t step)
{
    lj_objective_clear(o);
    if (o->kind->begin)
        o->kind->begin(o->state, step);
}

static void check_lane(const struct lj_objective *o, const struct lj_loss_lane *lane)
{
    LJ_CHECK(lane->worker >= 0 && lane->worker < o->workers && lane->index >= 0 &&
                 lane->n <= o->lane_rows,
             "lane %lld of %lld rows in worker %d", (long long)lane->index, (long long)lane->n,
             lane->worker);
}

void lj_objective_add(struct lj_objective *o, const struct lj_loss_lane *lane)
{
    check_lane(o, lane);
    int64_t *sums = o->sums[lane->worker], *scalar = sums + o->count;
    scalar[LJ_MESSAGE_SAMPLES] += lane->n;
    o->kind->add(o->state, lane, sums, &scalar[LJ_MESSAGE_NONFINITE]);
}

void lj_objective_gradient(struct lj_objective *o, const struct lj_loss_lane *lane, float *dproj)
{
    check_lane(o, lane);
    o->kind->gradient(o->state, lane, dproj);
}

void lj_objective_advance(struct lj_objective *o)
{
    if (o->kind->advance)
        o->kind->advance(o->state);
}

int lj_objective_arrays(const struct lj_objective *o, struct lj_state_array *array)
{
    return o->kind->arrays ? o->kind->arrays(o->state, array) : 0;
}
