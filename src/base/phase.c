/* SPDX-License-Identifier: Apache-2.0 */
/* Phase timers of the main thread: a stack, of which the top is the running phase. */
#include "base/base.h"

#include <stdatomic.h>

enum { DEPTH_MAX = 16 };

static double seconds[LJ_PHASE_COUNT];
static enum lj_phase stack[DEPTH_MAX] = {LJ_PHASE_OTHER};
static double began_s[DEPTH_MAX];
static int top;
static double since;
static atomic_int current = LJ_PHASE_OTHER; /* read by the watchdog's thread */

static void switch_to(enum lj_phase next)
{
    double now = lj_now_s();
    if (since > 0)
        seconds[current] += now - since;
    since = now;
    current = (int)next;
}

void lj_phase_begin(enum lj_phase phase)
{
    LJ_CHECK(top + 1 < DEPTH_MAX, "phases nested too deeply");
    stack[++top] = phase;
    switch_to(phase);
    began_s[top] = since;
}

void lj_phase_end(void)
{
    LJ_CHECK(top > 0, "lj_phase_end without begin");
    enum lj_phase ended = stack[top];
    switch_to(stack[--top]);
    lj_trace_add(LJ_TRACK_PHASES, lj_phase_name(ended), began_s[top + 1], since, 0);
}

enum lj_phase lj_phase_current(void)
{
    return (enum lj_phase)current;
}

double lj_phase_seconds(enum lj_phase phase)
{
    return seconds[phase];
}

void lj_phase_reset(void)
{
    for (int i = 0; i < LJ_PHASE_COUNT; i++)
        seconds[i] = 0;
    since = lj_now_s();
}

const char *lj_phase_name(enum lj_phase phase)
{
    static const char *const names[LJ_PHASE_COUNT] = {"setup",
                                                      "wait for data",
                                                      "views",
                                                      "forward",
                                                      "projector",
                                                      "loss",
                                                      "small allreduce",
                                                      "backward",
                                                      "gradient communication",
                                                      "optimiser",
                                                      "weight communication",
                                                      "evaluation",
                                                      "checkpoint",
                                                      "other"};
    return names[phase];
}
