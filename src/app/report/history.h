/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. The numbers of metrics.jsonl as a table. Local. */
#ifndef LEJEPA_APP_REPORT_HISTORY_H
#define LEJEPA_APP_REPORT_HISTORY_H

#include "base/base.h"

enum { LJ_HISTORY_COLUMNS = 48, LJ_HISTORY_NAME = 48 };

/* Lines of one kind: the members whose values are numbers, in the order in which they first occur.
 * Names are of small letters, digits and underscores; others are left out. All zero: empty. */
struct lj_history {
    int columns; /* further ones are left out */
    char name[LJ_HISTORY_COLUMNS][LJ_HISTORY_NAME];
    int64_t rows, capacity;
    double *value; /* (capacity, LJ_HISTORY_COLUMNS) owned; NaN: null, or not in this line */
};

/* Reads the file of a run.
 *   steps, evaluations  out  owned by the caller: lj_history_free, also after a failure
 *   skipped             out  lines that are no JSON object with a step
 * A file that does not exist is empty. Errors: LJ_ERR_RESOURCE. */
int lj_history_read(const char *path, struct lj_history *steps, struct lj_history *evaluations,
                    int64_t *skipped) LJ_MUST_USE;
void lj_history_free(struct lj_history *history);

/* The column of that name; -1: there is none. */
int lj_history_column(const struct lj_history *history, const char *name);
/* NaN where there is no such column. */
double lj_history_value(const struct lj_history *history, int64_t row, int column);
/* The last value of that name that is finite; NaN: there is none. */
double lj_history_last(const struct lj_history *history, const char *name);

#endif
