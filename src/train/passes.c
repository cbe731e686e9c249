/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a step that run lane by lane. Threads take whole lanes, a wave of them at a time,
 * so that a lane's arithmetic never depends on the number of threads. */
#include "train/trainer.h"

#include <omp.h>
#include <string.h>

struct lj_pass lj_trainer_pass(const struct lj_trainer *t, enum lj_pass_kind part, int64_t k,
                               int worker)
{
    bool shared = t->by_lane && lj_net_of((int)part) == LJ_NET_ENCODER;
    return (struct lj_pass){.arena = t->arena[part][shared ? worker : k],
                            .scratch = t->scratch[worker],
                            .weights = t->by_target ? t->target : t->weights,
                            .packed = t->by_target ? t->target_packed : t->packed,
                            .sync = t->sync_sums[0] + (part == LJ_PASS_LOCAL ? t->sync_stride : 0),
                            .sync_images = t->lanes * lj_plan_images(t->plan[part]),
                            .statistic_share = t->statistic_share[part],
                            .train =
                                lj_net_of((int)part) != LJ_NET_ENCODER || !lj_encoder_is_frozen(t),
                            .drops_nothing = t->by_target,
                            .holds_prototypes = t->step < t->held_steps,
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
    for (int s = 0; s < count; s++) {
        work(t, first + s, s);
        lj_progress();
    }
}

static void run_lanes(struct lj_trainer *t, lane_work work)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->workers)
        run_wave(t, first, work);
}

/* MPI is called from the main thread only, which works on the first worker of a wave. */
static void let_communication_progress(void *trainer)
{
    lj_gradsync_progress(((struct lj_trainer *)trainer)->gradsync);
}

/* ---- views ------------------------------------------------------------------------------- */

/* The views of sample i of a lane, written straight into the encoder's inputs, which are
 * view-major. Returns how many crops were drawn again. */
static int64_t make_views_of(struct lj_trainer *t, int64_t k, int64_t i, int worker)
{
    const struct lj_archive_info *info = lj_archive_info(t->archive);
    const int64_t sample = info->channels * info->height * info->width, row = k * t->n + i;
    const struct lj_view_source source =
        lj_view_source(&t->recipe[LJ_PASS_GLOBAL], t->batch.images + row * sample);
    int64_t redraws = 0;
    for (int part = 0; part < LJ_PASS_KINDS; part++) {
        if (!lj_passes_net(t, part, LJ_NET_ENCODER))
            continue;
        struct lj_pass pass = lj_trainer_pass(t, (enum lj_pass_kind)part, k, worker);
        float *views = lj_plan_value(t->plan[part], &pass, 0);
        int64_t pixels = info->channels * t->recipe[part].size * t->recipe[part].size;
        for (int64_t v = 0; v < t->views[part]; v++) {
            redraws += lj_view_make(&t->recipe[part], &source, t->config.seed, &t->batch.draws[row],
                                    pass.first_view + v, views + (v * t->n + i) * pixels,
                                    t->scratch[worker]);
            if (worker == 0)
                let_communication_progress(t);
        }
    }
    return redraws;
}

/* The views of one lane. */
static void make_views(struct lj_trainer *t, int64_t k, int worker)
{
    int64_t redraws = 0;
    for (int64_t i = 0; i < t->n; i++)
        redraws += make_views_of(t, k, i, worker);
    t->redraws[k] = redraws; /* the same if they are made once more for backward */
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

/* ---- forward ----------------------------------------------------------------------------- */

static int nodes_of(const struct lj_trainer *t, int net)
{
    return t->model->net[net]->count;
}

static bool is_sync(const struct lj_trainer *t, int net, int node)
{
    return lj_node_sync_count(&t->model->net[net]->node[node]) > 0;
}

/* A lane's share of a node's sums, one pass behind the other. */
static void add_statistics(struct lj_trainer *t, int net, int node, bool backward, int64_t k,
                           int worker, int64_t *nonfinite)
{
    int64_t *sums = t->sync_sums[worker];
    for (int part = 0; part < LJ_PASS_KINDS; part++) {
        if (!lj_passes_net(t, part, net))
            continue;
        struct lj_pass pass = lj_trainer_pass(t, (enum lj_pass_kind)part, k, worker);
        (backward ? lj_sync_backward : lj_sync_forward)(t->plan[part], &pass, node, sums,
                                                        nonfinite);
        sums += t->sync_stride;
    }
}

/* Batch statistics of one node: every lane's sums, then everybody's, exact. */
static void share_statistics(struct lj_trainer *t, int net, int node, bool backward,
                             struct lj_step_report *report)
{
    int64_t count = 0;
    t->sync_stride = lj_node_sync_count(&t->model->net[net]->node[node]);
    for (int part = 0; part < LJ_PASS_KINDS; part++)
        count += lj_passes_net(t, part, net) ? t->sync_stride : 0;
    for (int s = 0; s < t->workers; s++)
        memset(t->sync_sums[s], 0, (size_t)(count + 1) * sizeof(int64_t));
#pragma omp parallel for schedule(static, 1) num_threads(t->workers) if (lj_my_lanes(t) > 1)
    for (int64_t k = 0; k < lj_my_lanes(t); k++) {
        int s = omp_get_thread_num();
        add_statistics(t, net, node, backward, k, s, t->sync_sums[s] + count);
        lj_progress();
    }
    for (int s = 1; s < t->workers; s++)
        for (int64_t i = 0; i <= count; i++)
            t->sync_sums[0][i] += t->sync_sums[s][i];
    lj_phase_begin(LJ_PHASE_SMALL_ALLREDUCE);
    lj_sum_exact(t->comm, t->sync_ledger, t->sync_sums[0], count + 1);
    lj_phase_end();
    report->nonfinite += t->sync_sums[0][count];
}

/* The pass that reads what comes out of a net; LJ_PASS_KINDS: the objective does. */
static enum lj_pass_kind part_above(const struct lj_trainer *t, int net)
{
    for (int part = 0; part < LJ_PASS_KINDS; part++)
        if (lj_passes_net(t, part, net + 1))
            return (enum lj_pass_kind)part;
    return LJ_PASS_KINDS;
}

/* Floats of what a pass makes of a lane. */
static int64_t output_floats(const struct lj_trainer *t, enum lj_pass_kind part)
{
    return lj_plan_images(t->plan[part]) * lj_model_width(t->model, lj_net_of((int)part));
}

/* What a net has made of a lane, of global, then of local views, becomes the next one's input. */
static void hand_up(struct lj_trainer *t, int net, int64_t k, int worker)
{
    enum lj_pass_kind to = part_above(t, net);
    if (to == LJ_PASS_KINDS)
        return;
    struct lj_pass above = lj_trainer_pass(t, to, k, worker);
    float *rows = lj_plan_value(t->plan[to], &above, 0);
    int last = nodes_of(t, net) - 1;
    for (int part = 0; part < LJ_PASS_KINDS; part++) {
        if (!lj_passes_net(t, part, net))
            continue;
        struct lj_pass pass = lj_trainer_pass(t, (enum lj_pass_kind)part, k, worker);
        int64_t count = output_floats(t, (enum lj_pass_kind)part);
        memcpy(rows, lj_plan_value(t->plan[part], &pass, last), (size_t)count * sizeof *rows);
        rows += count;
    }
}

/* Nodes [first, end) of a net on one lane. */
static void forward_lane(struct lj_trainer *t, int net, int first, int end, int64_t k, int worker)
{
    for (int part = 0; part < LJ_PASS_KINDS; part++) {
        if (!lj_passes_net(t, part, net))
            continue;
        struct lj_pass pass = lj_trainer_pass(t, (enum lj_pass_kind)part, k, worker);
        lj_forward(t->plan[part], &pass, first, end);
    }
    if (end == nodes_of(t, net))
        hand_up(t, net, k, worker);
    lj_fault_slow("lane", t->step);
    lj_progress();
}

/* Runs a net on all my lanes. It stops at each node whose statistics are the global batch's: these
 * are summed over all lanes of all ranks, and all lanes go on to the next such node. */
static void forward_net(struct lj_trainer *t, int net, struct lj_step_report *report)
{
    for (int node = 1, end; node < nodes_of(t, net); node = end) {
        if (is_sync(t, net, node))
            share_statistics(t, net, node, false, report);
        for (end = node + 1; end < nodes_of(t, net) && !is_sync(t, net, end);)
            end++;
#pragma omp parallel for schedule(static, 1) num_threads(t->workers) if (lj_my_lanes(t) > 1)
        for (int64_t k = 0; k < lj_my_lanes(t); k++)
            forward_lane(t, net, node, end, k, omp_get_thread_num());
    }
}

/* All of the encoder on one lane, which then shares no statistics. */
static void encode(struct lj_trainer *t, int64_t k, int worker)
{
    forward_lane(t, LJ_NET_ENCODER, 1, nodes_of(t, LJ_NET_ENCODER), k, worker);
}

/* The first lane of the last wave. */
static int64_t last_wave(const struct lj_trainer *t)
{
    return (lj_my_lanes(t) - 1) / t->workers * t->workers;
}

/* The first wave comes last: backward begins with it, and finds its activations in the arenas. */
static void encode_by_lane(struct lj_trainer *t)
{
    for (int64_t first = last_wave(t); lj_my_lanes(t) > 0 && first >= 0; first -= t->workers) {
        views_of_wave(t, first);
        lj_phase_begin(LJ_PHASE_FORWARD);
        run_wave(t, first, encode);
        lj_phase_end();
    }
}

void lj_pass_encode(struct lj_trainer *t, struct lj_step_report *report)
{
    if (t->by_lane) {
        encode_by_lane(t);
        return;
    }
    lj_phase_begin(LJ_PHASE_FORWARD);
    forward_net(t, LJ_NET_ENCODER, report);
    lj_phase_end();
}

void lj_pass_project(struct lj_trainer *t, struct lj_step_report *report)
{
    lj_phase_begin(LJ_PHASE_PROJECTOR);
    forward_net(t, LJ_NET_PROJECTOR, report);
    if (t->plan[t->by_target ? LJ_PASS_TARGET_HEAD : LJ_PASS_HEAD])
        forward_net(t, LJ_NET_HEAD, report);
    lj_phase_end();
}

/* What the objective sees of a lane by the target leaves the arena, which the trained network needs
 * next. */
static void keep_averaged(struct lj_trainer *t, int64_t k, int worker)
{
    enum lj_pass_kind part = lj_last_target_part(t);
    struct lj_pass pass = lj_trainer_pass(t, part, k, worker);
    int64_t count = output_floats(t, part);
    int last = nodes_of(t, lj_net_of((int)part)) - 1;
    memcpy(t->averaged + k * count, lj_plan_value(t->plan[part], &pass, last),
           (size_t)count * sizeof *t->averaged);
}

/* It works in the arenas of the trained network, whose inputs its forward pass leaves alone; where
 * the encoder runs lane by lane, views are made once more. */
void lj_pass_target(struct lj_trainer *t, struct lj_step_report *report)
{
    if (!t->plan[LJ_PASS_TARGET])
        return;
    t->by_target = true;
    lj_pass_encode(t, report);
    lj_pass_project(t, report);
    run_lanes(t, keep_averaged);
    t->by_target = false;
}

/* ---- loss -------------------------------------------------------------------------------- */

/* What the objective sees of a lane: projections, predictions, or cosines with prototypes. */
static float *projections(struct lj_trainer *t, int64_t k, int worker, bool gradient)
{
    enum lj_pass_kind part = lj_last_part(t);
    struct lj_pass pass = lj_trainer_pass(t, part, k, worker);
    const struct lj_plan *plan = t->plan[part];
    int last = nodes_of(t, lj_net_of((int)part)) - 1;
    return gradient ? lj_plan_gradient(plan, &pass, last) : lj_plan_value(plan, &pass, last);
}

static struct lj_loss_lane lane_of_loss(struct lj_trainer *t, int64_t k, int worker)
{
    int64_t averaged = t->averaged ? output_floats(t, lj_last_target_part(t)) : 0;
    return (struct lj_loss_lane){.worker = worker,
                                 .index = k,
                                 .n = t->n,
                                 .proj = projections(t, k, worker, false),
                                 .averaged = t->averaged ? t->averaged + k * averaged : NULL,
                                 .labels = t->labels ? t->labels + k * t->n : NULL};
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

static struct lj_pass backward_run(struct lj_trainer *t, enum lj_pass_kind part, int bucket,
                                   int64_t k, int worker)
{
    struct lj_pass pass = lj_trainer_pass(t, part, k, worker);
    pass.gradient = lj_gradsync_leaf(t->gradsync, worker);
    pass.gradient_first = t->model->params.bounds[bucket];
    pass.between = worker == 0 ? let_communication_progress : NULL;
    pass.between_data = t;
    return pass;
}

/* A lane's gradient of a bucket. Of several passes, the first stores and the others add. */
static void backward_lane(struct lj_trainer *t, int bucket, int64_t k, int worker)
{
    const struct lj_segment *segment = &t->model->segment[bucket];
    bool stored = false;
    for (int part = 0; part < LJ_PASS_KINDS; part++) {
        if (!lj_passes_net(t, part, segment->net))
            continue;
        struct lj_pass pass = backward_run(t, (enum lj_pass_kind)part, bucket, k, worker);
        pass.gradient_add = stored;
        if (!stored)
            lj_params_clear_gaps(&t->model->params, bucket, pass.gradient);
        lj_backward(t->plan[part], &pass, segment->first, segment->end);
        stored = true;
    }
    lj_progress();
}

/* The gradient at the next net's input becomes that at a net's output. */
static void hand_down(struct lj_trainer *t, int net, int64_t k, int worker)
{
    enum lj_pass_kind from = part_above(t, net);
    struct lj_pass above = lj_trainer_pass(t, from, k, worker);
    const float *rows = lj_plan_gradient(t->plan[from], &above, 0);
    int last = nodes_of(t, net) - 1;
    for (int part = 0; part < LJ_PASS_KINDS; part++) {
        if (!lj_passes_net(t, part, net))
            continue;
        struct lj_pass pass = lj_trainer_pass(t, (enum lj_pass_kind)part, k, worker);
        int64_t count = output_floats(t, (enum lj_pass_kind)part);
        float *gradient = lj_plan_gradient(t->plan[part], &pass, last);
        memcpy(gradient, rows, (size_t)count * sizeof *rows);
        rows += count;
    }
}

static void hand_to_projector(struct lj_trainer *t, int64_t k, int worker)
{
    hand_down(t, LJ_NET_PROJECTOR, k, worker);
}

static void hand_to_encoder(struct lj_trainer *t, int64_t k, int worker)
{
    hand_down(t, LJ_NET_ENCODER, k, worker);
}

/* One bucket over the lanes of a wave. */
static void backward_wave(struct lj_trainer *t, int bucket, int64_t first)
{
    int count = (int)lj_min_i64(t->workers, lj_my_lanes(t) - first);
    lj_gradsync_take_leaves(t->gradsync, count);
#pragma omp parallel for schedule(static, 1) num_threads(t->workers) if (count > 1)
    for (int s = 0; s < count; s++)
        backward_lane(t, bucket, first + s, s);
    for (int s = 0; s < count; s++)
        lj_gradsync_add(t->gradsync, bucket, s, t->first_lane + first + s);
}

/* One bucket over all my lanes; then it starts moving. */
static void backward_bucket(struct lj_trainer *t, int bucket)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->workers)
        backward_wave(t, bucket, first);
    lj_gradsync_start(t->gradsync, bucket);
}

/* A lane ready for the encoder's backward. Forward runs again before it, unless the worker still
 * has the lane: it is of the first wave. */
static void encode_again(struct lj_trainer *t, int64_t k, int worker)
{
    if (k >= t->workers) {
        make_views(t, k, worker);
        encode(t, k, worker);
    }
    hand_to_encoder(t, k, worker);
}

/* All buckets of the encoder over one wave after the other; a bucket starts moving in the last. */
static void backward_by_lane(struct lj_trainer *t)
{
    for (int64_t first = 0; first < lj_my_lanes(t); first += t->workers) {
        run_wave(t, first, encode_again);
        for (int bucket = lj_encoder_buckets(t) - 1; bucket >= 0; bucket--) {
            lj_gradsync_take_up(t->gradsync, bucket);
            backward_wave(t, bucket, first);
            if (first == last_wave(t))
                lj_gradsync_start(t->gradsync, bucket);
            else
                lj_gradsync_set_aside(t->gradsync, bucket);
        }
    }
}

/* Buckets of a net, downwards. One that ends with a node whose statistics are shared begins when
 * all lanes have come down to it. */
static void backward_net(struct lj_trainer *t, int net, struct lj_step_report *report)
{
    for (int bucket = t->model->params.buckets - 1; bucket >= 0; bucket--) {
        const struct lj_segment *segment = &t->model->segment[bucket];
        if (segment->net != net)
            continue;
        if (is_sync(t, net, segment->end - 1))
            share_statistics(t, net, segment->end - 1, true, report);
        backward_bucket(t, bucket);
    }
}

void lj_pass_backward(struct lj_trainer *t, struct lj_step_report *report)
{
    lj_phase_begin(LJ_PHASE_BACKWARD);
    if (t->plan[LJ_PASS_HEAD]) {
        backward_net(t, LJ_NET_HEAD, report);
        run_lanes(t, hand_to_projector);
    }
    backward_net(t, LJ_NET_PROJECTOR, report);
    if (t->by_lane) {
        backward_by_lane(t);
    } else {
        run_lanes(t, hand_to_encoder);
        backward_net(t, LJ_NET_ENCODER, report);
    }
    lj_phase_end();
}
