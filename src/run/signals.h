/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. What asks a run to save or stop from outside, and the watchdog. All functions are
 * local; the ranks' requests are combined in the reduction of a step. */
#ifndef LEJEPA_SIGNALS_H
#define LEJEPA_SIGNALS_H

#include "base/base.h"

/* Installs handlers: SIGUSR1 and SIGTERM ask to save and stop, SIGUSR2 to save and go on. */
void lj_signals_install(void);
/* Installs the handlers again that were there before. */
void lj_signals_restore(void);
/* Was this process asked to stop? */
bool lj_signals_stop(void);
/* Was it asked to save since the last call? */
bool lj_signals_take_save(void);

/* Starts the watchdog: a thread that ends the job with exit code 7 when neither lj_watchdog_feed
 * nor lj_progress was called for a while. It first prints this rank, its step and its phase.
 *   stall_s  in  how long to wait, seconds; 0: no watchdog
 * Errors: LJ_ERR_RESOURCE. */
int lj_watchdog_start(int rank, double stall_s) LJ_MUST_USE;
/* Tells the watchdog that work went on, and the step for its message; -1: before the first step. */
void lj_watchdog_feed(int64_t step);
/* Ends the thread; nothing if there is none. */
void lj_watchdog_stop(void);

#endif
