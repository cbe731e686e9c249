/* SPDX-License-Identifier: Apache-2.0 */
/* What a step computes and sends, from the scale.json of `lejepa_mpi scale`. Phases are sums over
 * all repeats; a step's share of them is brought to the least of the repeats, which something else
 * on the machine disturbed least. */
#include "simulate.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
    RANKS_MAX = 1 << 20,
    LANES_MAX = 1 << 24,
    STEPS_MAX = 1 << 24,
    CALLS_MAX = 1 << 16, /* of a line of the ledger in a step */
    THREADS_MAX = 1024,
    BUCKETS_MAX = 1 << 20,
    BOOKED_LINES = 4 /* of the ledger, by the reduction */
};

static const int64_t PARAMETERS_MAX = (int64_t)1 << 40;
static const double LEAST_TOLD = 0.9; /* of a step by its phases, which are all of it */

static double real_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

/* A whole number from 1 to `most`; anything else is refused. */
static int read_count(const json_t *object, const char *name, int64_t most, int64_t *value)
{
    *value = json_integer_value(json_object_get(object, name));
    if (*value >= 1 && *value <= most)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA, "%s is no whole number from 1 to %lld", name, (long long)most);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* Of mode weak that on most ranks of one node, whose cores share what those of a full node share;
 * its first if all are on several nodes; the first of all without that mode. */
static const json_t *find_rung(const json_t *study)
{
    const json_t *rungs = json_object_get(study, "rungs"), *found = NULL;
    for (size_t i = 0; i < json_array_size(rungs); i++) {
        const json_t *rung = json_array_get(rungs, i);
        bool is_on_a_node = json_integer_value(json_object_get(rung, "nodes")) == 1;
        if (is(text_of(rung, "mode"), "weak") && (!found || is_on_a_node))
            found = rung; /* their numbers of ranks ascend */
    }
    return found ? found : json_array_get(rungs, 0);
}

/* ---- seconds ----------------------------------------------------------------------------- */

/* Seconds of all repeats together. */
static double repeats_s(const json_t *rung, int64_t steps)
{
    const json_t *list = json_object_get(rung, "repeats_s");
    double sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        sum += json_number_value(json_array_get(list, i));
    return sum * (double)steps;
}

static double told_s(const struct sim_description *d)
{
    double sum = 0;
    for (int p = 0; p < LJ_PHASE_COUNT; p++)
        sum += d->phase_s[p];
    return sum;
}

/* Phases of the slowest rank each are at least all of a step. Without one, or by another name, the
 * simulation would be of a step that computes less.
 *   all_s  in  seconds of all repeats together, which they are sums over */
static int read_phases(struct sim_description *d, const json_t *rung, double all_s)
{
    const json_t *list = json_object_get(rung, "phases");
    for (size_t i = 0; i < json_array_size(list); i++)
        for (int p = 0; p < LJ_PHASE_COUNT; p++)
            if (is(text_of(json_array_get(list, i), "name"), lj_phase_name((enum lj_phase)p)))
                d->phase_s[p] = real_of(json_array_get(list, i), "max_s") / all_s * d->step_s;
    for (int p = 0; p < LJ_PHASE_COUNT; p++)
        if (!(d->phase_s[p] >= 0))
            return lj_fail(LJ_ERR_DATA, "its phases have seconds below 0");
    const double told = told_s(d);
    if (!(told >= LEAST_TOLD * d->step_s && told <= d->ranks / LEAST_TOLD * d->step_s))
        return lj_fail(LJ_ERR_DATA, "phases are %.3g s of a step of %.3g s", told, d->step_s);
    if (!(d->phase_s[LJ_PHASE_BACKWARD] > 0))
        return lj_fail(LJ_ERR_DATA, "no phase is %s", lj_phase_name(LJ_PHASE_BACKWARD));
    return LJ_OK;
}

/* ---- messages ---------------------------------------------------------------------------- */

/* The lines of the reduction are not read: it books them itself. */
static int read_message(struct sim_description *d, const json_t *line, int64_t steps)
{
    static const char *const booked[] = {"gradient", "weights", "nonfinite", "norm", NULL};
    const char *name = text_of(line, "name"), *collective = text_of(line, "collective");
    const int64_t calls = json_integer_value(json_object_get(line, "calls"));
    struct sim_message *m = &d->message[d->messages];
    d->clips = d->clips || (is(name, "norm") && calls > 0);
    if (lj_is_one_of(name, booked) || calls == 0)
        return LJ_OK;
    if (d->messages == LJ_LEDGER_MAX - BOOKED_LINES)
        return lj_fail(LJ_ERR_DATA, "its ledger has more than %d lines", LJ_LEDGER_MAX);
    *m = (struct sim_message){.calls = (double)calls / (double)steps,
                              .gathers = is(collective, "MPI_Allgatherv")};
    if (!(m->calls > 0 && m->calls <= CALLS_MAX))
        return lj_fail(LJ_ERR_DATA, "%s is called %g times a step", name, m->calls);
    LJ_TRY(read_count(line, "predicted_bytes_per_call", INT64_MAX, &m->bytes));
    if (m->bytes > INT32_MAX)
        return lj_fail(LJ_ERR_DATA, "%s sends %lld bytes a call; above 2 GiB is not simulated",
                       name, (long long)m->bytes);
    m->bytes /= m->gathers ? d->lanes_of_rank : 1;
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->collective, sizeof m->collective, "%s", collective);
    d->messages++;
    return LJ_OK;
}

static int read_bounds(struct sim_description *d, const json_t *study)
{
    const json_t *list = json_object_get(study, "bucket_bounds");
    const size_t count = json_array_size(list);
    if (count < 2 || count > BUCKETS_MAX)
        return lj_fail(LJ_ERR_DATA, "it has no bucket_bounds");
    d->buckets = (int)count - 1;
    d->bounds = lj_alloc_array(d->buckets + 1, sizeof *d->bounds, "simulation");
    if (!d->bounds)
        return LJ_ERR_RESOURCE;
    for (int b = 0; b <= d->buckets; b++) {
        d->bounds[b] = json_integer_value(json_array_get(list, (size_t)b));
        bool ascends = b == 0 ? d->bounds[b] == 0 : d->bounds[b] > d->bounds[b - 1];
        if (!ascends || d->bounds[b] % LJ_SHARD_ALIGN != 0 || d->bounds[b] > PARAMETERS_MAX)
            return lj_fail(LJ_ERR_DATA, "bucket_bounds do not ascend from 0 in multiples of %d",
                           LJ_SHARD_ALIGN);
    }
    return LJ_OK;
}

/* Training keeps running statistics out of that, which are few. */
static int round_gradients(struct sim_description *d, const json_t *study)
{
    const int64_t units = d->bounds[d->buckets] / LJ_SHARD_ALIGN;
    if (!is(text_of(json_object_get(study, "settings"), "comm.gradients"), "bf16"))
        return LJ_OK;
    d->rounded = lj_alloc_array(units, sizeof *d->rounded, "results");
    for (int64_t i = 0; i < units && d->rounded; i++)
        d->rounded[i] = true;
    return d->rounded ? LJ_OK : LJ_ERR_RESOURCE;
}

/* A rank that has more lanes than workers works on all of backward lane by lane then, and makes
 * views after it has waited for weights: another order than that of step.c. */
static int check_order(const struct sim_description *d, const json_t *study)
{
    const char *recompute = text_of(json_object_get(study, "settings"), "memory.recompute");
    if (is(recompute, "lanes") && d->lanes_of_rank > d->workers)
        return lj_fail(LJ_ERR_DATA,
                       "memory.recompute=lanes with more lanes of a rank (%lld) than threads (%d) "
                       "is not simulated",
                       (long long)d->lanes_of_rank, d->workers);
    return LJ_OK;
}

static int read_sizes(struct sim_description *d, const json_t *study, const json_t *rung,
                      int64_t *steps)
{
    int64_t ranks, lanes, threads;
    LJ_TRY(read_count(rung, "ranks", RANKS_MAX, &ranks));
    LJ_TRY(read_count(rung, "lanes", LANES_MAX, &lanes));
    LJ_TRY(read_count(study, "threads", THREADS_MAX, &threads));
    LJ_TRY(read_count(study, "steps", STEPS_MAX, steps));
    if (lanes % ranks != 0)
        return lj_fail(LJ_ERR_DATA, "%lld ranks have unequal shares of %lld lanes",
                       (long long)ranks, (long long)lanes);
    d->ranks = (int)ranks;
    d->workers = (int)threads;
    d->lanes_of_rank = lanes / ranks;
    return LJ_OK;
}

/* An empty word: not given. */
static int read_exchange(struct sim_description *d, const char *word)
{
    static const char *const words[] = {[LJ_COMM_EXCHANGE_AUTO] = "auto",
                                        [LJ_COMM_EXCHANGE_RANKS] = "ranks",
                                        [LJ_COMM_EXCHANGE_NODES] = "nodes"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is(word, words[i])) {
            d->exchange = (enum lj_comm_exchange)i;
            return LJ_OK;
        }
    return *word ? lj_fail(LJ_ERR_DATA, "comm.exchange is '%s'", word) : LJ_OK;
}

/* Of which only those differ from the defaults that were given. */
static int read_settings(struct sim_description *d, const json_t *settings)
{
    const char *objective = text_of(settings, "objective");
    snprintf(d->objective, sizeof d->objective, "%s", *objective ? objective : "lejepa");
    return read_exchange(d, text_of(settings, "comm.exchange"));
}

static int read_study(struct sim_description *d, const json_t *study)
{
    const json_t *rung = find_rung(study), *ledger = json_object_get(rung, "ledger");
    const int64_t repeats = (int64_t)json_array_size(json_object_get(rung, "repeats_s"));
    int64_t steps = 0;
    LJ_TRY(read_sizes(d, study, rung, &steps));
    LJ_TRY(check_order(d, study));
    LJ_TRY(read_settings(d, json_object_get(study, "settings")));
    d->fast = is(text_of(study, "reduce"), "fast");
    d->step_s = real_of(rung, "step_s_low");
    double all_s = repeats_s(rung, steps);
    if (!(d->step_s > 0 && all_s > 0))
        return lj_fail(LJ_ERR_DATA, "it has no measured rung");
    LJ_TRY(read_phases(d, rung, all_s));
    for (size_t i = 0; i < json_array_size(ledger); i++)
        LJ_TRY(read_message(d, json_array_get(ledger, i), steps * repeats));
    LJ_TRY(read_bounds(d, study));
    return round_gradients(d, study);
}

/* Of products that were in bf16 already, bf16= would count the gain twice. */
static int check_precision(const json_t *study, const struct sim_assumed *assumed)
{
    const char *precision = text_of(study, "precision");
    if (assumed->bf16 == 1 || is(precision, "fp32"))
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA, "precision is '%s', and bf16= is for what was measured in fp32",
                   precision);
}

/* Encoder and projector have products in bf16 under precision=bf16. On several ranks phases, of the
 * slowest rank each, are together more than a step, which gets shorter by as much as they do. */
static void speed_up(struct sim_description *d, const struct sim_assumed *assumed)
{
    static const enum lj_phase products[] = {LJ_PHASE_FORWARD, LJ_PHASE_PROJECTOR,
                                             LJ_PHASE_BACKWARD};
    const double measured_s = told_s(d);
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        d->phase_s[products[i]] /= assumed->bf16;
    d->step_s *= told_s(d) / measured_s / assumed->faster;
    for (int p = 0; p < LJ_PHASE_COUNT; p++)
        d->phase_s[p] /= assumed->faster;
}

int sim_description_read(struct sim_description *description, const char *path,
                         const struct sim_assumed *assumed)
{
    json_error_t error;
    *description = (struct sim_description){0};
    json_t *study = json_load_file(path, 0, &error);
    if (!study)
        return lj_fail(LJ_ERR_DATA, "%s: %s", path, error.text);
    int status = read_study(description, study);
    if (status == LJ_OK && assumed->exchange)
        status = read_exchange(description, assumed->exchange);
    if (status == LJ_OK)
        status = check_precision(study, assumed);
    if (status == LJ_OK)
        speed_up(description, assumed);
    json_decref(study);
    if (status == LJ_ERR_DATA)
        return lj_fail(LJ_ERR_DATA, "%s, read as a scale.json of `lejepa_mpi scale`: %s", path,
                       lj_error_text());
    return status;
}

void sim_description_release(struct sim_description *description)
{
    lj_free(description->bounds);
    lj_free(description->rounded);
    description->bounds = NULL;
    description->rounded = NULL;
}
