/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. scale objectives=: a table on standard output, files in the directory out=. */
#ifndef LEJEPA_APP_SCALE_OBJECTIVES_H
#define LEJEPA_APP_SCALE_OBJECTIVES_H

#include "app/scale_report.h"

/* Makes out=, if there is to be one. Local, on rank 0. Errors: LJ_ERR_RESOURCE; LJ_ERR_CONFIG: runs
 * of an earlier comparison are in it, which would be continued. */
int lj_compared_prepare(const struct lj_comparison *comparison,
                        const struct lj_config *config) LJ_MUST_USE;
/* Data of lj_compared_keep; borrowed. */
struct lj_compared_report {
    const struct lj_comparison *comparison;
    struct lj_scale_report *report; /* of the job: archive, nodes */
};
/* Writes objectives.json and objectives.csv with what there is so far, if there is an out=. Local,
 * on rank 0.
 *   compared  in/out  a struct lj_compared_report
 * Errors: LJ_ERR_RESOURCE. */
int lj_compared_keep(void *compared) LJ_MUST_USE;
/* Prints the table, or with json=1 the object. Local, on rank 0. Errors: LJ_ERR_RESOURCE. */
int lj_compared_print(const struct lj_compared_report *compared) LJ_MUST_USE;
/* scale_objectives_json.c: the object, owned by the caller; NULL: LJ_ERR_RESOURCE. */
json_t *lj_compared_json(const struct lj_comparison *comparison,
                         const struct lj_scale_report *report);
/* "N", "D", "P". */
const char *lj_growth_word(enum lj_growth along);

#endif
