/* SPDX-License-Identifier: Apache-2.0 */
/* The rungs of a scaling study, and what follows from their times. A rung that cannot be is refused
 * before anything runs. */
#include "run/scale/scale.h"

#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int lj_run_read_ranks(const char *key, const char *text, int most, int *ranks, int *count)
{
    char *end;
    *count = 0;
    if (!text[0] || strcmp(text, "0") == 0)
        return LJ_OK;
    for (const char *at = text;; at = end + 1) {
        long value = strtol(at, &end, 10);
        int last = *count > 0 ? ranks[*count - 1] : 0;
        if (end == at || (*end && *end != ',') || value <= last || value > 1048576 ||
            *count == most)
            return lj_fail(LJ_ERR_CONFIG, "%s=%s: expected %s", key, text,
                           most == 1 ? "one number of ranks"
                                     : "at most 32 ascending numbers of ranks, separated by "
                                       "commas, such as 1,2,4");
        ranks[(*count)++] = (int)value;
        if (!*end)
            return LJ_OK;
    }
}

/* ---- plan -------------------------------------------------------------------------------- */

static int make_ladder(struct lj_scale *s, const char *text, int size)
{
    LJ_TRY(lj_run_read_ranks("ranks", text, LJ_LADDER_MAX, s->ladder, &s->counts));
    if (s->counts == 0) {
        for (int ranks = 1; ranks < size; ranks *= 2)
            s->ladder[s->counts++] = ranks;
        s->ladder[s->counts++] = size;
    }
    if (s->ladder[s->counts - 1] > size)
        return lj_fail(LJ_ERR_CONFIG,
                       "ranks=%s: the job has %d; start it on %d, or leave out larger rungs", text,
                       size, s->ladder[s->counts - 1]);
    return LJ_OK;
}

static int check_lanes(const struct lj_scale *s, const struct lj_config *c, int64_t lanes)
{
    int most = s->ladder[s->counts - 1];
    int64_t n = c->batch_size / lanes;
    if (most > lanes)
        return lj_fail(LJ_ERR_CONFIG,
                       "batch.size=%lld has %lld lanes of %lld samples, and the largest rung %d "
                       "ranks, each of which needs a lane: use batch.size=%lld or more, or ranks= "
                       "with smaller rungs",
                       (long long)c->batch_size, (long long)lanes, (long long)n, most,
                       (long long)(n * most));
    if (c->arg_mode != LJ_ARG_MODE_STRONG && lanes % most != 0)
        return lj_fail(LJ_ERR_CONFIG,
                       "batch.size=%lld has %lld lanes of %lld samples, which the %d ranks of the "
                       "largest rung cannot share evenly, as mode=%s needs: use batch.size=%lld or "
                       "%lld, another largest rung (ranks=), or mode=strong",
                       (long long)c->batch_size, (long long)lanes, (long long)n, most,
                       lj_arg_mode_word(c->arg_mode), (long long)(lanes / most * most * n),
                       (long long)((lanes / most + 1) * most * n));
    return LJ_OK;
}

static int read_target(struct lj_scale *s, const struct lj_config *c)
{
    char *end = NULL;
    const char *text = c->arg_target;
    if (!text[0])
        return LJ_OK;
    double accuracy = strncmp(text, "knn:", 4) == 0 ? strtod(text + 4, &end) : 0;
    if (!end || end == text + 4 || *end || !(accuracy > 0 && accuracy <= 1))
        return lj_fail(LJ_ERR_CONFIG,
                       "target=%s: expected knn: and an accuracy above 0, up to 1, "
                       "such as knn:0.80",
                       text);
    if (c->eval_every == 0)
        return lj_fail(LJ_ERR_CONFIG, "target=%s: needs evaluations: set eval.every", text);
    if (!c->arg_out[0])
        return lj_fail(LJ_ERR_CONFIG,
                       "target=%s: set out=, the directory in which the runs will be", text);
    s->has_target = true;
    for (int i = 0; i < s->counts; i++)
        s->goal[i].knn_top1 = accuracy;
    return LJ_OK;
}

static void add_rungs(struct lj_scale *s, bool strong, int64_t lanes, int64_t lane_samples)
{
    for (int i = 0; i < s->counts; i++) {
        int ranks = s->ladder[i];
        int64_t of_rung = strong ? lanes : lanes / s->ladder[s->counts - 1] * ranks;
        s->rung[s->rungs++] =
            (struct lj_scale_rung){.strong = strong,
                                   .ranks = ranks,
                                   .lanes = of_rung,
                                   .batch = of_rung * lane_samples,
                                   .prediction = {.step_s = NAN, .efficiency = NAN}};
    }
}

int lj_scale_plan(struct lj_scale *scale, const struct lj_config *config, int size)
{
    const struct lj_config *c = config;
    int64_t lanes = 0;
    memset(scale, 0, sizeof *scale);
    scale->repeats = (int)c->arg_repeats;
    scale->steps = (int)c->arg_steps;
    scale->warmup = (int)c->arg_warmup;
    LJ_TRY(make_ladder(scale, c->arg_ranks, size));
    LJ_TRY(lj_trainer_lanes(c, 1, &lanes));
    LJ_TRY(check_lanes(scale, c, lanes));
    LJ_TRY(read_target(scale, c));
    if (c->arg_mode != LJ_ARG_MODE_WEAK)
        add_rungs(scale, true, lanes, c->batch_size / lanes);
    if (c->arg_mode != LJ_ARG_MODE_STRONG)
        add_rungs(scale, false, lanes, c->batch_size / lanes);
    return LJ_OK;
}

/* ---- what follows from the times --------------------------------------------------------- */

static void summarise(struct lj_scale_rung *rung, int repeats)
{
    double sorted[LJ_SCALE_REPEATS_MAX];
    memcpy(sorted, rung->repeat_s, (size_t)repeats * sizeof *sorted);
    qsort(sorted, (size_t)repeats, sizeof *sorted, lj_ascending_f64);
    rung->step_s = 0.5 * (sorted[(repeats - 1) / 2] + sorted[repeats / 2]);
    rung->step_s_low = sorted[0];
    rung->step_s_high = sorted[repeats - 1];
    rung->exposed_s = rung->exposed_share * rung->step_s;
}

double lj_scale_repeats_s(const struct lj_scale *scale, const struct lj_scale_rung *rung)
{
    double all_s = 0;
    for (int k = 0; k < scale->repeats; k++)
        all_s += rung->repeat_s[k] * (double)scale->steps;
    return all_s;
}

const struct lj_scale_rung *lj_scale_baseline(const struct lj_scale *scale,
                                              const struct lj_scale_rung *rung)
{
    const struct lj_scale_rung *first = scale->rung;
    while (first->strong != rung->strong)
        first++;
    return first;
}

void lj_scale_judge(struct lj_scale *scale)
{
    for (int k = 0; k < scale->measured; k++)
        summarise(&scale->rung[k], scale->repeats);
    for (int k = 0; k < scale->measured; k++) {
        struct lj_scale_rung *rung = &scale->rung[k];
        const struct lj_scale_rung *base = lj_scale_baseline(scale, rung);
        /* Samples of a rank in a step, over those of the baseline. */
        double work = (double)rung->batch / rung->ranks / ((double)base->batch / base->ranks);
        rung->efficiency = rung->efficiency_low = rung->efficiency_high = 1;
        if (rung == base)
            continue;
        rung->efficiency = work * base->step_s / rung->step_s;
        rung->efficiency_low = work * base->step_s_low / rung->step_s_high;
        rung->efficiency_high = work * base->step_s_high / rung->step_s_low;
    }
}
