/* SPDX-License-Identifier: Apache-2.0 */
/* What the newest checkpoint's embeddings look like. One part of the page for each run, one figure
 * of all spectra; a figure is a file. */
#include "app/report/report.h"
#include "app/report/sample.h"

static void introduce(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = report->run[run].sample;
    struct lj_text *page = &report->page;
    lj_text_add(page, "<h3>");
    lj_text_html(page, report->run[run].name);
    lj_text_add(page, "</h3>\n<p>");
    if (s->rows > 0) {
        lj_text_add(page, "Checkpoint of step %lld, %lld rows, spaced evenly, of ",
                    (long long)s->step, (long long)s->rows);
        lj_text_html(page, s->archive);
        lj_text_add(page, "; width %lld%s", (long long)s->width,
                    s->layers == 2 ? ", features of the last two layers (layers=2)" : "");
    } else {
        lj_text_add(page, "No embeddings: ");
        lj_text_html(page, s->why);
    }
    lj_text_add(page, "</p>\n");
}

int lj_report_embeddings(struct lj_report *report)
{
    bool any = false;
    if (!report->run[0].sample)
        return LJ_OK;
    lj_text_add(&report->page, "<h2>Embeddings</h2>\n");
    for (int run = 0; run < report->runs; run++)
        any = any || lj_report_has_rows(report->run[run].sample);
    if (any) {
        lj_text_add(&report->page, "<div class=\"figures\">\n");
        LJ_TRY(lj_report_spectra(report));
        lj_text_add(&report->page, "</div>\n");
    }
    for (int run = 0; run < report->runs; run++) {
        introduce(report, run);
        if (!lj_report_has_rows(report->run[run].sample))
            continue;
        lj_text_add(&report->page, "<div class=\"figures\">\n");
        LJ_TRY(lj_report_map(report, run));
        LJ_TRY(lj_report_covariance(report, run));
        LJ_TRY(lj_report_slices(report, run));
        LJ_TRY(lj_report_tokens(report, run));
        LJ_TRY(lj_report_attention(report, run));
        LJ_TRY(lj_report_neighbours(report, run));
        LJ_TRY(lj_report_confusion(report, run));
        lj_text_add(&report->page, "</div>\n");
    }
    return LJ_OK;
}
