/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. run.trace: what all ranks did when, as a file that Perfetto and Chrome open. Each
 * rank records (base/base.h, "trace"); at the end rank 0 receives what they have, one after the
 * other and in pieces, and writes it. */
#ifndef LEJEPA_RUN_TRACE_H
#define LEJEPA_RUN_TRACE_H

#include "lejepa/config.h"

#include "comm/comm.h"
#include "store/store.h"

/* A clock compared with rank 0's. */
struct lj_clock {
    double at_s;     /* by this rank's lj_now_s */
    double offset_s; /* this rank's lj_now_s less rank 0's */
    double error_s;  /* the offset is off by less */
};

struct lj_run_trace {
    char path[LJ_PATH_MAX]; /* root only */
    struct lj_clock begin;
};

/* Records from now on; nothing without run.trace. Collective.
 *   trace   out  the file is run.trace or, where that exists and the run continues from a
 *                checkpoint, has the name of this behind its own, and a number where that exists,
 *                too: the same command may be given again
 *   config  in   run.trace, run.dir
 * Errors: LJ_ERR_CONFIG: the file exists, or cannot be made; LJ_ERR_RESOURCE; agreed. */
int lj_run_trace_begin(struct lj_run_trace *trace, struct lj_comm *comm,
                       const struct lj_config *config) LJ_MUST_USE;
/* Writes the file, and ends recording; nothing if nothing is recorded. Collective.
 * Errors: LJ_ERR_RESOURCE; agreed. */
int lj_run_trace_write(const struct lj_run_trace *trace, struct lj_comm *comm) LJ_MUST_USE;

#endif
