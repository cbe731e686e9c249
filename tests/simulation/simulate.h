/* SPDX-License-Identifier: Apache-2.0 */
/* Private to tests/simulation. A step without its arithmetic: the communication of training, by the
 * functions that training calls, between sleeps that last as long as the arithmetic did where it
 * was measured. Under SimGrid's SMPI (smpicc, smpirun) sleeping and sending take simulated time;
 * under another MPI real time, on real links.
 *
 *     simulate.c        arguments, the ranks' results as one line of JSON
 *     step.c            the step: sleeps, and the calls of comm in the order of a training step
 *     description.c     what a step computes and sends, from the scale.json of `lejepa_mpi scale`
 *
 * and for smpicc (build.sh)
 *
 *     folded_memory.c     lj_alloc whose large blocks share their pages
 *     joined_messages.c   what SMPI would be too slow for
 *     node_memory.c       memory that the ranks of a node share, and what goes through it
 *     renamed_calls.h     leads calls there */
#ifndef SIMULATION_SIMULATE_H
#define SIMULATION_SIMULATE_H

#include "comm/comm.h"

/* One of the small messages of a step. */
struct sim_message {
    char name[32], collective[32]; /* as in the ledger */
    double calls;                  /* of a step */
    int64_t bytes;                 /* of a call; of a lane, where every lane's are gathered */
    bool gathers;
};

/* What a step computes and sends, from the rung of mode weak on most ranks of one node; from the
 * first rung where there is none of that mode. */
struct sim_description {
    char objective[32];
    int ranks;             /* of that rung */
    int64_t lanes_of_rank; /* the same on every rank */
    int workers;           /* lanes that a rank works on at once */
    double step_s;         /* least of the repeats */
    int buckets;
    int64_t *bounds; /* (buckets + 1) owned */
    bool fast;       /* reduce=fast */
    bool *rounded;   /* comm.gradients=bf16: (bounds[buckets] / LJ_SHARD_ALIGN) all true; or NULL */
    enum lj_comm_exchange exchange; /* comm.exchange */
    bool clips;                     /* the norm is needed in every step */
    double phase_s[LJ_PHASE_COUNT]; /* of a step, on the slowest rank each */
    int messages;
    struct sim_message message[LJ_LEDGER_MAX];
};

/* What is simulated instead of what was measured. */
struct sim_assumed {
    double faster;        /* how many times as fast cores are, in all that they do */
    double bf16;          /* how many times as fast, besides, where products could be bf16's */
    const char *exchange; /* comm.exchange; NULL: as measured */
};

/* Reads scale.json. Local. Errors: LJ_ERR_DATA, LJ_ERR_RESOURCE. */
int sim_description_read(struct sim_description *description, const char *path,
                         const struct sim_assumed *assumed) LJ_MUST_USE;
void sim_description_release(struct sim_description *description); /* local */

/* What steps took. */
struct sim_result {
    double step_s;    /* mean of the steps, on the slowest rank */
    double compute_s; /* of a step: what every rank sleeps */
    bool nodes_exchange;
    struct lj_ledger ledger;
};

/* Runs a step that is not counted, then `steps` that are. Collective.
 *   slices  in  into how many pieces a bucket's backward and the views are cut: between them
 *               communication is let progress, as training does between layers and views
 *   result  out  ledger: this rank's
 * Errors: LJ_ERR_RESOURCE. */
int sim_steps(struct lj_comm *comm, const struct sim_description *description, int steps,
              int slices, struct sim_result *result) LJ_MUST_USE;

/* The plan of the reduction on so many ranks. Local. */
struct lj_gradsync_plan sim_plan(const struct sim_description *description, int ranks);
/* Seconds that a rank computes in a step on so many ranks: the optimiser's shrink with its share,
 * and what compares a rank's rows with all lanes' grows with them. Local. */
double sim_compute_s(const struct sim_description *description, int ranks);
double sim_phase_s(const struct sim_description *description, enum lj_phase phase, int ranks);

#endif
