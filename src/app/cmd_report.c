/* SPDX-License-Identifier: Apache-2.0 */
/* report: what runs left, as a page. Rank 0 writes it. */
#include "app/app.h"
#include "app/report/report.h"

int lj_command_report(struct lj_comm *comm, struct lj_config *config,
                      const struct lj_call_words *words)
{
    if (words->paths == 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "report: give the directory of a run, or of several: lejepa_mpi report "
                       "runs/* out=report.html");
    int status = LJ_OK;
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm))
        status = lj_report_write(words->path, words->paths, config->arg_out);
    return lj_root_section_end(comm, status);
}
