/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are evaluated and do not train, where no setting names rows to evaluate: one of each
 * eval.holdout consecutive rows of the archive. */
#include "run/run.h"
#include "run/state.h"

enum { HOLDOUT = 10 }; /* what eval.holdout=-1 stands for where rows are held out */

int lj_run_resolve_holdout(struct lj_config *c)
{
    bool named = c->eval_where[0] || c->eval_archive[0];
    if (c->eval_holdout < 0)
        c->eval_holdout = c->eval_every > 0 && !named ? HOLDOUT : 0;
    if (c->eval_holdout > 0 && named)
        return lj_fail(
            LJ_ERR_CONFIG, "eval.holdout=%lld: %s names rows to evaluate, too; give one of them",
            (long long)c->eval_holdout, c->eval_where[0] ? "eval.where" : "eval.archive");
    return LJ_OK;
}

/* One of each `every` consecutive rows of an archive is held out. Which one depends on nothing but
 * its place: not on seed, data.where or ranks. */
static bool is_held_out(int64_t every, int64_t row)
{
    struct lj_rng rng;
    lj_rng_begin(&rng, 0, LJ_DRAW_HOLDOUT, (uint64_t)(row / every), (uint64_t)every, 0);
    return row % every == lj_rng_below(&rng, every);
}

/* An archive, and how many of its rows one is held out of. */
struct holdout {
    const struct lj_archive *archive;
    int64_t every;
};

static bool is_query(void *data, int64_t index)
{
    const struct holdout *h = data;
    return is_held_out(h->every, lj_archive_row(h->archive, index));
}

static bool is_trained(void *data, int64_t index)
{
    return !is_query(data, index);
}

int lj_run_hold_out(struct lj_archive *archive, struct lj_comm *comm, int64_t every,
                    int64_t *held_out)
{
    struct holdout h = {archive, every};
    *held_out = 0;
    if (every == 0)
        return LJ_OK;
    int64_t before = lj_archive_info(archive)->selected;
    LJ_TRY(lj_archive_narrow(archive, comm, is_trained, &h));
    int64_t trained = lj_archive_info(archive)->selected;
    *held_out = before - trained;
    if (trained > 0 && *held_out > 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "eval.holdout=%lld: holds out %lld of %lld rows, expected some, and some to be "
                   "left; name rows to evaluate by eval.where, or choose another eval.holdout",
                   (long long)every, (long long)*held_out, (long long)before);
}

int lj_run_query_held_out(struct lj_archive *archive, struct lj_comm *comm, int64_t every)
{
    struct holdout h = {archive, every};
    return every > 0 ? lj_archive_narrow(archive, comm, is_query, &h) : LJ_OK;
}
