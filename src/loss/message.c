/* SPDX-License-Identifier: Apache-2.0 */
/* The step's message: the objective's sums and, in the same buffer, what ranks tell each other at
 * every step (samples, failures, nonfinite values, requests to stop and to save). One allreduce of
 * integers, so that neither the number of ranks nor MPI's algorithm can change a bit. */
#include "loss/objective.h"

#include <string.h>

enum { CHUNK = 4096 }; /* sums that a thread adds up at once: they stay in its cache */

/* All workers' sums [first, end) into the first worker's. */
static void add_workers(struct lj_objective *o, int64_t first, int64_t end)
{
    for (int s = 1; s < o->workers; s++)
        for (int64_t i = first; i < end; i++)
            o->sums[0][i] += o->sums[s][i];
}

/* All workers into the first; a rank that failed contributes nothing but its failure. Threads take
 * different sums; these are integers, so that their order is free anyway. */
static int64_t *collect_workers(struct lj_objective *o, int local)
{
    int64_t count = o->count + LJ_MESSAGE_SCALARS, *total = o->sums[0];
#pragma omp parallel for schedule(static) num_threads(o->workers) if (o->workers > 1)
    for (int64_t first = 0; first < count; first += CHUNK)
        add_workers(o, first, lj_min_i64(first + CHUNK, count));
    if (local != LJ_OK)
        memset(total, 0, (size_t)count * sizeof *total);
    total[o->count + LJ_MESSAGE_FAILED] = local != LJ_OK;
    return total;
}

int lj_objective_reduce(struct lj_objective *o, int local, struct lj_step_message *message,
                        double term[LJ_TERMS_MAX])
{
    int64_t *sums = collect_workers(o, local), *scalar = sums + o->count;
    scalar[LJ_MESSAGE_STOP] = message->stop;
    scalar[LJ_MESSAGE_SAVE] = message->save;
    lj_sum_exact(o->comm, o->ledger, sums, o->count + LJ_MESSAGE_SCALARS);
    if (scalar[LJ_MESSAGE_FAILED] > 0)
        return lj_agree(o->comm, local);
    *message = (struct lj_step_message){.samples = scalar[LJ_MESSAGE_SAMPLES],
                                        .nonfinite = scalar[LJ_MESSAGE_NONFINITE],
                                        .stop = scalar[LJ_MESSAGE_STOP],
                                        .save = scalar[LJ_MESSAGE_SAVE]};
    if (o->kind->exchange)
        o->kind->exchange(o->state, message->samples);
    o->kind->finish(o->state, sums, lj_max_i64(message->samples, 1), term);
    return LJ_OK;
}
