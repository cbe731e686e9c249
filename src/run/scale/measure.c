/* SPDX-License-Identifier: Apache-2.0 */
/* One rung: its first two steps, whose bits are compared, the rest of the warm-up, and the repeats.
 * A repeat begins on all ranks together and ends on each when the new weights of its last step are
 * there; in between steps overlap as in `train`, reading and views included. */
#include "run/scale/scale.h"

#include <string.h>

bool lj_scale_same(const struct lj_scale_bits *a, const struct lj_scale_bits *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* ---- steps ------------------------------------------------------------------------------- */

static int make_step(struct lj_trainer *trainer, int64_t step, bool want_norm,
                     struct lj_step_report *report)
{
    LJ_TRY(lj_trainer_step(trainer, step, want_norm, report));
    if (report->nonfinite > 0)
        return lj_trainer_name_culprit(trainer);
    return LJ_OK;
}

static int make_steps(struct lj_trainer *trainer, int64_t first, int64_t end)
{
    for (int64_t step = first; step < end; step++) {
        struct lj_step_report report = {0};
        LJ_TRY(make_step(trainer, step, false, &report));
    }
    return LJ_OK;
}

static int make_checked_steps(struct lj_trainer *trainer, struct lj_scale_bits *bits)
{
    memset(bits, 0, sizeof *bits);
    for (int step = 0; step < LJ_SCALE_CHECKED; step++) {
        struct lj_step_report report = {0};
        LJ_TRY(make_step(trainer, step, true, &report));
        memcpy(bits->term[step], report.term, sizeof report.term);
        bits->grad_norm[step] = report.grad_norm;
    }
    bits->weights = lj_trainer_hash(trainer);
    return LJ_OK;
}

static int create(const struct lj_scale_work *work, struct lj_trainer **trainer)
{
    LJ_TRY(lj_trainer_create(trainer, work->comm, work->config, work->archive, NULL));
    struct lj_trainer_info info = lj_trainer_info(*trainer);
    int64_t lanes_at_once = (int64_t)work->comm->size * info.workers;
    lj_progress_set_turns((info.lanes + lanes_at_once - 1) / lanes_at_once);
    snprintf(work->scale->model, sizeof work->scale->model, "%s", info.model->config.text);
    work->scale->threads = info.workers;
    work->scale->parameters = info.model->params.trained;
    work->rung->workers = info.workers;
    return lj_agree(work->comm, lj_scale_keep_buckets(work->scale, &info.model->params));
}

int lj_scale_reference(const struct lj_scale_work *work, struct lj_scale_bits *bits)
{
    struct lj_trainer *trainer = NULL;
    int status = create(work, &trainer);
    if (status == LJ_OK)
        status = make_checked_steps(trainer, bits);
    lj_trainer_destroy(trainer);
    lj_progress_set_turns(1);
    return status;
}

/* ---- times ------------------------------------------------------------------------------- */

static int make_repeats(const struct lj_scale_work *work, struct lj_trainer *trainer)
{
    int64_t steps = work->scale->steps, first = work->scale->warmup;
    lj_trainer_weights(trainer); /* those of the warm-up have arrived */
    lj_ledger_restart(lj_trainer_info(trainer).ledger);
    lj_phase_reset();
    for (int k = 0; k < work->scale->repeats; k++, first += steps) {
        lj_barrier(work->comm);
        double begun_s = lj_now_s();
        LJ_TRY(make_steps(trainer, first, first + steps));
        lj_trainer_weights(trainer);
        work->rung->repeat_s[k] = (lj_now_s() - begun_s) / (double)steps;
    }
    lj_all_max_f64(work->comm, work->rung->repeat_s, work->scale->repeats);
    return LJ_OK;
}

/* ---- communication and imbalance --------------------------------------------------------- */

/* Of one rank, in all repeats. */
enum { EXPOSED, COMPUTING, BYTES, MESSAGES, COLLECTIVES, NUMBERS };

static void count_mine(const struct lj_ledger *ledger, double *mine)
{
    static const enum lj_phase computing[] = {LJ_PHASE_VIEWS,     LJ_PHASE_FORWARD,
                                              LJ_PHASE_PROJECTOR, LJ_PHASE_LOSS,
                                              LJ_PHASE_BACKWARD,  LJ_PHASE_OPTIMISER};
    for (size_t i = 0; i < sizeof computing / sizeof *computing; i++)
        mine[COMPUTING] += lj_phase_seconds(computing[i]);
    for (int i = 0; i < ledger->count; i++) {
        const struct lj_ledger_entry *e = &ledger->entry[i];
        bool by_messages = e->messages > 0 || e->predicted_messages_per_step > 0;
        mine[EXPOSED] += e->exposed_seconds;
        mine[BYTES] += (double)e->bytes;
        mine[MESSAGES] += (double)e->messages;
        mine[COLLECTIVES] += by_messages ? 0 : (double)e->calls;
    }
}

/* Means and largest values over the ranks.
 *   all  (size, NUMBERS) in */
static void summarise(const struct lj_scale_work *work, const double *all)
{
    struct lj_scale_rung *rung = work->rung;
    double mean[NUMBERS] = {0}, most[NUMBERS] = {0};
    double steps = (double)work->scale->repeats * (double)work->scale->steps;
    for (int r = 0; r < work->comm->size; r++)
        for (int i = 0; i < NUMBERS; i++) {
            double value = all[r * NUMBERS + i];
            mean[i] += value / work->comm->size;
            most[i] = value > most[i] ? value : most[i];
        }
    rung->exposed_share = mean[EXPOSED] / lj_scale_repeats_s(work->scale, rung);
    rung->imbalance = most[COMPUTING] / mean[COMPUTING] - 1;
    rung->bytes = (int64_t)(most[BYTES] / steps + 0.5);
    rung->messages = (int64_t)(most[MESSAGES] / steps + 0.5);
    rung->collectives = (int64_t)(most[COLLECTIVES] / steps + 0.5);
}

static int gather(const struct lj_scale_work *work, const struct lj_ledger *ledger)
{
    double mine[NUMBERS] = {0};
    double *all = lj_alloc_array((int64_t)work->comm->size * NUMBERS, sizeof *all, "scale");
    int status = lj_agree(work->comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    count_mine(ledger, mine);
    if (status == LJ_OK) {
        lj_all_gather_f64(work->comm, mine, NUMBERS, all);
        summarise(work, all);
        status = lj_run_gather_phases(work->comm, work->rung->phase);
    }
    lj_free(all);
    return status;
}

static int measure(const struct lj_scale_work *work, struct lj_trainer *trainer,
                   struct lj_scale_bits *bits)
{
    struct lj_scale_rung *rung = work->rung;
    int64_t most_ranks;
    LJ_TRY(make_checked_steps(trainer, bits));
    LJ_TRY(make_steps(trainer, LJ_SCALE_CHECKED, work->scale->warmup));
    LJ_TRY(make_repeats(work, trainer));
    rung->ledger = *lj_trainer_info(trainer).ledger;
    rung->flops = lj_trainer_step_flops(trainer);
    rung->memory = lj_all_max(work->comm, (int64_t)lj_memory_peak());
    lj_comm_nodes(work->comm, &rung->nodes, &most_ranks);
    return gather(work, &rung->ledger);
}

int lj_scale_rung(const struct lj_scale_work *work, struct lj_scale_bits *bits)
{
    struct lj_trainer *trainer = NULL;
    double begun_s = lj_now_s();
    lj_memory_reset_peaks();
    int status = create(work, &trainer);
    if (status == LJ_OK) {
        work->rung->setup_s = lj_now_s() - begun_s;
        lj_all_max_f64(work->comm, &work->rung->setup_s, 1);
        status = measure(work, trainer, bits);
    }
    lj_trainer_destroy(trainer);
    lj_progress_set_turns(1);
    return status;
}
