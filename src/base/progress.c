/* SPDX-License-Identifier: Apache-2.0 */
/* The time of the last progress, and who is waited for, for the watchdog. */
#include "base/base.h"

#include <stdatomic.h>

static _Atomic double last_s;
static atomic_bool waits;
static _Atomic int64_t turns = 1;
static void (*_Atomic hook)(void);

void lj_progress(void)
{
    last_s = lj_now_s();
    void (*call)(void) = hook;
    if (call)
        call();
}

double lj_progress_s(void)
{
    return last_s;
}

void lj_progress_wait(bool begins)
{
    last_s = lj_now_s();
    waits = begins;
}

int64_t lj_progress_set_turns(int64_t next)
{
    int64_t before = turns;
    turns = next;
    return before;
}

int64_t lj_progress_turns(void)
{
    return waits ? turns : 0;
}

void lj_set_progress_hook(void (*next)(void))
{
    hook = next;
}
