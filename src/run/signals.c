/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that ask a run to stop or save: handlers set flags, the run looks at them. */
#include "run/signals.h"

#include <signal.h>

static volatile sig_atomic_t stop_asked, save_asked;
static struct sigaction before[3];
static int depth; /* of calls that install */
static const int numbers[3] = {SIGUSR1, SIGUSR2, SIGTERM};

static void on_signal(int number)
{
    if (number == SIGUSR2)
        save_asked = 1;
    else
        stop_asked = 1;
}

void lj_signals_install(void)
{
    if (depth++ > 0)
        return;
    stop_asked = save_asked = 0;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (int i = 0; i < 3; i++)
        sigaction(numbers[i], &action, &before[i]);
}

void lj_signals_restore(void)
{
    if (--depth > 0)
        return;
    for (int i = 0; i < 3; i++)
        sigaction(numbers[i], &before[i], NULL);
}

bool lj_signals_stop(void)
{
    return stop_asked != 0;
}

bool lj_signals_take_save(void)
{
    bool asked = save_asked != 0;
    save_asked = 0;
    return asked;
}
