/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a step that run lane by lane. Threads take whole lanes, a wave of them at a time, so
 * that a lane's arithmetic never depends on the number of threads. */
#include "train/trainer.h"

#include <omp.h>
#include <string.h>

struct lj_pass lj_trainer_pass(const struct lj_trainer *t, enum lj_pass_kind part, int64_t k,
                               int worker)
{
    bool shared = t->by_lane && part != LJ_PASS_PROJECTOR;
    return (struct lj_pass){.arena = t->arena[part][shared ? worker : k],
                            .scratch = t->scratch[worker],
                            .weights = t->weights,
                            .packed = t->packed,
                            .sync = t->sync_sums[0],
                            .sync_images = t->lanes * lj_plan_images(t->plan[part]),
                            .statistic_share = 1,
                            .train = true,
                            .seed = t->config.seed,
                            .step = t->step,
                            .first_sample = (t->first_lane + k) * t->n,
                            .n = t->n,
                            .first_view = part == LJ_PASS_LOCAL ? t->views[0] : 0,
                            .clock = t->clock[worker]};
}

typedef void (*lane_work)(struct lj_trainer *t, int64_t k, int worker);

/* work(lane k in worker s) for the lanes of one wave, one thread each. */
static void run_wave(struct lj_trainer *t, int64_t first, lane_work work)
{
    int count = (int)lj_min_i64(t->workers, lj_my_lanes(t) - first);
#pragma omp parallel for schedule(static, 1) num_threads(t->workers) if (count > 1)
    for (int s = 0; s < count; s++)
        work(t, first + s, s);
}

static void run_lanes(struct lj_trainer *t, lane_work work)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->workers)
        run_wave(t, first, work);
}

static int nodes_of(const struct lj_trainer *t, enum lj_pass_kind part)
{
    return lj_plan_net(t->plan[part])->count;
}

/* ---- views and encoder ------------------------------------------------------------------- */

/* The views of one lane, written straight into the encoder's inputs: view-major. */
static void make_views(struct lj_trainer *t, int64_t k, int worker)
{
    const struct lj_archive_info *info = lj_archive_info(t->archive);
    int64_t sample = info->channels * info->height * info->width;
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        if (!t->plan[part])
            continue;
        struct lj_pass pass = lj_trainer_pass(t, (enum lj_pass_kind)part, k, worker);
        float *view = lj_plan_value(t->plan[part], &pass, 0);
        int64_t pixels = info->channels * t->recipe[part].size * t->recipe[part].size;
        for (int64_t v = 0; v < t->views[part]; v++)
            for (int64_t i = k * t->n; i < (k + 1) * t->n; i++, view += pixels)
                lj_view_make(&t->recipe[part], t->batch.images + i * sample, t->config.seed,
                             &t->batch.draws[i], pass.first_view + v, view, t->scratch[worker]);
    }
}

static void encode(struct lj_trainer *t, int64_t k, int worker)
{
    struct lj_pass projector = lj_trainer_pass(t, LJ_PASS_PROJECTOR, k, worker);
    float *rows = lj_plan_value(t->plan[LJ_PASS_PROJECTOR], &projector, 0);
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        if (!t->plan[part])
            continue;
        struct lj_pass pass = lj_trainer_pass(t, (enum lj_pass_kind)part, k, worker);
        int nodes = nodes_of(t, (enum lj_pass_kind)part);
        int64_t count = lj_plan_images(t->plan[part]) * t->model->embedding;
        lj_forward(t->plan[part], &pass, 1, nodes);
        memcpy(rows, lj_plan_value(t->plan[part], &pass, nodes - 1), (size_t)count * sizeof *rows);
        rows += count;
    }
}

static void views_of_wave(struct lj_trainer *t, int64_t first)
{
    lj_phase_begin(LJ_PHASE_VIEWS);
    run_wave(t, first, make_views);
    lj_phase_end();
}

void lj_pass_views(struct lj_trainer *t)
{
    for (int64_t first = 0; !t->by_lane && first < lj_my_lanes(t); first += t->workers)
        views_of_wave(t, first);
}

void lj_pass_encode(struct lj_trainer *t)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->workers) {
        if (t->by_lane)
            views_of_wave(t, first);
        lj_phase_begin(LJ_PHASE_FORWARD);
        run_wave(t, first, encode);
        lj_phase_end();
    }
}

/* ---- projector --------------------------------------------------------------------------- */

static bool is_sync(const struct lj_trainer *t, int node)
{
    const struct lj_node *p = &lj_plan_net(t->plan[LJ_PASS_PROJECTOR])->node[node];
    return p->kind->sync_count && p->kind->sync_count(p) > 0;
}

/* Batch statistics of one node: every lane's sums, then everybody's, exact. */
static void share_statistics(struct lj_trainer *t, int node, bool backward,
                             struct lj_step_report *report)
{
    const struct lj_plan *plan = t->plan[LJ_PASS_PROJECTOR];
    const struct lj_node *p = &lj_plan_net(plan)->node[node];
    int64_t count = p->kind->sync_count(p);
    for (int s = 0; s < t->workers; s++)
        memset(t->sync_sums[s], 0, (size_t)(count + 1) * sizeof(int64_t));
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->workers) {
        int lanes = (int)lj_min_i64(t->workers, lj_my_lanes(t) - first);
#pragma omp parallel for schedule(static, 1) num_threads(t->workers) if (lanes > 1)
        for (int s = 0; s < lanes; s++) {
            struct lj_pass pass = lj_trainer_pass(t, LJ_PASS_PROJECTOR, first + s, s);
            (backward ? lj_sync_backward : lj_sync_forward)(plan, &pass, node, t->sync_sums[s],
                                                            t->sync_sums[s] + count);
        }
    }
    for (int s = 1; s < t->workers; s++)
        for (int64_t i = 0; i <= count; i++)
            t->sync_sums[0][i] += t->sync_sums[s][i];
    lj_phase_begin(LJ_PHASE_SMALL_ALLREDUCE);
    lj_sum_exact(t->comm, t->sync_ledger, t->sync_sums[0], count + 1);
    lj_phase_end();
    report->nonfinite += t->sync_sums[0][count];
}

static void project_range(struct lj_trainer *t, int first_node, int end_node)
{
#pragma omp parallel for schedule(static, 1) num_threads(t->workers) if (lj_my_lanes(t) > 1)
    for (int64_t k = 0; k < lj_my_lanes(t); k++) {
        struct lj_pass pass = lj_trainer_pass(t, LJ_PASS_PROJECTOR, k, omp_get_thread_num());
        lj_forward(t->plan[LJ_PASS_PROJECTOR], &pass, first_node, end_node);
    }
}

void lj_pass_project(struct lj_trainer *t, struct lj_step_report *report)
{
    int nodes = nodes_of(t, LJ_PASS_PROJECTOR);
    lj_phase_begin(LJ_PHASE_PROJECTOR);
    for (int node = 1; node < nodes;) {
        int end = node + 1;
        if (is_sync(t, node))
            share_statistics(t, node, false, report);
        while (end < nodes && !is_sync(t, end))
            end++;
        project_range(t, node, end);
        node = end;
    }
    lj_phase_end();
}

/* ---- loss -------------------------------------------------------------------------------- */

static float *projections(struct lj_trainer *t, int64_t k, int worker, bool gradient)
{
    struct lj_pass pass = lj_trainer_pass(t, LJ_PASS_PROJECTOR, k, worker);
    const struct lj_plan *plan = t->plan[LJ_PASS_PROJECTOR];
    int last = nodes_of(t, LJ_PASS_PROJECTOR) - 1;
    return gradient ? lj_plan_gradient(plan, &pass, last) : lj_plan_value(plan, &pass, last);
}

static struct lj_loss_lane lane_of_loss(struct lj_trainer *t, int64_t k, int worker)
{
    return (struct lj_loss_lane){
        .worker = worker, .index = k, .n = t->n, .proj = projections(t, k, worker, false)};
}

static void add_to_loss(struct lj_trainer *t, int64_t k, int worker)
{
    struct lj_loss_lane lane = lane_of_loss(t, k, worker);
    lj_objective_add(t->objective, &lane);
}

static void loss_gradient(struct lj_trainer *t, int64_t k, int worker)
{
    struct lj_loss_lane lane = lane_of_loss(t, k, worker);
    lj_objective_gradient(t->objective, &lane, projections(t, k, worker, true));
}

void lj_pass_loss(struct lj_trainer *t)
{
    lj_phase_begin(LJ_PHASE_LOSS);
    lj_objective_begin(t->objective, t->step);
    run_lanes(t, add_to_loss);
    lj_phase_end();
}

void lj_pass_loss_gradient(struct lj_trainer *t)
{
    lj_phase_begin(LJ_PHASE_LOSS);
    run_lanes(t, loss_gradient);
    lj_phase_end();
}

/* ---- backward ---------------------------------------------------------------------------- */

static void let_communication_progress(void *trainer)
{
    lj_gradsync_progress(((struct lj_trainer *)trainer)->gradsync);
}

/* MPI is called from the main thread only, which works on the first worker of a wave. */
static struct lj_pass backward_run(struct lj_trainer *t, enum lj_pass_kind part, int bucket,
                                   int64_t k, int worker)
{
    struct lj_pass pass = lj_trainer_pass(t, part, k, worker);
    pass.gradient = lj_gradsync_leaf(t->gradsync, bucket, worker);
    pass.gradient_first = t->model->params.bounds[bucket];
    pass.between = worker == 0 ? let_communication_progress : NULL;
    pass.between_data = t;
    return pass;
}

static void project_backward(struct lj_trainer *t, int bucket, int64_t k, int worker)
{
    const struct lj_segment *segment = &t->model->segment[bucket];
    struct lj_pass pass = backward_run(t, LJ_PASS_PROJECTOR, bucket, k, worker);
    lj_params_clear_gaps(&t->model->params, bucket, pass.gradient);
    lj_backward(t->plan[LJ_PASS_PROJECTOR], &pass, segment->first, segment->end);
}

/* The encoder's gradient of a bucket: global views store, local views add. */
static void encode_backward(struct lj_trainer *t, int bucket, int64_t k, int worker)
{
    const struct lj_segment *segment = &t->model->segment[bucket];
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        if (!t->plan[part])
            continue;
        struct lj_pass pass = backward_run(t, (enum lj_pass_kind)part, bucket, k, worker);
        pass.gradient_add = part == LJ_PASS_LOCAL;
        if (part == LJ_PASS_GLOBAL)
            lj_params_clear_gaps(&t->model->params, bucket, pass.gradient);
        lj_backward(t->plan[part], &pass, segment->first, segment->end);
    }
}

/* The projector's gradient at its input becomes the encoder's at its output. */
static void hand_down(struct lj_trainer *t, int64_t k, int worker)
{
    struct lj_pass projector = lj_trainer_pass(t, LJ_PASS_PROJECTOR, k, worker);
    const float *rows = lj_plan_gradient(t->plan[LJ_PASS_PROJECTOR], &projector, 0);
    for (int part = LJ_PASS_GLOBAL; part <= LJ_PASS_LOCAL; part++) {
        if (!t->plan[part])
            continue;
        struct lj_pass pass = lj_trainer_pass(t, (enum lj_pass_kind)part, k, worker);
        int64_t count = lj_plan_images(t->plan[part]) * t->model->embedding;
        float *gradient =
            lj_plan_gradient(t->plan[part], &pass, nodes_of(t, (enum lj_pass_kind)part) - 1);
        memcpy(gradient, rows, (size_t)count * sizeof *rows);
        rows += count;
    }
}

typedef void (*bucket_work)(struct lj_trainer *t, int bucket, int64_t k, int worker);

/* One bucket over all my lanes, wave by wave; then it starts moving. */
static void backward_bucket(struct lj_trainer *t, int bucket, bucket_work work)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->workers) {
        int count = (int)lj_min_i64(t->workers, lj_my_lanes(t) - first);
        lj_gradsync_take_leaves(t->gradsync, count);
#pragma omp parallel for schedule(static, 1) num_threads(t->workers) if (count > 1)
        for (int s = 0; s < count; s++)
            work(t, bucket, first + s, s);
        for (int s = 0; s < count; s++)
            lj_gradsync_add(t->gradsync, bucket, s, t->first_lane + first + s);
    }
    lj_gradsync_start(t->gradsync, bucket);
}

/* Forward again and all of the encoder's backward, for one lane at a time. */
static void whole_lane(struct lj_trainer *t, int64_t k, int worker)
{
    make_views(t, k, worker);
    encode(t, k, worker);
    hand_down(t, k, worker);
    for (int bucket = lj_encoder_buckets(t) - 1; bucket >= 0; bucket--)
        encode_backward(t, bucket, k, worker);
}

static void backward_by_lane(struct lj_trainer *t)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->workers) {
        int count = (int)lj_min_i64(t->workers, lj_my_lanes(t) - first);
        lj_gradsync_take_leaves(t->gradsync, count);
        run_wave(t, first, whole_lane);
        for (int s = 0; s < count; s++)
            lj_gradsync_add(t->gradsync, 0, s, t->first_lane + first + s);
    }
    for (int bucket = lj_encoder_buckets(t) - 1; bucket >= 0; bucket--)
        lj_gradsync_start(t->gradsync, bucket);
}

void lj_pass_backward(struct lj_trainer *t, struct lj_step_report *report)
{
    lj_phase_begin(LJ_PHASE_BACKWARD);
    for (int bucket = t->model->params.buckets - 1; bucket >= lj_encoder_buckets(t); bucket--) {
        int last_node = t->model->segment[bucket].end - 1;
        if (is_sync(t, last_node))
            share_statistics(t, last_node, true, report);
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
