/* SPDX-License-Identifier: Apache-2.0 */
/* sweep: the runs of a grid on groups of the job's ranks, and their order by `rank`. */
#include "app/past_run.h"

#include "run/run.h"

#include <stdio.h>

/* Orders the runs that are finished, if their scores compare. Root. */
static int rank_finished(const struct lj_grid *grid, const int64_t *code,
                         const struct lj_config *config)
{
    int points = lj_grid_points(grid), count = 0;
    char(*dir)[LJ_PATH_MAX] = lj_alloc_array(points, sizeof *dir, "sweep");
    const char **finished = lj_alloc_array(points, sizeof *finished, "sweep");
    int status = dir && finished ? LJ_OK : LJ_ERR_RESOURCE;
    for (int k = 0; status == LJ_OK && k < points; k++)
        if (code[k] == 0) {
            lj_grid_dir(grid, k, dir[count]);
            finished[count] = dir[count];
            count++;
        }
    if (status == LJ_OK && count > 0)
        status = lj_rank_runs(finished, count, config);
    if (status == LJ_ERR_CONFIG || status == LJ_ERR_DATA) { /* the runs are good all the same */
        lj_warn("not ranked: %s", lj_error_text());
        status = LJ_OK;
    }
    lj_free(finished);
    lj_free(dir);
    return status;
}

/* The status of the first run that failed, if any did. */
static int judge(const struct lj_grid *grid, const int64_t *code)
{
    int failed = 0, first = 0;
    for (int k = lj_grid_points(grid) - 1; k >= 0; k--)
        if (code[k] != 0) {
            failed++;
            first = k;
        }
    if (failed == 0)
        return LJ_OK;
    char name[LJ_GRID_NAME_MAX];
    lj_grid_name(grid, first, name);
    return lj_fail(-(int)code[first],
                   "%d of %d runs failed, the first is %s, with code %d; run.dir/sweep/*.json say "
                   "why; the same command tries them again",
                   failed, lj_grid_points(grid), name, (int)code[first]);
}

/* Ranks the runs. A run that failed matters more than a ranking that did. Collective. */
static int conclude(struct lj_comm *comm, const struct lj_config *config,
                    const struct lj_grid *grid, const int64_t *code)
{
    char text[2048];
    lj_root_section_begin(comm);
    int ranked = lj_comm_is_root(comm) ? rank_finished(grid, code, config) : LJ_OK;
    ranked = lj_root_section_end(comm, ranked);
    snprintf(text, sizeof text, "%s", lj_error_text());
    int judged = judge(grid, code);
    if (ranked == LJ_OK || judged == LJ_OK)
        return ranked == LJ_OK ? judged : ranked;
    lj_warn("not ranked: %s", text);
    return judged;
}

static int sweep(struct lj_comm *comm, const struct lj_config *config, const struct lj_grid *grid)
{
    int64_t *code = lj_alloc_array(lj_grid_points(grid), sizeof *code, "sweep");
    int status = lj_agree(comm, code ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = lj_sweep(comm, config, grid, code);
    if (status == LJ_OK)
        status = conclude(comm, config, grid, code);
    lj_free(code);
    return status;
}

int lj_command_sweep(struct lj_comm *comm, struct lj_config *config,
                     const struct lj_call_words *words)
{
    struct lj_grid *grid = NULL;
    (void)words;
    LJ_TRY(lj_agree(comm, lj_use_example(config)));
    int status = lj_agree(comm, lj_grid_create(&grid, config));
    if (status == LJ_OK)
        status = sweep(comm, config, grid);
    lj_grid_destroy(grid);
    return status;
}
