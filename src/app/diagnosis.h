/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. What diagnose has found of an array, and how it is printed. */
#ifndef LEJEPA_APP_DIAGNOSIS_H
#define LEJEPA_APP_DIAGNOSIS_H

#include "eval/eval.h"

/* A slice whose statistic is among the largest. */
struct lj_worst {
    int64_t slice;
    double value;
};

struct lj_diagnosis {
    int64_t views, rows, width;
    double term[LJ_TERMS_MAX]; /* of LeJEPA */
    double floor;              /* SIGReg of a Gaussian */
    double alignment;
    struct lj_spectrum spectrum;
    struct lj_normality normality;
    int64_t found;          /* worst slices, the worst first */
    struct lj_worst *worst; /* (found) owned, as the next */
    struct lj_slice *looks; /* (found) */
};

/* Prints it on standard output. Local. */
void lj_diagnosis_json(const struct lj_diagnosis *diagnosis);
void lj_diagnosis_table(const struct lj_diagnosis *diagnosis);

#endif
