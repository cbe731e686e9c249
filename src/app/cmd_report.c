/* SPDX-License-Identifier: Apache-2.0 */
/* report: what runs left, as a page. All ranks embed; rank 0 reads the runs and writes the page. */
#include "app/app.h"
#include "app/report/report.h"
#include "app/report/sample.h"

#include "lejepa/runtime.h"

/* A sample for each run. report: rank 0's */
static int make_samples(struct lj_report *report, struct lj_comm *comm,
                        const struct lj_config *config, const struct lj_call_words *words,
                        struct lj_report_sample *samples, int runs)
{
    const char *isa = "";
    int threads = 1;
    LJ_TRY(lj_agree(comm, lj_threads_use(config->threads, &threads)));
    LJ_TRY(lj_runtime_agree(comm, &isa));
    for (int run = 0; run < runs; run++) {
        const char *dir = lj_comm_is_root(comm) ? report->run[run].dir : "";
        LJ_TRY(lj_report_sample_make(&samples[run], comm, dir, config->arg_sample, config, words));
        if (lj_comm_is_root(comm))
            report->run[run].sample = &samples[run];
    }
    return LJ_OK;
}

static int write_page(struct lj_report *report, struct lj_comm *comm)
{
    int status = LJ_OK;
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm))
        status = lj_report_write(report);
    return lj_root_section_end(comm, status);
}

static int report_runs(struct lj_report *report, struct lj_comm *comm,
                       const struct lj_config *config, const struct lj_call_words *words)
{
    int status = LJ_OK;
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm))
        status = lj_report_open(report, words->path, words->paths, config->arg_out);
    LJ_TRY(lj_root_section_end(comm, status));
    int runs = report->runs;
    lj_broadcast(comm, &runs, sizeof runs, 0);
    struct lj_report_sample *samples = lj_alloc_array(runs, sizeof *samples, "report");
    status = lj_agree(comm, samples ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK && config->arg_sample > 0)
        status = make_samples(report, comm, config, words, samples, runs);
    if (status == LJ_OK)
        status = write_page(report, comm);
    for (int run = 0; samples && run < runs; run++)
        lj_report_sample_free(&samples[run]);
    lj_free(samples);
    return status;
}

int lj_command_report(struct lj_comm *comm, struct lj_config *config,
                      const struct lj_call_words *words)
{
    static struct lj_report report; /* too large for the stack */
    if (words->paths == 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "report: give the directory of a run, or of several: lejepa_mpi report "
                       "runs/* out=report.html");
    int status = report_runs(&report, comm, config, words);
    lj_report_close(&report);
    return status;
}
