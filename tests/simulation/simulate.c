/* SPDX-License-Identifier: Apache-2.0 */
/* The communication of training on simulated links, or on real ones without the arithmetic:
 *
 *     smpirun -platform P.xml -hostfile HOSTS -np RANKS simulate scale.json [NAME=VALUE ...]
 *     mpirun -n RANKS simulate scale.json [NAME=VALUE ...]
 *
 *     steps=2     steps that are counted, behind one that is not
 *     slices=2    pieces of each bucket's backward, between which communication may progress
 *     faster=X    cores are X times as fast as those of the scale.json
 *     bf16=X      forward, projector and backward are X times as fast, besides, as with bf16
 *     exchange=W  auto, ranks or nodes, instead of comm.exchange of the scale.json
 *     budget=S    seconds (of the simulation) in which links are measured, for the prediction;
 *                 0: it is not made
 *     model=N     ranks on which they are; 0: those of two nodes
 *
 * Where links between nodes were measured, the prediction is also made for 4 and 16 times as many
 * ranks, which are not simulated.
 *
 * Prints one line of JSON. jobs/scaling/simulate.sh starts it. */
#include "simulate.h"

#include <jansson.h>
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *scale;
    int steps, slices, model_ranks;
    double budget_s;
    struct sim_assumed assumed;
};

enum { AHEAD = 3 };

struct simulation {
    struct lj_comm *comm;
    struct options options;
    struct sim_description description;
    struct sim_result result;
    int64_t nodes, per_node;
    bool predicted;
    struct lj_network_model model;
    struct lj_step_cost cost[AHEAD]; /* on these ranks, on 4 and 16 times as many */
};

/* ---- arguments --------------------------------------------------------------------------- */

static int read_option(struct options *o, const char *text)
{
    char *end = NULL;
    const char *value = strchr(text, '=');
    double number = value ? strtod(value + 1, &end) : 0;
    if (strncmp(text, "exchange=", 9) == 0) {
        o->assumed.exchange = value + 1;
        return LJ_OK;
    }
    if (!value || end == value + 1 || *end || !(number >= 0 && number <= 1e6))
        return lj_fail(LJ_ERR_CONFIG, "%s: expected NAME=NUMBER", text);
    if (strncmp(text, "steps=", 6) == 0 && number >= 1)
        o->steps = (int)number;
    else if (strncmp(text, "slices=", 7) == 0 && number >= 1)
        o->slices = (int)number;
    else if (strncmp(text, "faster=", 7) == 0 && number > 0)
        o->assumed.faster = number;
    else if (strncmp(text, "bf16=", 5) == 0 && number > 0)
        o->assumed.bf16 = number;
    else if (strncmp(text, "model=", 6) == 0)
        o->model_ranks = (int)number;
    else if (strncmp(text, "budget=", 7) == 0)
        o->budget_s = number;
    else
        return lj_fail(LJ_ERR_CONFIG,
                       "%s: there are steps=, slices=, faster=, bf16=, exchange=, budget= and "
                       "model=",
                       text);
    return LJ_OK;
}

static int read_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){.steps = 2, .slices = 2, .assumed = {.faster = 1, .bf16 = 1}};
    if (argc < 2)
        return lj_fail(LJ_ERR_CONFIG, "give a scale.json of `lejepa_mpi scale`");
    o->scale = argv[1];
    for (int i = 2; i < argc; i++)
        LJ_TRY(read_option(o, argv[i]));
    return LJ_OK;
}

/* ---- prediction -------------------------------------------------------------------------- */

static bool gathers(const struct sim_description *d)
{
    bool any = false;
    for (int i = 0; i < d->messages; i++)
        any = any || d->message[i].gathers;
    return any;
}

static int ranks_ahead(const struct simulation *s, int ahead)
{
    return s->comm->size << 2 * ahead;
}

static int predict_on(struct simulation *s, int ahead)
{
    const struct sim_description *d = &s->description;
    int ranks = ranks_ahead(s, ahead);
    const struct lj_gradsync_plan plan = sim_plan(d, ranks);
    const struct lj_network_step step = {.plan = &plan,
                                         .place = {ranks, (int)s->per_node},
                                         .ledger = &s->result.ledger,
                                         .steps = s->options.steps,
                                         .backward_s = sim_phase_s(d, LJ_PHASE_BACKWARD, ranks),
                                         .between_s = sim_phase_s(d, LJ_PHASE_WAIT_DATA, ranks) +
                                                      sim_phase_s(d, LJ_PHASE_VIEWS, ranks)};
    return lj_network_cost(&s->model, &step, &s->cost[ahead]);
}

/* Measures the links between the first ranks and asks the model about all of them. The model knows
 * sums and the reduction, not what gathers. Collective. */
static int predict(struct simulation *s)
{
    struct lj_comm *few = NULL;
    int all = s->comm->size;
    int ranks = s->options.model_ranks ? s->options.model_ranks : (int)(2 * s->per_node);
    s->predicted = s->options.budget_s > 0 && all > 1 && !gathers(&s->description);
    if (!s->predicted)
        return LJ_OK;
    struct lj_network *network = lj_alloc(sizeof *network, "results");
    int status = lj_agree(s->comm, network ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = lj_comm_first(s->comm, (int)lj_min_i64(ranks, all), &few);
    if (status == LJ_OK && few)
        status = lj_network_measure(few, s->options.budget_s, network);
    if (status == LJ_OK && lj_comm_is_root(s->comm))
        lj_network_fit(network, &s->model);
    for (int i = 0; i < AHEAD && status == LJ_OK && lj_comm_is_root(s->comm); i++)
        status = predict_on(s, i);
    lj_comm_destroy(few);
    lj_free(network);
    return lj_agree(s->comm, status);
}

/* ---- results ----------------------------------------------------------------------------- */

enum { EXPOSED, SECONDS, BYTES, PLANNED, NUMBERS };

static int64_t planned_bytes(const struct lj_ledger_entry *e, int steps)
{
    return e->predicted_bytes_per_step > 0 ? e->predicted_bytes_per_step * steps
                                           : e->predicted_bytes_per_call * e->calls;
}

/* A line of the ledger, of a step: means and the largest values over ranks.
 *   all  (size, NUMBERS) in */
static json_t *line_json(const struct simulation *s, const struct lj_ledger_entry *e,
                         const double *all)
{
    double mean[NUMBERS] = {0}, most[NUMBERS] = {0};
    bool as_planned = true;
    for (int r = 0; r < s->comm->size; r++) {
        const double *of_rank = all + r * NUMBERS;
        for (int i = 0; i < NUMBERS; i++) {
            mean[i] += of_rank[i] / s->comm->size / s->options.steps;
            most[i] = fmax(most[i], of_rank[i] / s->options.steps);
        }
        as_planned = as_planned && of_rank[BYTES] == of_rank[PLANNED];
    }
    return json_pack("{s:s, s:s, s:f, s:f, s:b, s:f, s:f, s:f}", "name", e->name, "collective",
                     e->collective, "calls", (double)e->calls / s->options.steps, "bytes",
                     most[BYTES], "bytes_as_planned", as_planned, "seconds", mean[SECONDS],
                     "exposed_s", mean[EXPOSED], "exposed_most_s", most[EXPOSED]);
}

/* The ledger of all ranks; adds up what is exposed. Collective; NULL on all ranks but the root. */
static json_t *ledger_json(const struct simulation *s, double *exposed_s)
{
    json_t *list = lj_comm_is_root(s->comm) ? json_array() : NULL;
    double *all = lj_alloc_array((int64_t)s->comm->size * NUMBERS, sizeof *all, "results");
    if (lj_agree(s->comm, all ? LJ_OK : LJ_ERR_RESOURCE) != LJ_OK)
        return NULL;
    for (int i = 0; i < s->result.ledger.count; i++) {
        const struct lj_ledger_entry *e = &s->result.ledger.entry[i];
        const double mine[NUMBERS] = {e->exposed_seconds, e->seconds, (double)e->bytes,
                                      (double)planned_bytes(e, s->options.steps)};
        lj_all_gather_f64(s->comm, mine, NUMBERS, all);
        for (int r = 0; r < s->comm->size; r++)
            *exposed_s += all[r * NUMBERS + EXPOSED] / s->comm->size / s->options.steps;
        if (list)
            json_array_append_new(list, line_json(s, e, all));
    }
    lj_free(all);
    return list;
}

static json_t *prediction_json(const struct simulation *s, int ahead)
{
    const struct lj_step_cost *cost = &s->cost[ahead];
    const int ranks = ranks_ahead(s, ahead);
    const double step_s = sim_compute_s(&s->description, ranks) + cost->exposed_s;
    json_t *list = json_array();
    for (int i = 0; i < cost->count; i++) {
        const struct lj_cost *c = &cost->entry[i];
        json_array_append_new(list, json_pack("{s:s, s:f, s:f}", "name", c->name, "seconds",
                                              c->seconds, "exposed_s", c->exposed_s));
    }
    return json_pack("{s:i, s:f, s:f, s:f, s:o}", "ranks", ranks, "step_s", step_s, "efficiency",
                     s->description.step_s / step_s, "exposed_s", cost->exposed_s, "ledger", list);
}

/* Without measured links between nodes the model knows steps of one node. */
static bool is_known(const struct simulation *s, int ahead)
{
    return s->predicted &&
           (s->model.link[LJ_LEVEL_NETWORK].measured || (ahead == 0 && s->nodes == 1));
}

static void add_predictions(const struct simulation *s, json_t *o)
{
    json_t *ahead = json_array();
    for (int i = 1; i < AHEAD && is_known(s, i); i++)
        json_array_append_new(ahead, prediction_json(s, i));
    json_object_set_new(o, "model_error", json_real(s->model.error));
    json_object_set_new(o, "model_error_most", json_real(s->model.error_most));
    json_object_set_new(o, "prediction", is_known(s, 0) ? prediction_json(s, 0) : json_null());
    json_object_set_new(o, "ahead", ahead);
}

/* Collective; the root prints. */
static void print(const struct simulation *s)
{
    const struct sim_description *d = &s->description;
    double exposed_s = 0;
    json_t *ledger = ledger_json(s, &exposed_s);
    if (!lj_comm_is_root(s->comm))
        return;
    json_t *o = json_pack(
        "{s:s, s:i, s:b, s:f, s:f, s:I, s:I, s:I, s:f, s:f, s:f, s:i, s:f, s:f, s:o}", "objective",
        d->objective, "ranks", s->comm->size, "nodes_exchange", s->result.nodes_exchange, "faster",
        s->options.assumed.faster, "bf16", s->options.assumed.bf16, "nodes", (json_int_t)s->nodes,
        "ranks_per_node", (json_int_t)s->per_node, "lanes",
        (json_int_t)(d->lanes_of_rank * s->comm->size), "step_s", s->result.step_s, "compute_s",
        s->result.compute_s, "base_step_s", d->step_s, "base_ranks", d->ranks, "efficiency",
        d->step_s / s->result.step_s, "exposed_s", exposed_s, "ledger", ledger);
    add_predictions(s, o);
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(o);
}

/* ---- main -------------------------------------------------------------------------------- */

static int simulate(struct simulation *s, int argc, char **argv)
{
    int status = read_options(&s->options, argc, argv);
    if (status == LJ_OK)
        status = sim_description_read(&s->description, s->options.scale, &s->options.assumed);
    LJ_TRY(lj_agree(s->comm, status));
    lj_comm_nodes(s->comm, &s->nodes, &s->per_node);
    LJ_TRY(sim_steps(s->comm, &s->description, s->options.steps, s->options.slices, &s->result));
    LJ_TRY(predict(s));
    print(s);
    return LJ_OK;
}

/* lj_comm_start would ask for threads, which SMPI does not promise and nobody uses here. */
int main(int argc, char **argv)
{
    struct simulation s = {0};
    MPI_Init(&argc, &argv);
    MPI_Comm world = MPI_COMM_WORLD;
    int status = lj_comm_create(&s.comm, &world);
    if (status == LJ_OK)
        status = simulate(&s, argc, argv);
    if (status != LJ_OK && (!s.comm || lj_comm_is_root(s.comm)))
        fprintf(stderr, "simulate: error: %s\n", lj_error_text());
    sim_description_release(&s.description);
    lj_comm_destroy(s.comm);
    MPI_Finalize();
    return -status;
}
