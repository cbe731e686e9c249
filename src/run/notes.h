/* SPDX-License-Identifier: Apache-2.0 */
/* Private to run. What a sweep knows of a run from one job to the next. Local. */
#ifndef LEJEPA_RUN_NOTES_H
#define LEJEPA_RUN_NOTES_H

#include "lejepa/config.h"
#include "store/store.h"

struct lj_run_note {
    char settings[32]; /* a word for all that may make a run fail */
    char result[32];   /* a word for all that a finished run was made of */
    bool init_known;
    char init[LJ_TEXT_MAX]; /* init= that the run began with, by jobs before this one */
    char from[LJ_PATH_MAX]; /* checkpoint that the last try continued from; "": none */
    int tries;              /* from there, with these settings */
    int64_t code;           /* exit code of the last; -1: it has not ended */
};

/* What a try of a run would be noted as, from its settings and directory; no tries.
 *   config  in/out  eval.holdout=-1 becomes what it stands for */
void lj_run_note_now(struct lj_run_note *note, struct lj_config *config);
/* What the last job noted; zeros and code -1 if there is no note. */
void lj_run_note_read(struct lj_run_note *note, const char *path);
/* Warns if it cannot be written.
 *   error  in  why the run failed; "" if it did not */
void lj_run_note_write(const struct lj_run_note *note, const char *path, const char *error);

/* Is the run finished, with these settings and still there? */
bool lj_run_note_finished(const struct lj_run_note *now, const struct lj_run_note *last);
/* How many tries have failed or not ended from where the run is, with these settings. */
int lj_run_note_failures(const struct lj_run_note *now, const struct lj_run_note *last);

#endif
