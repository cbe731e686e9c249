/* SPDX-License-Identifier: Apache-2.0 */
/* What a step of each objective moves: the formulae against the ledger of steps on several ranks,
 * for all rows that need nothing but projections. */
#include "loss/loss.h"

#include "mpi_case.h"
#include "objective_case.h"

#include <stdlib.h>
#include <string.h>

static struct lj_config config;

/* Every message of a row, in number and in bytes. */
static void check_row(struct lj_comm *comm, const struct lj_objective_case *c)
{
    struct lj_objective_traffic traffic[LJ_TRAFFIC_MAX];
    struct lj_objective_shape shape = {.views = c->views,
                                       .width = c->width,
                                       .lanes = (c->samples + c->lane_rows - 1) / c->lane_rows,
                                       .lane_rows = c->lane_rows};
    float *dz = calloc((size_t)(c->views * c->samples * c->width), sizeof *dz);
    struct lj_objective_result r = lj_objective_case_run(comm, c, dz);
    int count = c->kind->traffic(traffic, c->config, &shape, comm->size);
    lj_all_assert(comm, r.status == LJ_OK && count == r.ledger.count, "%s: %d messages, not %d",
                  c->kind->name, r.ledger.count, count);
    for (int i = 0; i < count; i++) {
        const struct lj_ledger_entry *e = &r.ledger.entry[i];
        int64_t bytes = lj_all_max(comm, e->bytes), calls = e->calls;
        int64_t predicted = lj_all_max(comm, e->predicted_bytes_per_call);
        lj_all_assert(comm,
                      strcmp(e->name, traffic[i].name) == 0 &&
                          strcmp(e->collective, traffic[i].collective) == 0 &&
                          traffic[i].formula[0] != 0,
                      "%s is called %s", traffic[i].name, e->name);
        lj_all_assert(comm,
                      calls == 2 && bytes == 2 * traffic[i].bytes && predicted == traffic[i].bytes,
                      "%s: %lld bytes by formula, %lld in %lld calls", e->name,
                      (long long)traffic[i].bytes, (long long)bytes, (long long)calls);
    }
    free(dz);
}

Test(traffic, formulae_agree_with_the_ledger, .timeout = 60)
{
    struct lj_comm *comm = lj_case_begin();
    const struct lj_objective_kind *kind;
    lj_config_defaults(&config);
    config.sigreg_slices = 48;
    for (int grid = LJ_SIGREG_GRID_A; grid <= LJ_SIGREG_GRID_B; grid++) {
        config.sigreg_grid = (enum lj_sigreg_grid)grid;
        for (int i = 0; (kind = lj_objective_at(i)) != NULL; i++) {
            if (!kind->traffic || kind->needs)
                continue;
            struct lj_objective_case c = {.kind = kind,
                                          .config = &config,
                                          .views = 3,
                                          .samples = 28,
                                          .width = 7,
                                          .lane_rows = 4,
                                          .workers = 1};
            float *z = lj_objective_case_numbers(&c, 0, 0.3f, 1.7f);
            c.z = z;
            check_row(comm, &c);
            free(z);
        }
    }
    lj_case_end(comm);
}
