/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a step that run lane by lane. Threads take whole lanes, a wave of them at a time, so that
 * a lane's arithmetic never depends on the number of threads. */
#include "train/trainer.h"

#include <omp.h>
#include <string.h>

struct lj_run lj_trainer_run(const struct lj_trainer *t, enum lj_part part, int64_t k, int slot)
{
    bool shared = t->by_lane && part != LJ_PART_PROJECTOR;
    return (struct lj_run){.arena = t->arena[part][shared ? slot : k],
                           .scratch = t->scratch[slot],
                           .weights = t->weights,
                           .packed = t->packed,
                           .sync = t->sync_sums[0],
                           .sync_rows = t->lanes * t->n * lj_views_of_batch(t),
                           .train = true,
                           .seed = t->config.seed,
                           .step = t->step,
                           .first_slot = (t->first_lane + k) * t->n,
                           .n = t->n,
                           .first_view = part == LJ_PART_LOCAL ? t->views[0] : 0,
                           .clock = t->clock[slot]};
}

typedef void (*lane_work)(struct lj_trainer *t, int64_t k, int slot);

/* work(lane k in slot s) for the lanes of one wave, one thread each. */
static void run_wave(struct lj_trainer *t, int64_t first, lane_work work)
{
    int count = (int)lj_min_i64(t->slots, lj_my_lanes(t) - first);
#pragma omp parallel for schedule(static, 1) num_threads(t->slots) if (count > 1)
    for (int s = 0; s < count; s++)
        work(t, first + s, s);
}

static void run_lanes(struct lj_trainer *t, lane_work work)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->slots)
        run_wave(t, first, work);
}

static int nodes_of(const struct lj_trainer *t, enum lj_part part)
{
    return lj_plan_net(t->plan[part])->count;
}

/* ---- views and encoder -------------------------------------------------------------------------------- */

/* The views of one lane, written straight into the encoder's inputs: view-major. */
static void make_views(struct lj_trainer *t, int64_t k, int slot)
{
    const struct lj_archive_info *info = lj_archive_info(t->archive);
    int64_t sample = info->channels * info->height * info->width;
    for (int part = LJ_PART_GLOBAL; part <= LJ_PART_LOCAL; part++) {
        if (!t->plan[part])
            continue;
        struct lj_run run = lj_trainer_run(t, (enum lj_part)part, k, slot);
        float *view = lj_plan_value(t->plan[part], &run, 0);
        int64_t pixels = info->channels * t->recipe[part].size * t->recipe[part].size;
        for (int64_t v = 0; v < t->views[part]; v++)
            for (int64_t i = k * t->n; i < (k + 1) * t->n; i++, view += pixels)
                lj_view_make(&t->recipe[part], t->batch.images + i * sample, t->config.seed,
                             &t->batch.draws[i], run.first_view + v, view, t->scratch[slot]);
    }
}

static void encode(struct lj_trainer *t, int64_t k, int slot)
{
    struct lj_run projector = lj_trainer_run(t, LJ_PART_PROJECTOR, k, slot);
    float *rows = lj_plan_value(t->plan[LJ_PART_PROJECTOR], &projector, 0);
    for (int part = LJ_PART_GLOBAL; part <= LJ_PART_LOCAL; part++) {
        if (!t->plan[part])
            continue;
        struct lj_run run = lj_trainer_run(t, (enum lj_part)part, k, slot);
        int nodes = nodes_of(t, (enum lj_part)part);
        int64_t count = lj_plan_images(t->plan[part]) * t->model->embedding;
        lj_forward(t->plan[part], &run, 1, nodes);
        memcpy(rows, lj_plan_value(t->plan[part], &run, nodes - 1), (size_t)count * sizeof *rows);
        rows += count;
    }
}

void lj_pass_encode(struct lj_trainer *t)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->slots) {
        lj_phase_begin(LJ_PHASE_VIEWS);
        run_wave(t, first, make_views);
        lj_phase_end();
        lj_phase_begin(LJ_PHASE_FORWARD);
        run_wave(t, first, encode);
        lj_phase_end();
    }
}

/* ---- projector ------------------------------------------------------------------------------------------- */

static bool is_sync(const struct lj_trainer *t, int node)
{
    const struct lj_node *p = &lj_plan_net(t->plan[LJ_PART_PROJECTOR])->node[node];
    return p->kind->sync_count && p->kind->sync_count(p) > 0;
}

/* Batch statistics of one node: every lane's sums, then everybody's, exact. */
static void share_statistics(struct lj_trainer *t, int node, bool backward, int64_t *unfit)
{
    const struct lj_plan *plan = t->plan[LJ_PART_PROJECTOR];
    const struct lj_node *p = &lj_plan_net(plan)->node[node];
    int64_t count = p->kind->sync_count(p);
    for (int s = 0; s < t->slots; s++)
        memset(t->sync_sums[s], 0, (size_t)(count + 1) * sizeof(int64_t));
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->slots) {
        int lanes = (int)lj_min_i64(t->slots, lj_my_lanes(t) - first);
#pragma omp parallel for schedule(static, 1) num_threads(t->slots) if (lanes > 1)
        for (int s = 0; s < lanes; s++) {
            struct lj_run run = lj_trainer_run(t, LJ_PART_PROJECTOR, first + s, s);
            (backward ? lj_sync_backward : lj_sync_forward)(plan, &run, node, t->sync_sums[s],
                                                            t->sync_sums[s] + count);
        }
    }
    for (int s = 1; s < t->slots; s++)
        for (int64_t i = 0; i <= count; i++)
            t->sync_sums[0][i] += t->sync_sums[s][i];
    lj_phase_begin(LJ_PHASE_SMALL_ALLREDUCE);
    lj_sum_exact(t->comm, t->sync_ledger, t->sync_sums[0], count + 1);
    lj_phase_end();
    *unfit += t->sync_sums[0][count];
}

static void project_range(struct lj_trainer *t, int first_node, int end_node)
{
#pragma omp parallel for schedule(static, 1) num_threads(t->slots) if (lj_my_lanes(t) > 1)
    for (int64_t k = 0; k < lj_my_lanes(t); k++) {
        struct lj_run run = lj_trainer_run(t, LJ_PART_PROJECTOR, k, omp_get_thread_num());
        lj_forward(t->plan[LJ_PART_PROJECTOR], &run, first_node, end_node);
    }
}

void lj_pass_project(struct lj_trainer *t, int64_t *unfit)
{
    int nodes = nodes_of(t, LJ_PART_PROJECTOR);
    lj_phase_begin(LJ_PHASE_PROJECTOR);
    for (int node = 1; node < nodes;) {
        int end = node + 1;
        if (is_sync(t, node))
            share_statistics(t, node, false, unfit);
        while (end < nodes && !is_sync(t, end))
            end++;
        project_range(t, node, end);
        node = end;
    }
    lj_phase_end();
}

/* ---- loss -------------------------------------------------------------------------------------------------- */

static float *projections(struct lj_trainer *t, int64_t k, int slot, bool gradient)
{
    struct lj_run run = lj_trainer_run(t, LJ_PART_PROJECTOR, k, slot);
    const struct lj_plan *plan = t->plan[LJ_PART_PROJECTOR];
    int last = nodes_of(t, LJ_PART_PROJECTOR) - 1;
    return gradient ? lj_plan_gradient(plan, &run, last) : lj_plan_value(plan, &run, last);
}

static void add_to_loss(struct lj_trainer *t, int64_t k, int slot)
{
    lj_lejepa_add(t->loss, slot, k, projections(t, k, slot, false), t->n);
}

static void loss_gradient(struct lj_trainer *t, int64_t k, int slot)
{
    lj_lejepa_gradient(t->loss, slot, k, projections(t, k, slot, false), t->n,
                       projections(t, k, slot, true));
}

void lj_pass_loss(struct lj_trainer *t)
{
    lj_phase_begin(LJ_PHASE_LOSS);
    run_lanes(t, add_to_loss);
    lj_phase_end();
}

void lj_pass_loss_gradient(struct lj_trainer *t)
{
    lj_phase_begin(LJ_PHASE_LOSS);
    run_lanes(t, loss_gradient);
    lj_phase_end();
}

/* ---- backward ------------------------------------------------------------------------------------------------ */

static void let_communication_progress(void *trainer)
{
    lj_gradsync_progress(((struct lj_trainer *)trainer)->gradsync);
}

/* MPI is called from the main thread only, which works on the first slot of a wave. */
static struct lj_run backward_run(struct lj_trainer *t, enum lj_part part, int bucket, int64_t k,
                                  int slot)
{
    struct lj_run run = lj_trainer_run(t, part, k, slot);
    run.gradient = lj_gradsync_leaf(t->gradsync, bucket, slot);
    run.gradient_first = t->model->params.bounds[bucket];
    run.between = slot == 0 ? let_communication_progress : NULL;
    run.between_data = t;
    return run;
}

static void project_backward(struct lj_trainer *t, int bucket, int64_t k, int slot)
{
    const struct lj_segment *segment = &t->model->segment[bucket];
    struct lj_run run = backward_run(t, LJ_PART_PROJECTOR, bucket, k, slot);
    lj_params_clear_gaps(&t->model->params, bucket, run.gradient);
    lj_backward(t->plan[LJ_PART_PROJECTOR], &run, segment->first, segment->end);
}

/* The encoder's gradient of a bucket: global views store, local views add. */
static void encode_backward(struct lj_trainer *t, int bucket, int64_t k, int slot)
{
    const struct lj_segment *segment = &t->model->segment[bucket];
    for (int part = LJ_PART_GLOBAL; part <= LJ_PART_LOCAL; part++) {
        if (!t->plan[part])
            continue;
        struct lj_run run = backward_run(t, (enum lj_part)part, bucket, k, slot);
        run.gradient_add = part == LJ_PART_LOCAL;
        if (part == LJ_PART_GLOBAL)
            lj_params_clear_gaps(&t->model->params, bucket, run.gradient);
        lj_backward(t->plan[part], &run, segment->first, segment->end);
    }
}

/* The projector's gradient at its input becomes the encoder's at its output. */
static void hand_down(struct lj_trainer *t, int64_t k, int slot)
{
    struct lj_run projector = lj_trainer_run(t, LJ_PART_PROJECTOR, k, slot);
    const float *rows = lj_plan_gradient(t->plan[LJ_PART_PROJECTOR], &projector, 0);
    for (int part = LJ_PART_GLOBAL; part <= LJ_PART_LOCAL; part++) {
        if (!t->plan[part])
            continue;
        struct lj_run run = lj_trainer_run(t, (enum lj_part)part, k, slot);
        int64_t count = lj_plan_images(t->plan[part]) * t->model->embedding;
        float *gradient =
            lj_plan_gradient(t->plan[part], &run, nodes_of(t, (enum lj_part)part) - 1);
        memcpy(gradient, rows, (size_t)count * sizeof *rows);
        rows += count;
    }
}

typedef void (*bucket_work)(struct lj_trainer *t, int bucket, int64_t k, int slot);

/* One bucket over all my lanes, wave by wave; then it starts moving. */
static void backward_bucket(struct lj_trainer *t, int bucket, bucket_work work)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->slots) {
        int count = (int)lj_min_i64(t->slots, lj_my_lanes(t) - first);
        lj_gradsync_take_leaves(t->gradsync, count);
#pragma omp parallel for schedule(static, 1) num_threads(t->slots) if (count > 1)
        for (int s = 0; s < count; s++)
            work(t, bucket, first + s, s);
        for (int s = 0; s < count; s++)
            lj_gradsync_add(t->gradsync, bucket, s, t->first_lane + first + s);
    }
    lj_gradsync_start(t->gradsync, bucket);
}

/* Forward again and all of the encoder's backward, for one lane at a time. */
static void whole_lane(struct lj_trainer *t, int64_t k, int slot)
{
    make_views(t, k, slot);
    encode(t, k, slot);
    hand_down(t, k, slot);
    for (int bucket = lj_encoder_buckets(t) - 1; bucket >= 0; bucket--)
        encode_backward(t, bucket, k, slot);
}

static void backward_by_lane(struct lj_trainer *t)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->slots) {
        int count = (int)lj_min_i64(t->slots, lj_my_lanes(t) - first);
        lj_gradsync_take_leaves(t->gradsync, count);
        run_wave(t, first, whole_lane);
        for (int s = 0; s < count; s++)
            lj_gradsync_add(t->gradsync, 0, s, t->first_lane + first + s);
    }
    for (int bucket = lj_encoder_buckets(t) - 1; bucket >= 0; bucket--)
        lj_gradsync_start(t->gradsync, bucket);
}

void lj_pass_backward(struct lj_trainer *t, int64_t *unfit)
{
    lj_phase_begin(LJ_PHASE_BACKWARD);
    for (int bucket = t->model->params.buckets - 1; bucket >= lj_encoder_buckets(t); bucket--) {
        int last_node = t->model->segment[bucket].end - 1;
        if (is_sync(t, last_node))
            share_statistics(t, last_node, true, unfit);
        backward_bucket(t, bucket, project_backward);
    }
    if (t->by_lane) {
        backward_by_lane(t);
    } else {
        run_lanes(t, hand_down);
        for (int bucket = lj_encoder_buckets(t) - 1; bucket >= 0; bucket--)
            backward_bucket(t, bucket, encode_backward);
    }
    lj_phase_end();
}
