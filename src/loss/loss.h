/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. loss: what training minimises. Objectives stand in one table (objective.c):
 * LeJEPA (lejepa.c, with its parts sigreg.c and prediction.c), BYOL (byol.c), DINO (dino.c), SimCLR
 * (simclr.c), VICReg (vicreg.c) and, on labels, supervised (supervised.c). Whoever trains does not
 * know which of them runs:
 *
 *     lj_objective_find("lejepa", &kind)                     a row of the table
 *     lj_objective_create(&objective, comm, kind, &config, &shape, &ledger)
 *     lj_objective_begin(objective, step)                    what the objective draws for this step
 *     lj_objective_add(objective, &lane)                     for each lane: its share of all sums
 *     lj_objective_reduce(objective, local, &message, term)  the one small allreduce, then the loss
 *     lj_objective_gradient(objective, &lane, dproj)         for each lane: d(loss)/d(proj)
 *     lj_objective_advance(objective)                        the weights were updated
 *
 * or, for SIGReg alone, once, of any array:
 *     lj_sigreg(comm, rows, n, width, slices, step, &value, gradient) */
#ifndef LEJEPA_LOSS_LOSS_H
#define LEJEPA_LOSS_LOSS_H

#include "lejepa/config.h"
#include "lejepa/loss.h"

#include "base/base.h"
#include "comm/comm.h"

/* ---- a row of the table ------------------------------------------------------------------ */

/* What an objective can ask of the trainer besides projections. The trainer says in struct
 * lj_objective_shape what it gives; lj_objective_create refuses a row that asks for more. Where
 * each of them goes:
 *
 *   LABELS     the class of each sample. The trainer keeps rows without a label out, numbers the
 *              classes (train/labels.c) and puts `labels` into struct lj_loss_lane.
 *   PREDICTOR  a head behind the projector. `models` builds it as a third net over the same table
 *              of parameters, so that optimiser, gradient tree and checkpoints take it as they take
 *              the projector; the trainer runs it as one more pass behind the projector's, and
 *              `proj` of struct lj_loss_lane, with its gradient, is what it gives.
 *   AVERAGE    projections of the global views by a moving average of the network, the target. The
 *              trainer keeps the average beside the weights (train/average.c), runs it forward
 *              only, and checkpoints it as /average; `averaged` of struct lj_loss_lane.
 *   STATE      arrays of the objective's own that outlive a step, like a centre. The row names them
 *              (`arrays`) and moves them on when weights are updated (`advance`); a checkpoint
 *              stores them as /objective/NAME. They must be the same on every rank: made from what
 *              came through a reduction.
 *   PROTOTYPES directions that are learned, behind the projector. They are a third net as a
 *              predictor is, but the target runs it, too: `proj` and `averaged` of struct
 *              lj_loss_lane are cosines with them.
 *
 * What a row needs of other ranks beside sums (all projections for negatives, several rounds of
 * centring) it exchanges itself: `connect` and `exchange` below. */
enum lj_objective_need {
    LJ_NEED_LABELS = 1,
    LJ_NEED_PREDICTOR = 2,
    LJ_NEED_AVERAGE = 4,
    LJ_NEED_STATE = 8,
    LJ_NEED_PROTOTYPES = 16,
};

/* Prototypes where dino.prototypes leaves their number open. */
enum { LJ_PROTOTYPES = 4096 };

/* The problem that an objective is made for. */
struct lj_objective_shape {
    int64_t views;        /* V of a sample */
    int64_t global_views; /* the first so many of them */
    int64_t width;        /* D, with prototypes their number */
    double epoch;         /* steps of one, may be a fraction: where settings count epochs */
    int64_t lanes;        /* of the global batch, at most: what sums must have room for */
    int64_t my_lanes;     /* of this rank */
    int64_t lane_rows;    /* n: samples of a lane, at most */
    int workers;          /* lanes worked on at once (threads) */
    bool caches;          /* the objective may keep arrays of a lane from `add` to `gradient` */
    unsigned gives;       /* enum lj_objective_need: what the caller gives */
    const int64_t
        *class_rows; /* (D) training rows of each class, where the row classifies; borrowed
                                  during creation */
};

/* A lane of this rank, worked on by one thread. */
struct lj_loss_lane {
    int worker;        /* 0 .. workers - 1: which of the lanes worked on at once */
    int64_t index;     /* counts this rank's lanes from 0 */
    int64_t n;         /* samples */
    const float *proj; /* (V, n, D) view-major, global views first; with a predictor predictions,
                          with prototypes cosines */
    const float *averaged; /* (global views, n, D) projections, or cosines, by the average of the
                              network; NULL unless the row needs them */
    const int32_t *labels; /* (n) class of each sample, from 0 on; NULL unless the row needs
                                 them */
};

/* Name of a term in metrics.jsonl and in lines of the log, there with so many decimals. */
struct lj_term {
    const char *name;
    int decimals;
};

/* One of the messages of a step, by its formula. */
struct lj_objective_traffic {
    const char *name, *collective; /* as in the ledger */
    int64_t bytes;                 /* that a rank puts in, the one with the most lanes */
    const char *formula;           /* of bytes, where every rank has N / P samples */
};
/* The most messages of a row. */
enum { LJ_TRAFFIC_MAX = 4 };

/* An objective: one row, one file. Sums over samples are integers (fixed point), so that their bits
 * depend on the lanes only: `add` adds a lane's share, rounded once per block of LJ_BLOCK_ROWS
 * rows; everything behind the reduction is computed from the totals by each rank alike. */
struct lj_objective_kind {
    const char *name; /* value of the setting `objective` */
    const char *text; /* a line: what it is, and its source */
    unsigned needs;   /* enum lj_objective_need */
    bool classifies;  /* its projections are logits of the classes, made by a linear classifier */
    bool compares_views; /* of a sample, so that it takes two at least */
    /* The loss depends on how long projections are. Where it does not, no figure of an evaluation
     * does: SIGReg, and a covariance beside the identity, would tell of chance. */
    bool sees_lengths;
    /* The small allreduce: its name in the ledger, and what its bytes do not depend on. */
    const char *message, *message_text;
    const char *heuristics;            /* what keeps it from collapse, and has to be tuned */
    const char *against_collapse;      /* advice when the projections collapse: "raise ..." */
    const char *fewer_sums;            /* advice when memory is short: what makes sums fewer */
    struct lj_term term[LJ_TERMS_MAX]; /* [0] the loss, then its parts; ends at a NULL name */

    /* Local: what it refuses, known before there is an archive; NULL: nothing. Errors:
     * LJ_ERR_CONFIG, naming the key. */
    int (*check)(const struct lj_config *config, const struct lj_objective_shape *shape);
    /* Local. Reads the objective's settings from config, which were checked.
     *   state  out  of the objective, released by destroy
     *   sums   out  number of integers that it sums
     * Errors: LJ_ERR_CONFIG, LJ_ERR_RESOURCE. */
    int (*create)(void **state, int64_t *sums, const struct lj_config *config,
                  const struct lj_objective_shape *shape);
    void (*destroy)(void *state); /* accepts NULL */
    /* For a row that exchanges more than sums; NULL: it does not. Local, behind create; lanes are
     * dealt as lj_lanes_of_rank says, and all but the last of the batch have lane_rows samples.
     *   comm    in  borrowed for the life of state
     *   ledger  in  gets a line for each message, with what is predicted for it; NULL: not booked
     * Errors: LJ_ERR_RESOURCE. */
    int (*connect)(void *state, struct lj_comm *comm, struct lj_ledger *ledger);
    /* What is drawn for a step, by (seed, step): the same on every rank. NULL: nothing. */
    void (*begin)(void *state, int64_t step);
    /* Adds a lane's samples to sums. Lanes of different workers run in parallel threads.
     *   nonfinite  in/out  counts values that are not finite or out of range, which contribute 0 */
    void (*add)(void *state, const struct lj_loss_lane *lane, int64_t *sums, int64_t *nonfinite);
    /* Goes with connect: the exchange, behind the message, unless a rank has failed. Collective.
     *   samples  in  N of the global batch, 0 allowed */
    void (*exchange)(void *state, int64_t samples);
    /* From the totals to the terms, and to what the gradient needs. sums stay as they are until
     * `begin`.
     *   samples  in   N of the global batch, at least 1
     *   term     out  in the order of `term` above */
    void (*finish)(void *state, const int64_t *sums, int64_t samples, double term[LJ_TERMS_MAX]);
    /* dproj (V, n, D) out = d(loss)/d(proj), overwritten; parallel as add. */
    void (*gradient)(void *state, const struct lj_loss_lane *lane, float *dproj);
    /* Of a row that carries something from step to step; NULL: it does not. What finish has
     * made becomes what the next step begins with: the weights were updated. */
    void (*advance)(void *state);
    /* Goes with advance: names its arrays.
     *   array  out  (LJ_STATE_ARRAYS_MAX)
     * Returns their number. */
    int (*arrays)(void *state, struct lj_state_array *array);
    /* How much of a collapse the terms show: about 1 or above where all projections are one point,
     * much less in a healthy run that has left its beginning. NULL: they cannot tell. */
    double (*collapse)(const struct lj_config *config, const double *term);
    /* Local: what a step of so many ranks moves, known without them. NULL: it has no formula.
     *   traffic  out  (LJ_TRAFFIC_MAX), the message first
     * Returns the number of messages. */
    int (*traffic)(struct lj_objective_traffic *traffic, const struct lj_config *config,
                   const struct lj_objective_shape *shape, int ranks);
    /* The settings in a line, for the log. */
    void (*describe)(const struct lj_config *config, char *text, size_t capacity);
};

/* The row of that name. Local. Errors: LJ_ERR_CONFIG with the names there are. */
int lj_objective_find(const char *name, const struct lj_objective_kind **kind) LJ_MUST_USE;
extern const struct lj_objective_kind lj_objective_byol, lj_objective_dino, lj_objective_lejepa,
    lj_objective_simclr, lj_objective_supervised, lj_objective_vicreg;

/* Does the objective of that name need one of these (enum lj_objective_need)? One that is not known
 * needs nothing; lj_objective_find tells of it. Local. */
bool lj_objective_asks(const char *name, unsigned needs);

/* Row i of the table; NULL behind the last. Local. */
const struct lj_objective_kind *lj_objective_at(int i);

/* Can it work on such a shape, with these settings? What it needs of the trainer is not looked at.
 * Local. Errors: LJ_ERR_CONFIG. */
int lj_objective_check(const struct lj_objective_kind *kind, const struct lj_config *config,
                       const struct lj_objective_shape *shape) LJ_MUST_USE;

/* Number of terms that the row names. */
int lj_objective_terms(const struct lj_objective_kind *kind);

/* ---- an objective at work ---------------------------------------------------------------- */

struct lj_objective;

/* Local. comm is borrowed; ledger may be NULL.
 *   objective  out  owned by the caller
 * Errors: LJ_ERR_CONFIG (settings, shape, or a need that shape->gives does not cover),
 * LJ_ERR_RESOURCE. Cost: 8 (sums + 5) bytes for each worker, and what the row takes. */
int lj_objective_create(struct lj_objective **objective, struct lj_comm *comm,
                        const struct lj_objective_kind *kind, const struct lj_config *config,
                        const struct lj_objective_shape *shape,
                        struct lj_ledger *ledger) LJ_MUST_USE;
void lj_objective_destroy(struct lj_objective *objective); /* accepts NULL */

/* Clears the sums and draws what the step needs. Local; the same on every rank. */
void lj_objective_begin(struct lj_objective *objective, int64_t step);

/* Adds one lane's samples. Local; lanes of different workers may run in parallel threads. Every
 * sample belongs to one call on one rank; the bits depend on the lanes only, whoever adds them in
 * which order. */
void lj_objective_add(struct lj_objective *objective, const struct lj_loss_lane *lane);

/* What rides with the objective's sums in the one small allreduce of a step. */
struct lj_step_message {
    int64_t samples;    /* out: N of the global batch */
    int64_t nonfinite;  /* out: values that were not finite or out of range, all ranks */
    int64_t stop, save; /* in: this rank asks for it (0, 1); out: how many ranks do */
};

/* Sums over all workers and ranks, and the loss from them. Collective; ranks without samples take
 * part.
 *   local  in   this rank's status so far. A rank that failed contributes nothing but its failure.
 *   term   out  the loss and its parts; the same bits on every rank
 * Errors: the agreed status if any rank passed local != LJ_OK; then only the error text is defined.
 * Cost: one allreduce of 8 (sums + 5) bytes, and the row's exchange. */
int lj_objective_reduce(struct lj_objective *objective, int local, struct lj_step_message *message,
                        double term[LJ_TERMS_MAX]) LJ_MUST_USE;

/* d(loss)/d(proj) of one lane, after the reduction. Local; parallel workers. The lane is that of
 * lj_objective_add.
 *   dproj  (V, n, D) out, overwritten; may not alias lane->proj */
void lj_objective_gradient(struct lj_objective *objective, const struct lj_loss_lane *lane,
                           float *dproj);

/* Tells that the weights were updated by this gradient, so that what the objective carries on
 * belongs to them. Not after a step without an update. Local; the same on every rank. */
void lj_objective_advance(struct lj_objective *objective);

/* What it carries from step to step, borrowed: a checkpoint keeps it, and a run that continues
 * writes it there before its first step, on every rank the same. Local.
 *   array  out  (LJ_STATE_ARRAYS_MAX)
 * Returns the number of arrays; 0: nothing. */
int lj_objective_arrays(const struct lj_objective *objective, struct lj_state_array *array);

/* ---- LeJEPA (Balestriero & LeCun 2025, arXiv 2511.08544 v3) ------------------------------ */

/* Its terms. */
enum lj_lejepa_term { LJ_LEJEPA_LOSS, LJ_LEJEPA_PREDICTION, LJ_LEJEPA_SIGREG };

/* loss = lambda SIGReg + (1 - lambda) prediction (convex), or lambda SIGReg + prediction. */
struct lj_lejepa_config {
    int64_t views;        /* V */
    int64_t centre_views; /* the first so many views make the prediction's centre */
    int64_t width;        /* D */
    int64_t slices;       /* M */
    enum lj_sigreg_grid grid;
    double lambda;
    bool additive;
    int64_t seed;
    int workers;       /* lanes worked on at once (threads) */
    int64_t lanes;     /* of the global batch, at most: what sums must have room for */
    int64_t lane_rows; /* n: samples of a lane, at most */
    /* Lanes 0 to cached_lanes - 1 of this rank keep their projections on the slices for the
     * gradient, 4 V n M bytes each; others make them again, with the same bits. */
    int64_t cached_lanes;
};

/* The objective LeJEPA with these settings instead of those of a run; all else as
 * lj_objective_create. Its message has 8 (2 V M K + 6) bytes. */
int lj_lejepa_create(struct lj_objective **objective, struct lj_comm *comm,
                     const struct lj_lejepa_config *config, struct lj_ledger *ledger) LJ_MUST_USE;

/* lj_objective_begin with the caller's slices (D, M); their columns are normalised here. Local. */
void lj_lejepa_begin_with(struct lj_objective *lejepa, const float *slices);

/* SIGReg of each slice: (M) statistic of slice m, mean over views. Local, after the reduction. */
void lj_lejepa_slice_values(const struct lj_objective *lejepa, double *values);

/* Direction m of this step: (D) of length 1. Local. Borrowed until the next begin. */
const float *lj_lejepa_slice(const struct lj_objective *lejepa, int64_t m);

/* How many of this rank's lanes can keep their projections in the 64 MiB a rank has for that. */
int64_t lj_lejepa_cached_lanes(const struct lj_lejepa_config *config, int64_t lanes);

/* Useful knots t > 0 of a grid and their weights, window and symmetry included: EP = N sum_k
 * weight[k] ((C - phi)^2 + S^2). Returns their number K; arrays of LJ_KNOTS_MAX. */
enum { LJ_KNOTS_MAX = 16 };
int lj_sigreg_knots(enum lj_sigreg_grid grid, double *t, double *weight);

/* SIGReg of N samples that are all 0, divided by N. */
double lj_sigreg_collapsed(enum lj_sigreg_grid grid);

#endif
