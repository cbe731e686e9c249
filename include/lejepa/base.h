/* SPDX-License-Identifier: Apache-2.0 */
/* Installed. Status, error text and messages: what every function of the library has in common.
 *
 *     int status = lj_...();                   LJ_OK, or a negative enum lj_status
 *     if (status != LJ_OK)
 *         fprintf(stderr, "%s\n", lj_error_text());
 */
#ifndef LEJEPA_BASE_H
#define LEJEPA_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LJ_API               __attribute__((visibility("default")))
#define LJ_MUST_USE          __attribute__((warn_unused_result))
#define LJ_PRINTF(at, first) __attribute__((format(printf, at, first)))

/* The negative of the exit code of the program (README, "Exit codes"). */
enum lj_status {
    LJ_OK = 0,
    LJ_ERR_CONFIG = -2,     /* usage or configuration */
    LJ_ERR_DATA = -3,       /* missing, damaged or unsupported archive */
    LJ_ERR_CHECKPOINT = -4, /* checkpoint or safetensors */
    LJ_ERR_NUMERIC = -5,    /* not finite, or collapsed */
    LJ_ERR_RESOURCE = -6,   /* memory, disk, locks */
    LJ_ERR_COMM = -7,       /* communication or watchdog */
    LJ_ERR_BUG = -70,       /* internal error, to be reported */
    LJ_STOPPED = -75,       /* stopped on request, checkpoint written: resubmit to continue */
};

/* Text of this thread's last failure; "" if there was none. Valid until its next failure. Local. */
LJ_API const char *lj_error_text(void);

/* Prints "lejepa_mpi: error: text" from the process that speaks. Local. */
LJ_API void lj_error_line(const char *text);

/* Does this process print messages (to standard error)? lj_comm_start and lj_comm_create let rank 0
 * speak; call it after them to decide otherwise. Local. */
LJ_API void lj_log_set_speaker(bool speaks);

#endif
