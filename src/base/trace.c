/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder of run.trace: spans of time of this rank, in memory that does not grow. When it is
 * full, every other recorded step is forgotten, and from then on only every other of those is
 * recorded: so a trace covers a run of any length evenly, and says nothing of a few steps only. The
 * steps that remain are those whose distance to the first is divisible by a power of two, which is
 * why the ranks' can be made to agree. */
#include "base/base.h"

#include <string.h>

static struct lj_trace trace;
static int64_t capacity;
static int64_t first = -1, step = -1; /* of the process, and the running one; -1: none */
static double step_began_s;

static bool keeps(int64_t of_step)
{
    return of_step < 0 || (of_step - first) % trace.every == 0;
}

/* Forgets what is not kept. */
static void compact(void)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < trace.count; i++)
        if (keeps(trace.event[i].step))
            trace.event[kept++] = trace.event[i];
    trace.count = kept;
}

/* Is there a step that could be forgotten? The first one never is. */
static bool has_later_steps(void)
{
    for (int64_t i = 0; i < trace.count; i++)
        if (trace.event[i].step > first)
            return true;
    return false;
}

static bool make_room(void)
{
    while (trace.count == capacity) {
        if (!has_later_steps())
            return false;
        trace.every *= 2;
        compact();
    }
    return true;
}

int lj_trace_start(int64_t events)
{
    lj_trace_stop();
    trace.event = lj_alloc_array(events, sizeof *trace.event, "trace");
    if (!trace.event)
        return LJ_ERR_RESOURCE;
    capacity = events;
    trace.every = 1;
    return LJ_OK;
}

void lj_trace_stop(void)
{
    lj_free(trace.event);
    trace = (struct lj_trace){.event = NULL};
    first = step = -1;
}

void lj_trace_add(enum lj_track track, const char *name, double begin_s, double end_s,
                  int64_t bytes)
{
    if (!trace.event || !keeps(step))
        return;
    if (!make_room()) {
        trace.left_out++;
        return;
    }
    if (!keeps(step)) /* any more */
        return;
    struct lj_span *span = &trace.event[trace.count++];
    *span = (struct lj_span){
        .begin_s = begin_s, .end_s = end_s, .step = step, .bytes = bytes, .track = (int)track};
    strncpy(span->name, name, sizeof span->name - 1);
}

void lj_trace_step(int64_t next)
{
    if (!trace.event)
        return;
    double now = lj_now_s();
    if (step >= 0)
        lj_trace_add(LJ_TRACK_PHASES, "step", step_began_s, now, 0);
    if (first < 0)
        first = next;
    step = next;
    step_began_s = now;
}

void lj_trace_thin(int64_t every)
{
    trace.every = every;
    compact();
}

const struct lj_trace *lj_trace_recorded(void)
{
    return &trace;
}
