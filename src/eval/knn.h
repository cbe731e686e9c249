/* SPDX-License-Identifier: Apache-2.0 */
/* Private to eval. */
#ifndef LEJEPA_EVAL_KNN_H
#define LEJEPA_EVAL_KNN_H

#include "eval/eval.h"

/* Floats of the others' bank that a rank holds at a time, unless one tile has more. A variable, so
 * that a test of several pieces can lower it. */
extern int64_t lj_knn_piece_floats;

#endif
