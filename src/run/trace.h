/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. run.trace: what all ranks did when, as a file that Perfetto and Chrome open. Each
 * rank records (base/base.h, "trace"); at the end rank 0 receives what they have, one after the
 * other and in pieces, and writes it. */
#ifndef LEJEPA_RUN_TRACE_H
#define LEJEPA_RUN_TRACE_H

#include "comm/comm.h"

/* A clock compared with rank 0's. */
struct lj_clock {
    double at_s;     /* by this rank's lj_now_s */
    double offset_s; /* this rank's lj_now_s less rank 0's */
    double error_s;  /* the offset is off by less */
};

/* Records from now on. Collective.
 *   path   in   run.trace; "": nothing is recorded
 *   clock  out  of this rank, now
 * Errors: LJ_ERR_CONFIG: path exists, or cannot be made; LJ_ERR_RESOURCE; agreed. */
int lj_run_trace_begin(struct lj_comm *comm, const char *path, struct lj_clock *clock) LJ_MUST_USE;
/* Writes the file, and ends recording; nothing if nothing is recorded. Collective.
 *   clock  in  as lj_run_trace_begin gave it
 * Errors: LJ_ERR_RESOURCE; agreed. */
int lj_run_trace_write(struct lj_comm *comm, const char *path,
                       const struct lj_clock *clock) LJ_MUST_USE;

#endif
