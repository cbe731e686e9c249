/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. What asks a run to save or stop. Local; ranks agree through the step's reduction. */
#ifndef LEJEPA_SIGNALS_H
#define LEJEPA_SIGNALS_H

#include "base/base.h"

/* SIGUSR1 and SIGTERM: save and stop. SIGUSR2: save and go on. Handlers only set flags. */
void lj_signals_install(void);
void lj_signals_restore(void);
bool lj_signals_stop(void);
/* True once per SIGUSR2. */
bool lj_signals_take_save(void);

/* The watchdog: a thread that ends the job with 7 when neither lj_watchdog_feed nor lj_progress was called
 * for stall_s seconds, after naming this rank, its step (-1: before the first) and its phase. 0: none. */
int lj_watchdog_start(int rank, double stall_s) LJ_MUST_USE;
void lj_watchdog_feed(int64_t step);
void lj_watchdog_stop(void);

#endif
