/* SPDX-License-Identifier: Apache-2.0 */
/* A scaling study in one job: rungs one after the other, on the first ranks each, while the others
 * sleep in lj_wait_for_all. Rank 0 is in every rung and keeps what was found. */
#include "run/scale/scale.h"

#include <string.h>

struct study {
    struct lj_comm *comm;
    const struct lj_config *config;
    struct lj_config *of_rung; /* owned */
    struct lj_archive *archive;
    struct lj_scale *scale;
    struct lj_scale_bits *reference; /* (rungs) owned: of two steps of each rung's batch */
};

/* The settings of a rung: those of the study, but for the batch. Evaluation would have ranks
 * without lanes keep all weights; there are none. */
static const struct lj_config *config_of(struct study *s, const struct lj_scale_rung *rung)
{
    *s->of_rung = *s->config;
    s->of_rung->batch_size = rung->batch;
    if (s->config->batch_lanes > 0)
        s->of_rung->batch_lanes = rung->lanes;
    s->of_rung->eval_every = 0;
    return s->of_rung;
}

/* Does something with the rung on the first `ranks` ranks. Collective. */
static int on_ranks(struct study *s, int ranks, struct lj_scale_rung *rung,
                    int (*work)(const struct lj_scale_work *work, struct lj_scale_bits *bits),
                    struct lj_scale_bits *bits)
{
    struct lj_scale_work of_rung = {
        .config = config_of(s, rung), .archive = s->archive, .scale = s->scale, .rung = rung};
    LJ_TRY(lj_comm_first(s->comm, ranks, &of_rung.comm));
    int status = of_rung.comm ? work(&of_rung, bits) : LJ_OK;
    lj_comm_destroy(of_rung.comm);
    lj_wait_for_all(s->comm, NULL, NULL);
    return lj_agree(s->comm, status);
}

/* ---- bits -------------------------------------------------------------------------------- */

/* A later rung with the same batch; NULL: there is none. */
static const struct lj_scale_bits *known(const struct study *s, int k)
{
    for (int j = k + 1; j < s->scale->rungs; j++)
        if (s->scale->rung[j].batch == s->scale->rung[k].batch)
            return &s->reference[j];
    return NULL;
}

/* Two steps of each batch on the smallest number of ranks; the largest batch first, which is the
 * one that memory or the archive may be too small for. Collective. */
static int make_references(struct study *s)
{
    int ranks = s->scale->ladder[0];
    for (int k = s->scale->rungs - 1; k >= 0; k--) {
        struct lj_scale_rung *rung = &s->scale->rung[k];
        const struct lj_scale_bits *same = known(s, k);
        if (same) {
            s->reference[k] = *same;
            continue;
        }
        lj_say("scale: %d steps of batch.size=%lld on %d rank%s, for their bits", LJ_SCALE_CHECKED,
               (long long)rung->batch, ranks, ranks == 1 ? "" : "s");
        LJ_TRY(on_ranks(s, ranks, rung, lj_scale_reference, &s->reference[k]));
    }
    return LJ_OK;
}

/* ---- rungs ------------------------------------------------------------------------------- */

static int make_rung(struct study *s, int k)
{
    struct lj_scale_rung *rung = &s->scale->rung[k];
    struct lj_scale_bits bits = {0};
    LJ_TRY(on_ranks(s, rung->ranks, rung, lj_scale_rung, &bits));
    rung->same_bits = lj_scale_same(&bits, &s->reference[k]);
    return LJ_OK;
}

static void say_rung(const struct lj_scale *scale, const struct lj_scale_rung *rung)
{
    lj_say("scale: %s, %d rank%s, batch.size=%lld: a step takes %.4f s (%.4f to %.4f); efficiency "
           "%.3f (%.3f to %.3f) of that on %d; %s",
           rung->strong ? "strong" : "weak", rung->ranks, rung->ranks == 1 ? "" : "s",
           (long long)rung->batch, rung->step_s, rung->step_s_low, rung->step_s_high,
           rung->efficiency, rung->efficiency_low, rung->efficiency_high,
           lj_scale_baseline(scale, rung)->ranks, rung->same_bits ? "same bits" : "OTHER BITS");
}

static int make_rungs(struct study *s)
{
    LJ_TRY(make_references(s));
    for (int k = 0; k < s->scale->rungs; k++) {
        LJ_TRY(make_rung(s, k));
        if (!lj_comm_is_root(s->comm))
            continue;
        lj_scale_judge(s->scale);
        say_rung(s->scale, &s->scale->rung[k]);
    }
    return LJ_OK;
}

int lj_scale_measure(struct lj_scale *scale, struct lj_comm *comm, const struct lj_config *config,
                     struct lj_archive *archive)
{
    struct study s = {.comm = comm, .config = config, .archive = archive, .scale = scale};
    s.of_rung = lj_alloc(sizeof *s.of_rung, "scale");
    s.reference = lj_alloc_array(scale->rungs, sizeof *s.reference, "scale");
    int status = lj_agree(comm, s.of_rung && s.reference ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = make_rungs(&s);
    lj_free(s.reference);
    lj_free(s.of_rung);
    return status;
}
