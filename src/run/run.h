/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. run: what surrounds training. Beside lejepa/run.h: several runs in one job.
 *
 *     lj_grid_create(&grid, config);                 which runs
 *     lj_sweep(comm, config, grid, code);            makes them
 *     lj_grid_dir(grid, k, dir);                     where the k-th is
 *
 * and the same training on several numbers of ranks:
 *
 *     lj_scale_plan(scale, config, comm->size);      the rungs of the ladder
 *     lj_scale_measure(scale, comm, config, archive, keep, data); */
#ifndef LEJEPA_RUN_RUN_H
#define LEJEPA_RUN_RUN_H

#include "lejepa/run.h"

#include "comm/comm.h"
#include "data/data.h"
#include "loss/loss.h"
#include "store/store.h"

#include <jansson.h>

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

/* Reads numbers of ranks: ascending, separated by commas. Local.
 *   key    in   the setting, for messages
 *   text   in   its value; "" or "0": none is given
 *   most   in   numbers
 *   ranks  (most) out
 *   count  out
 * Errors: LJ_ERR_CONFIG. */
int lj_run_read_ranks(const char *key, const char *text, int most, int *ranks,
                      int *count) LJ_MUST_USE;

/* ---- where time went --------------------------------------------------------------------- */

/* Seconds of a phase, over the ranks. */
struct lj_phase_row {
    double min;
    double mean;
    double max;
    int slowest; /* the rank of max */
};
/* The phases of all ranks since the last lj_phase_reset. Collective.
 *   rows  (LJ_PHASE_COUNT) out  on every rank
 * Errors: LJ_ERR_RESOURCE; agreed. */
int lj_run_gather_phases(struct lj_comm *comm, struct lj_phase_row *rows) LJ_MUST_USE;
/* `phases` and `ledger` of timing.json, owned by the caller. Local. */
json_t *lj_run_phases_json(const struct lj_phase_row *rows);
json_t *lj_run_ledger_json(const struct lj_ledger *ledger);

/* ---- sweep ------------------------------------------------------------------------------- */

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

/* ---- scale ------------------------------------------------------------------------------- */

enum { LJ_LADDER_MAX = 32, LJ_SCALE_REPEATS_MAX = 100 };

enum { LJ_RUN_POINTS_MAX = 1024 };

/* An evaluation on the way to an accuracy. */
struct lj_run_point {
    int64_t steps;
    double seconds, found; /* as in struct lj_run_goal */
};
/* An accuracy to train to. */
struct lj_run_goal {
    double knn_top1; /* to be reached by an evaluation; above 1: by none, the run goes to its end */
    /* (LJ_RUN_POINTS_MAX) evaluations, ascending, when there are more every other one; borrowed;
     * NULL: not kept. */
    struct lj_run_point *point;
    int points;
    /* Of the last evaluation: */
    bool reached;
    double found; /* its accuracy */
    int64_t steps;
    double seconds; /* from the start of the run, which reads its archive's index, to its end */
};

/* What a step on some number of ranks should take: what ranks compute from a rung that was
 * measured, communication from the model of the network. */
struct lj_scale_prediction {
    double step_s;       /* NaN: not predicted, or the network was not measured */
    double arithmetic_s; /* lane by lane: views, encoder, projector, objective */
    double update_s;     /* the optimiser, of a rank's shard */
    double data_s;       /* waiting for the batch */
    double rest_s;       /* packing of weights, and what no phase has */
    double efficiency;   /* as of a rung, against the same baseline, which was measured */
    struct lj_step_cost cost;
    char bound[512]; /* a sentence: what takes most of the step */
};

/* The same training on one number of ranks. */
struct lj_scale_rung {
    bool strong; /* batch.size as configured; else so many lanes a rank as on the largest rung */
    int ranks;
    int64_t batch, lanes;
    /* Measured, on rank 0 only. */
    int64_t nodes;
    double setup_s;                        /* of set-up, before the first step */
    double repeat_s[LJ_SCALE_REPEATS_MAX]; /* (repeats) of a step, each a mean over the steps of a
                                              repeat, on the slowest rank */
    double step_s;                         /* their median */
    double step_s_low, step_s_high;        /* the least and the largest of them */
    /* Of the throughput of a rank, as a share of that on the smallest rung of the same mode; the
     * interval is that of the extremes of both. */
    double efficiency, efficiency_low, efficiency_high;
    /* Of the repeats, the share in which a rank only communicates or waits for it, mean of ranks;
     * and what that is of step_s. */
    double exposed_share, exposed_s;
    double imbalance;    /* seconds in which a rank computes, most over mean, less 1 */
    int64_t bytes;       /* that a rank sends or puts into reductions in a step, at most */
    int64_t messages;    /* of a step to one other rank each, at most over ranks */
    int64_t collectives; /* calls of a step in which MPI decides who sends what */
    struct lj_phase_row phase[LJ_PHASE_COUNT];
    struct lj_ledger ledger; /* rank 0's */
    bool same_bits;          /* as on the smallest number of ranks with the same batch */
    int workers;             /* lanes that rank 0 works on at once */
    double flops;            /* of a step, all ranks */
    int64_t memory;          /* bytes that a rank has allocated at once, at most */
    struct lj_scale_prediction prediction; /* from the baseline's arithmetic */
};
/* The same training on a number of ranks that predict= asks for. */
struct lj_scale_foreseen {
    bool strong;
    int ranks;
    int64_t nodes, batch, lanes;
    bool guesses_network; /* no network between nodes was measured, and it is taken for as fast as
                             the memory of a node */
    struct lj_scale_prediction prediction; /* from the arithmetic of the mode's largest rung */
};

/* A scaling study: what is measured, and what was found. */
struct lj_scale {
    int repeats, steps, warmup;
    bool has_target;
    int trained;                            /* to the target, so far; rank 0's */
    struct lj_run_goal goal[LJ_LADDER_MAX]; /* (counts) of training on each number of ranks */
    int ladder[LJ_LADDER_MAX], counts;      /* (counts) numbers of ranks, ascending */
    int rungs, measured;                    /* how many, and how many so far; the latter rank 0's */
    struct lj_scale_rung rung[2 * LJ_LADDER_MAX]; /* (rungs) strong ones first, ascending */
    char model[256];                              /* what it is, in words; rank 0's */
    int64_t parameters;
    int threads;        /* of a rank; rank 0's */
    int buckets;        /* of gradients; rank 0's, as bounds */
    int64_t *bounds;    /* (buckets + 1) first parameter of each; owned: lj_scale_release */
    bool *trained_only; /* as in lj_params; owned as bounds are */
    int foreseen_count;
    struct lj_scale_foreseen foreseen[2 * LJ_LADDER_MAX]; /* strong ones first, ascending */
};
/* Plans the rungs. Local.
 *   scale   out
 *   config  in   mode, ranks, repeats, steps, warmup, target, out; batch.size of the largest rung
 *   size    in   ranks of the job
 * Errors: LJ_ERR_CONFIG: these and the ranks do not go together. */
int lj_scale_plan(struct lj_scale *scale, const struct lj_config *config, int size) LJ_MUST_USE;
/* Trains on the first ranks of comm, on one rung after the other, and measures; no checkpoints, no
 * evaluation. The others wait without using their cores. Before that, the first two steps of each
 * batch are trained on the smallest number of ranks, for their bits. Collective; all ranks have
 * agreed on a level.
 *   scale    in/out  planned; what is measured is rank 0's
 *   archive  in      opened over comm; borrowed
 *   keep     in      called on rank 0 with data when a rung is measured, which a job that is ended
 *                    later has not measured for nothing then; its failure ends the study
 * Errors, the same on every rank: those of training and of keep; never that bits differ. */
int lj_scale_measure(struct lj_scale *scale, struct lj_comm *comm, const struct lj_config *config,
                     struct lj_archive *archive, int (*keep)(void *data), void *data) LJ_MUST_USE;
/* Trains to the goal of target= with batch.size on each number of ranks, one after the other, in
 * run.dir=DIR/target-RANKS each. Collective; all ranks have agreed on a level.
 *   scale    in/out  planned; sets goal on rank 0
 *   config   in      DIR is out=; run.max_seconds of the whole study
 *   begun_s  in      when the study began, by lj_now_s
 * Errors, the same on every rank: those of lj_train, but LJ_ERR_CONFIG for a run that was stopped,
 * as a study cannot be continued, or if there are no labels; never that a goal is not reached. */
int lj_scale_train(struct lj_scale *scale, struct lj_comm *comm, const struct lj_config *config,
                   double begun_s) LJ_MUST_USE;
/* The directory of that run. Local. */
void lj_scale_target_dir(const struct lj_config *config, int ranks, char dir[LJ_PATH_MAX]);
/* Predicts a step of each rung and, with predict=, on other numbers of ranks. Local, on rank 0
 * after rungs were measured.
 *   scale    in/out  measured; out: prediction of each rung, foreseen
 *   config   in      predict=, mode, reduce
 *   network  in      of all ranks; model: fitted to it
 * Errors: LJ_ERR_CONFIG: predict= is no list of ranks; LJ_ERR_RESOURCE. */
int lj_scale_foresee(struct lj_scale *scale, const struct lj_config *config,
                     const struct lj_network *network,
                     const struct lj_network_model *model) LJ_MUST_USE;
/* Predicts the rung that was measured last only. As lj_scale_foresee otherwise. */
int lj_scale_foresee_latest(struct lj_scale *scale, const struct lj_config *config,
                            const struct lj_network *network,
                            const struct lj_network_model *model) LJ_MUST_USE;
/* Checks predict= before hours are spent. Local. Errors: LJ_ERR_CONFIG. */
int lj_scale_check_predict(const struct lj_config *config, int size) LJ_MUST_USE;
/* Frees what a scale owns. Local. */
void lj_scale_release(struct lj_scale *scale);
/* Medians, extremes and efficiencies from the repeats of measured rungs. Local. */
void lj_scale_judge(struct lj_scale *scale);
/* The smallest rung of the same mode. Local. */
const struct lj_scale_rung *lj_scale_baseline(const struct lj_scale *scale,
                                              const struct lj_scale_rung *rung);

/* ---- scale objectives= ------------------------------------------------------------------- */

/* An exponent by least squares of logarithms, and the ends of its 95 % interval; NaN: too few
 * points. */
struct lj_power {
    double exponent, low, high;
};
enum { LJ_POWER_FACTORS_MAX = 3 };
/* Fits y = c x_1^e_1 x_2^e_2 ... Local.
 *   x      (points, factors) in, positive;  y  (points) in, positive
 *   power  (factors) out */
void lj_power_fit(int points, int factors, const double *x, const double *y,
                  struct lj_power *power);

/* What the bytes of an objective may grow with: samples of the batch, width, ranks. */
enum lj_growth { LJ_GROWTH_N, LJ_GROWTH_D, LJ_GROWTH_P, LJ_GROWTHS };

/* Bytes of an objective alone, on projections of this size. */
struct lj_traffic_point {
    enum lj_growth along; /* which series it is of; in a series only this changes */
    int64_t samples, width;
    int ranks;
    int64_t bytes, formula_bytes; /* measured; by the formula */
};
enum { LJ_SERIES = 4, LJ_FORMULA_SERIES = 5 }; /* points of a series, each twice the one before */

/* An objective with the settings of the run, on all ranks; what is measured is rank 0's. */
struct lj_compared {
    const struct lj_objective_kind *kind;
    struct lj_objective_shape shape;
    int messages; /* 0: it has no formula */
    struct lj_objective_traffic traffic[LJ_TRAFFIC_MAX];
    int64_t bytes[LJ_TRAFFIC_MAX];          /* measured, of a step, on the rank that has most */
    double calls[LJ_TRAFFIC_MAX];           /* of a step */
    double loss_share;                      /* arithmetic of the objective, of the steps' time */
    struct lj_power by_formula[LJ_GROWTHS]; /* of bytes, from the run's size to 16 times of it */
    /* Of the objective alone, where it needs no more than projections. */
    int points;
    struct lj_traffic_point point[LJ_GROWTHS * LJ_SERIES];
    struct lj_power measured[LJ_GROWTHS];
    /* Trained, if there are evaluations. */
    struct lj_run_goal goal;
    double found_within; /* kNN of the last evaluation within the seconds of the fastest run; NaN:
                            there was none by then */
};

/* Seconds of SIGReg on one core, forward and backward. */
struct lj_sigreg_time {
    int64_t samples, slices, width;
    double seconds; /* the least of the repeats */
};
enum { LJ_SIGREG_TIMES = 27, LJ_SIGREG_FACTORS = 3 };

enum { LJ_COMPARED_MAX = 16 };
struct lj_comparison {
    struct lj_scale *scale; /* owned: its rungs are the objectives */
    int count, measured, trained;
    struct lj_compared objective[LJ_COMPARED_MAX];
    double within_s; /* seconds of the fastest run; 0: none was trained */
    bool sigreg_timed;
    struct lj_sigreg_time sigreg[LJ_SIGREG_TIMES];
    struct lj_power sigreg_power[LJ_SIGREG_FACTORS]; /* in samples, slices, width */
};
/* Reads objectives=. Local.
 *   comparison  out  owned by the caller: lj_comparison_release, also after a failure
 *   size        in   ranks of the job
 * Errors: LJ_ERR_CONFIG: there is none of that name, it needs labels, or arguments do not go
 * together; LJ_ERR_RESOURCE. */
int lj_comparison_plan(struct lj_comparison *comparison, const struct lj_config *config,
                       int size) LJ_MUST_USE;
/* Trains some steps with each objective, measures objectives alone and, with eval.every, trains
 * each to its end in out=/objective-NAME. Collective; all ranks have agreed on a level.
 *   comparison  in/out  planned; what is measured is rank 0's
 *   archive     in      opened over comm; borrowed
 *   keep        in      called on rank 0 with data when an objective is measured or trained; its
 *                       failure ends the comparison
 * Errors, the same on every rank: those of training and of keep; LJ_STOPPED. */
int lj_comparison_measure(struct lj_comparison *comparison, struct lj_comm *comm,
                          const struct lj_config *config, struct lj_archive *archive,
                          int (*keep)(void *data), void *data) LJ_MUST_USE;
/* within_s, and what each run so far had found by then. Local. */
void lj_comparison_judge(struct lj_comparison *comparison);
void lj_comparison_release(struct lj_comparison *comparison); /* local */
/* out=/objective-NAME. Local. */
void lj_comparison_dir(const struct lj_config *config, const char *name, char dir[LJ_PATH_MAX]);

#endif
