/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. Labels may be any int32, with gaps; the classes behind them are 0 .. count-1. */
#ifndef LEJEPA_EVAL_CLASSES_H
#define LEJEPA_EVAL_CLASSES_H

#include "eval/eval.h"

struct lj_classes {
    int64_t count;
    int32_t *label;  /* (count) owned: label of each class, ascending */
    int32_t *member; /* (rows) owned: class of each row */
};

/* Local. Errors: LJ_ERR_RESOURCE. */
int lj_classes_create(struct lj_classes *classes, const int32_t *labels, int64_t rows) LJ_MUST_USE;
void lj_classes_destroy(struct lj_classes *classes);

#endif
