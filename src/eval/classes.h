/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. Labels as they come (any int32, with gaps) and the classes 0 .. count-1 behind them. Inside the
 * module only. */
#ifndef LEJEPA_EVAL_CLASSES_H
#define LEJEPA_EVAL_CLASSES_H

#include "eval/eval.h"

struct lj_classes {
    int64_t count;
    int32_t *label;  /* (count) owned, ascending */
    int32_t *member; /* (rows) owned: class of each row */
};

/* Local. Errors: LJ_ERR_RESOURCE. */
int lj_classes_create(struct lj_classes *classes, const int32_t *labels, int64_t rows) LJ_MUST_USE;
void lj_classes_destroy(struct lj_classes *classes);

#endif
