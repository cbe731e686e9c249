/* SPDX-License-Identifier: Apache-2.0 */
/* Where the time of all ranks went: phases, and the lines of the ledger, as tables and JSON. */
#include "run/run.h"

static void judge_phase(const double *all, int size, int p, struct lj_phase_row *row)
{
    *row = (struct lj_phase_row){.min = all[p]};
    for (int r = 0; r < size; r++) {
        double s = all[r * LJ_PHASE_COUNT + p];
        row->mean += s / size;
        row->min = s < row->min ? s : row->min;
        if (s > row->max) {
            row->max = s;
            row->slowest = r;
        }
    }
}

int lj_run_gather_phases(struct lj_comm *comm, struct lj_phase_row *rows)
{
    double mine[LJ_PHASE_COUNT];
    double *all = lj_alloc_array((int64_t)comm->size * LJ_PHASE_COUNT, sizeof *all, "summary");
    int status = lj_agree(comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    for (int p = 0; p < LJ_PHASE_COUNT; p++)
        mine[p] = lj_phase_seconds((enum lj_phase)p);
    if (status == LJ_OK)
        lj_all_gather_f64(comm, mine, LJ_PHASE_COUNT, all);
    for (int p = 0; status == LJ_OK && p < LJ_PHASE_COUNT; p++)
        judge_phase(all, comm->size, p, &rows[p]);
    lj_free(all);
    return status;
}

json_t *lj_run_phases_json(const struct lj_phase_row *rows)
{
    json_t *list = json_array();
    for (int p = 0; p < LJ_PHASE_COUNT; p++)
        if (rows[p].max > 0)
            json_array_append_new(list,
                                  json_pack("{s:s, s:f, s:f, s:f}", "name",
                                            lj_phase_name((enum lj_phase)p), "min_s", rows[p].min,
                                            "mean_s", rows[p].mean, "max_s", rows[p].max));
    return list;
}

json_t *lj_run_ledger_json(const struct lj_ledger *ledger)
{
    json_t *list = json_array();
    for (int i = 0; i < ledger->count; i++) {
        const struct lj_ledger_entry *e = &ledger->entry[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f}", "name", e->name, "collective",
                            e->collective, "calls", (json_int_t)e->calls, "bytes_per_call",
                            (json_int_t)(e->calls ? e->bytes / e->calls : 0),
                            "predicted_bytes_per_call", (json_int_t)e->predicted_bytes_per_call,
                            "seconds", e->seconds, "exposed_seconds", e->exposed_seconds));
    }
    return list;
}
