/* SPDX-License-Identifier: Apache-2.0 */
/* The time of the last progress, of training and of what goes on beside it, and who is waited for,
 * for the watchdog. */
#include "base/base.h"

#include <stdatomic.h>

static _Atomic double last_s;
static _Atomic double beside_last_s;
static _Thread_local bool is_beside; /* the calling thread's work is told apart */
static atomic_bool waits;
static _Atomic int64_t turns = 1;
static void (*_Atomic hook)(void);

void lj_progress(void)
{
    if (is_beside) {
        beside_last_s = lj_now_s();
        return;
    }
    last_s = lj_now_s();
    void (*call)(void) = hook;
    if (call)
        call();
}

double lj_progress_s(void)
{
    return last_s;
}

void lj_progress_beside(bool begins)
{
    is_beside = begins;
    beside_last_s = begins ? lj_now_s() : 0;
}

double lj_progress_beside_s(void)
{
    return beside_last_s;
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
