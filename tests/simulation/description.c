/* SPDX-License-Identifier: Apache-2.0 */
/* What a step computes and sends, from the scale.json of `lejepa_mpi scale`. Phases are sums over
 * all repeats; a step's share of them is brought to the least of the repeats, which something else
 * on the machine disturbed least. */
#include "simulate.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static double real_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static int64_t integer_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
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

/* The first rung of mode weak; the first of all if there is none. */
static const json_t *find_rung(const json_t *study)
{
    const json_t *rungs = json_object_get(study, "rungs");
    for (size_t i = 0; i < json_array_size(rungs); i++)
        if (is(text_of(json_array_get(rungs, i), "mode"), "weak"))
            return json_array_get(rungs, i);
    return json_array_get(rungs, 0);
}

/* Seconds of all repeats together. */
static double repeats_s(const json_t *study, const json_t *rung)
{
    const json_t *list = json_object_get(rung, "repeats_s");
    double sum = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        sum += json_number_value(json_array_get(list, i));
    return sum * (double)integer_of(study, "steps");
}

static void read_phases(struct sim_description *d, const json_t *study, const json_t *rung)
{
    const json_t *list = json_object_get(rung, "phases");
    for (size_t i = 0; i < json_array_size(list); i++)
        for (int p = 0; p < LJ_PHASE_COUNT; p++)
            if (is(text_of(json_array_get(list, i), "name"), lj_phase_name((enum lj_phase)p)))
                d->phase_s[p] =
                    real_of(json_array_get(list, i), "max_s") / repeats_s(study, rung) * d->step_s;
}

/* The lines of the reduction are not read: it books them itself. */
static void read_message(struct sim_description *d, const json_t *line, int64_t steps)
{
    const char *name = text_of(line, "name"), *collective = text_of(line, "collective");
    const double calls = (double)integer_of(line, "calls") / (double)steps;
    d->clips = d->clips || (is(name, "norm") && calls > 0);
    if (is(name, "gradient") || is(name, "weights") || is(name, "nonfinite") || is(name, "norm"))
        return;
    if (calls <= 0 || d->messages == LJ_LEDGER_MAX)
        return;
    struct sim_message *m = &d->message[d->messages++];
    *m = (struct sim_message){.calls = calls,
                              .bytes = integer_of(line, "predicted_bytes_per_call"),
                              .gathers = is(collective, "MPI_Allgatherv")};
    m->bytes /= m->gathers ? d->lanes_of_rank : 1;
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->collective, sizeof m->collective, "%s", collective);
}

static int read_bounds(struct sim_description *d, const json_t *study)
{
    const json_t *list = json_object_get(study, "bucket_bounds");
    d->buckets = (int)json_array_size(list) - 1;
    if (d->buckets < 1)
        return lj_fail(LJ_ERR_DATA, "it has no bucket_bounds");
    d->bounds = lj_alloc_array(d->buckets + 1, sizeof *d->bounds, "simulation");
    if (!d->bounds)
        return LJ_ERR_RESOURCE;
    for (int b = 0; b <= d->buckets; b++)
        d->bounds[b] = json_integer_value(json_array_get(list, (size_t)b));
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

static int read_study(struct sim_description *d, const json_t *study)
{
    const json_t *rung = find_rung(study), *ledger = json_object_get(rung, "ledger");
    d->ranks = (int)integer_of(rung, "ranks");
    d->workers = (int)integer_of(study, "threads");
    d->step_s = real_of(rung, "step_s_low");
    d->fast = is(text_of(study, "reduce"), "fast");
    int64_t steps = integer_of(study, "steps") * integer_of(study, "repeats");
    if (d->ranks < 1 || d->workers < 1 || steps < 1 || !(d->step_s > 0))
        return lj_fail(LJ_ERR_DATA, "it has no measured rung");
    d->lanes_of_rank = lj_max_i64(integer_of(rung, "lanes") / d->ranks, 1);
    read_phases(d, study, rung);
    for (size_t i = 0; i < json_array_size(ledger); i++)
        read_message(d, json_array_get(ledger, i), steps);
    LJ_TRY(read_bounds(d, study));
    return round_gradients(d, study);
}

static void speed_up(struct sim_description *d, double faster)
{
    d->step_s /= faster;
    for (int p = 0; p < LJ_PHASE_COUNT; p++)
        d->phase_s[p] /= faster;
}

int sim_description_read(struct sim_description *description, const char *path, double faster)
{
    json_error_t error;
    *description = (struct sim_description){0};
    json_t *study = json_load_file(path, 0, &error);
    if (!study)
        return lj_fail(LJ_ERR_DATA, "%s: %s", path, error.text);
    int status = read_study(description, study);
    speed_up(description, faster);
    json_decref(study);
    if (status == LJ_ERR_DATA)
        return lj_fail(LJ_ERR_DATA, "%s: %s; it is to be a scale.json of `lejepa_mpi scale`", path,
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
