/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. What asks a run to save or stop from outside, and what the watchdog
 * (lejepa/run.h) must know. All functions are local; the ranks' requests are combined in the
 * reduction of a step. */
#ifndef LEJEPA_SIGNALS_H
#define LEJEPA_SIGNALS_H

#include "base/base.h"

/* Installs handlers: SIGUSR1 and SIGTERM ask to save and stop, SIGUSR2 to save and go on.
 * Inside another install, as of a run in a sweep, does nothing: what was asked stays asked. */
void lj_signals_install(void);
/* Installs the handlers again that were there before; ends one install. */
void lj_signals_restore(void);
/* Was this process asked to stop? */
bool lj_signals_stop(void);
/* Was it asked to save since the last call? */
bool lj_signals_take_save(void);

/* Is there a file STOP in a run's directory? */
bool lj_stop_file(const char *dir);
/* Removes it: it would stop the resubmitted job, too. Warns if it cannot. */
void lj_stop_file_remove(const char *dir);
/* The same for the run.dir of a sweep, and for what one of its groups asked. */
bool lj_stop_sweep(const char *dir);
void lj_stop_sweep_remove(const char *dir);
/* Asks all groups of a sweep to stop. */
void lj_stop_sweep_ask(const char *dir);

/* Tells the watchdog that work went on, and the step for its message; -1: before the first step. */
void lj_watchdog_feed(int64_t step);

#endif
