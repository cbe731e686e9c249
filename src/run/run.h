/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. run: what surrounds training. Beside lejepa/run.h: several runs in one job.
 *
 *     lj_grid_create(&grid, config);                 which runs
 *     lj_sweep(comm, config, grid, code);            makes them
 *     lj_grid_dir(grid, k, dir);                     where the k-th is */
#ifndef LEJEPA_RUN_RUN_H
#define LEJEPA_RUN_RUN_H

#include "lejepa/run.h"

#include "comm/comm.h"
#include "data/data.h"
#include "store/store.h"

/* `collapse` of metrics.jsonl (loss/loss.h) from which on a run has collapsed. */
#define LJ_COLLAPSED 0.9

/* Says what eval.holdout=-1 stands for in this run. Local.
 * Errors: LJ_ERR_CONFIG: rows to evaluate are named twice. */
int lj_run_resolve_holdout(struct lj_config *config) LJ_MUST_USE;
/* Takes the rows that are held out from those that train. Collective.
 *   every     in   eval.holdout; 0: none are
 *   held_out  out  how many
 * Errors: LJ_ERR_DATA (none is left, or none held out), LJ_ERR_RESOURCE; agreed. */
int lj_run_hold_out(struct lj_archive *archive, struct lj_comm *comm, int64_t every,
                    int64_t *held_out) LJ_MUST_USE;

enum { LJ_GRID_NAME_MAX = 256 }; /* bytes of a point's name, with its NUL */

/* The points of a grid: every combination of the values of some settings. */
struct lj_grid;
/* Reads grid= and checks the values of every point. Local.
 *   grid    out  owned by the caller: lj_grid_destroy
 *   config  in   what all points share; borrowed for the life of the grid
 * Errors: LJ_ERR_CONFIG, LJ_ERR_RESOURCE. */
int lj_grid_create(struct lj_grid **grid, const struct lj_config *config) LJ_MUST_USE;
void lj_grid_destroy(struct lj_grid *grid); /* accepts NULL */
/* How many points there are. The last setting changes from each to the next. Local. */
int lj_grid_points(const struct lj_grid *grid);
/* The name of a point, "loss.lambda_0.02,optim.lr_0.001", and its directory run.dir/NAME. Local. */
void lj_grid_name(const struct lj_grid *grid, int point, char name[LJ_GRID_NAME_MAX]);
void lj_grid_dir(const struct lj_grid *grid, int point, char dir[LJ_PATH_MAX]);
/* The settings of a point, run.dir among them. Local. */
int lj_grid_config(const struct lj_grid *grid, int point, struct lj_config *config) LJ_MUST_USE;

/* How many runs lj_sweep makes at once: of `ranks` ranks each or, with ranks=0, as many as divide
 * the ranks evenly and have a point each. Local. */
int lj_sweep_groups(int size, int64_t ranks, int points);

/* Makes the runs of a grid, several at once on groups of ranks; each group takes the next one that
 * nobody has taken. A run that ends with an error on all its ranks is noted, and the others go on.
 * Started again, it leaves out runs that are finished, and those that have failed three times
 * without getting ahead; the others continue from their checkpoints. Collective.
 *   config  in   run.dir, ranks=, run.max_seconds (of the whole sweep)
 *   code    out  (points) exit code of each run, 0 for those finished; the same on every rank
 * Errors, the same on every rank: LJ_ERR_CONFIG, LJ_ERR_RESOURCE (run.dir); LJ_STOPPED; never that
 * of a run. */
int lj_sweep(struct lj_comm *comm, const struct lj_config *config, const struct lj_grid *grid,
             int64_t *code) LJ_MUST_USE;

#endif
