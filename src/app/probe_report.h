/* SPDX-License-Identifier: Apache-2.0 */
/* Private to app. What probe found, as a table or as JSON. */
#ifndef LEJEPA_APP_PROBE_REPORT_H
#define LEJEPA_APP_PROBE_REPORT_H

#include "eval/eval.h"

enum { LJ_FEWSHOT_MAX = 16 };

struct lj_probe_score {
    struct lj_accuracy accuracy;
    struct lj_interval top1, balanced;
    struct lj_confusion confusion; /* owned; no classes: it is not wanted */
};

struct lj_probe_report {
    int64_t train_rows, test_rows, width, unlabelled;
    int64_t shared; /* test rows that are in train, too; -1: not known */
    struct lj_probe_score knn, linear;
    struct lj_probe_result fit;
    double l2;
    bool l2_auto; /* l2 is the choice's */
    struct lj_l2_choice choice;
    int64_t fewshots;
    struct lj_fewshot fewshot[LJ_FEWSHOT_MAX];
};

/* Prints on standard output. For the root. Errors: LJ_ERR_RESOURCE. */
void lj_probe_report_table(const struct lj_probe_report *report);
int lj_probe_report_json(const struct lj_probe_report *report) LJ_MUST_USE;

#endif
