/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. What a run left in its directory: the settings of config.yaml, the numbers of
 * metrics.jsonl as a table. Local. */
#ifndef LEJEPA_APP_HISTORY_H
#define LEJEPA_APP_HISTORY_H

#include "base/base.h"
#include "lejepa/config.h"

enum { LJ_HISTORY_COLUMNS = 48, LJ_HISTORY_NAME = 48 };

/* Lines of one kind: the members whose values are numbers, or true, which is 1, in the order in
 * which they first occur. Names are of small letters, digits and underscores; others are left out.
 * All zero: empty. */
struct lj_history {
    int columns; /* further ones are left out */
    char name[LJ_HISTORY_COLUMNS][LJ_HISTORY_NAME];
    int64_t rows, capacity;
    double *value; /* (capacity, LJ_HISTORY_COLUMNS) owned; NaN: null, or not in this line */
};

/* Reads config.yaml of a run.
 *   config  out
 * Errors: LJ_ERR_DATA: there is no run, or its settings make no sense. */
int lj_history_settings(const char *dir, struct lj_config *config) LJ_MUST_USE;

/* Reads metrics.jsonl of a run. Tells the watchdog of progress, for files may be long and slow.
 *   steps, evaluations  out  owned by the caller: lj_history_free, also after a failure
 *   skipped             out  lines that are no JSON object with a step, as the last one may be of a
 *                       run that is going on
 * A file that does not exist is empty. Errors: LJ_ERR_RESOURCE. */
int lj_history_read(const char *dir, struct lj_history *steps, struct lj_history *evaluations,
                    int64_t *skipped) LJ_MUST_USE;
void lj_history_free(struct lj_history *history);

/* The column of that name; -1: there is none. */
int lj_history_column(const struct lj_history *history, const char *name);
/* NaN where there is no such column. */
double lj_history_value(const struct lj_history *history, int64_t row, int column);
/* The last value of that name that is finite; NaN: there is none. */
double lj_history_last(const struct lj_history *history, const char *name);

#endif
