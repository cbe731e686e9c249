/* SPDX-License-Identifier: Apache-2.0 */
/* The runs in numbers, and their settings. */
#include "app/report/report.h"

#include "optim/optim.h"

#include <math.h>
#include <string.h>

/* ---- runs ---------------------------------------------------------------------------------- */

/* Steps of the whole run; NaN: no logged step says what an epoch is. */
static double steps_of(const struct lj_report_run *run)
{
    double step = lj_history_last(&run->steps, "step"),
           epoch = lj_history_last(&run->steps, "epoch");
    double samples = step * (double)run->config->batch_size / epoch;
    return samples >= 1 && samples < 1e15
               ? (double)lj_schedule_of(run->config, llround(samples)).steps
               : NAN;
}

int lj_report_overview(struct lj_report *report)
{
    static const char *const heading[] = {
        "run",    "model",          "step",     "of steps",       "loss", "kNN",
        "linear", "effective rank", "collapse", "lines left out", NULL};
    static const char *const evaluated[] = {"knn_top1", "linear_top1", "effective_rank"};
    lj_text_add(&report->page, "<h2>Runs</h2>\n");
    lj_table_begin(report, "Where the runs are", true, heading, 10);
    for (int i = 0; i < report->runs; i++) {
        const struct lj_report_run *run = &report->run[i];
        lj_row_begin(report, run->dir);
        lj_cell_text(report, run->config->model);
        lj_cell_number(report, lj_history_last(&run->steps, "step"));
        lj_cell_number(report, steps_of(run));
        lj_cell_number(report, lj_history_last(&run->steps, "loss"));
        for (int k = 0; k < 3; k++)
            lj_cell_number(report, lj_history_last(&run->evaluations, evaluated[k]));
        lj_cell_number(report, lj_history_last(&run->steps, "collapse"));
        lj_cell_number(report, (double)run->skipped);
    }
    lj_table_end(report);
    return LJ_OK;
}

/* ---- settings ------------------------------------------------------------------------------ */

enum which { DIFFERING, CHANGED, ALL };

/* Does the setting belong into the table? base: the defaults, or the first run */
static bool belongs(const struct lj_report *report, const struct lj_key *key,
                    const struct lj_config *base, enum which which)
{
    char text[LJ_TEXT_MAX], other[LJ_TEXT_MAX];
    lj_config_value_text(base, key, text, sizeof text);
    for (int run = 0; run < report->runs; run++) {
        lj_config_value_text(report->run[run].config, key, other, sizeof other);
        if (strcmp(text, other) != 0)
            return true;
    }
    return which == ALL;
}

static int list_settings(struct lj_report *report, const char *summary,
                         const struct lj_config *base, enum which which)
{
    const char **heading = lj_alloc_array(report->runs + 2, sizeof *heading, "report");
    int count = 0;
    const struct lj_key *key = lj_config_keys(&count);
    if (!heading)
        return LJ_ERR_RESOURCE;
    heading[0] = "setting";
    for (int run = 0; run < report->runs; run++)
        heading[run + 1] = report->run[run].name;
    heading[report->runs + 1] = "what it says";
    lj_table_begin(report, summary, which != ALL, heading, report->runs + 2);
    for (int i = 0; i < count; i++) {
        if (key[i].role == LJ_KEY_ARGUMENT || !belongs(report, &key[i], base, which))
            continue;
        lj_row_begin(report, key[i].name);
        for (int run = 0; run < report->runs; run++) {
            char text[LJ_TEXT_MAX];
            lj_config_value_text(report->run[run].config, &key[i], text, sizeof text);
            lj_cell_text(report, text);
        }
        lj_cell_text(report, key[i].text);
    }
    lj_table_end(report);
    lj_free(heading);
    return LJ_OK;
}

int lj_report_settings(struct lj_report *report)
{
    struct lj_config *defaults = lj_alloc(sizeof *defaults, "report");
    if (!defaults)
        return LJ_ERR_RESOURCE;
    lj_config_defaults(defaults);
    lj_text_add(&report->page, "<h2>Settings</h2>\n");
    int status = LJ_OK;
    if (report->runs > 1)
        status =
            list_settings(report, "In which the runs differ", report->run[0].config, DIFFERING);
    if (status == LJ_OK)
        status = list_settings(report, "Other than the defaults", defaults, CHANGED);
    if (status == LJ_OK)
        status = list_settings(report, "All settings", defaults, ALL);
    lj_free(defaults);
    return status;
}
