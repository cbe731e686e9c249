/* SPDX-License-Identifier: Apache-2.0 */
/* What a run logs at its start and end, and timing.json. */
#include "run/summary/summary.h"

#include "kernels/kernels.h"
#include "run/run.h"

#include <stdio.h>
#include <string.h>

enum { NAMES_MAX = 256 }; /* names of datasets that are listed */

/* ---- start ------------------------------------------------------------------------------- */

static void say_model(const struct lj_trainer_info *t)
{
    const struct lj_projector_config *p = &t->model->config.projector;
    char head[96];
    if (lj_model_classifies(t->config))
        snprintf(head, sizeof head, "linear classifier of %lld classes", (long long)p->out);
    else
        snprintf(head, sizeof head, "projector %lld-%lld (%s)", (long long)p->hidden,
                 (long long)p->out, lj_projector_norm_word(p->norm));
    lj_say("model: %s; embedding %lld; %s; %.2f M parameters", t->model->config.text,
           (long long)t->model->embedding, head, (double)t->model->params.trained * 1e-6);
}

static void say_batch(const struct lj_trainer_info *t)
{
    const struct lj_config *c = t->config;
    char objective[512], encoder[64] = "";
    lj_say(
        "batch: %lld samples in %lld lanes of %lld; views: %lld global %lld px, %lld local %lld px",
        (long long)c->batch_size, (long long)t->lanes, (long long)t->samples_per_lane,
        (long long)t->views[0], (long long)t->model->config.size[0], (long long)t->views[1],
        (long long)t->model->config.size[1]);
    t->objective->describe(c, objective, sizeof objective);
    lj_say("loss: %s", objective);
    if (c->optim_encoder_lr != 1)
        snprintf(encoder, sizeof encoder, " (encoder: times %g)", c->optim_encoder_lr);
    lj_say("schedule: %lld steps, warm-up %.0f, learning rate %g to %g%s, AdamW decay %g on %s",
           (long long)t->steps, t->warmup_steps, t->lr_peak, t->lr_floor, encoder,
           c->optim_weight_decay, lj_optim_decay_on_word(c->optim_decay_on));
    if (t->averages)
        lj_say("average: of the weights, decay %g; it is evaluated, embedded and exported",
               c->train_average > 0 ? c->train_average : c->target_momentum);
}

/* Logs settings of views that do nothing for these pixels. */
static void say_views(const struct lj_run_state *run)
{
    char text[512];
    lj_view_without_effect(run->info.config, lj_archive_info(run->archive), text, sizeof text);
    if (text[0])
        lj_say("views: %s", text);
}

static void say_memory(int64_t planned_bytes)
{
    struct lj_memory_use use[64];
    int labels = lj_memory_report(use, 64);
    char line[2048] = "";
    size_t at = 0;
    for (int i = 0; i < labels && i < 64; i++) {
        if (use[i].bytes >> 20)
            at += (size_t)snprintf(line + at, sizeof line - at, ", %s %.0f", use[i].label,
                                   (double)use[i].bytes / 1048576);
        if (at >= sizeof line)
            break;
    }
    lj_say("memory of rank 0: %.0f MiB%s", (double)planned_bytes / 1048576, line);
}

/* Logs what each memory.recompute takes on rank 0, if it has lanes. */
static void say_recompute(const struct lj_trainer_info *t)
{
    char text[256] = "";
    size_t at = 0;
    for (int r = 0; r <= LJ_MEMORY_RECOMPUTE_LANES; r++)
        if (t->recompute_bytes[r] > 0)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%.0f MiB with %s",
                                   at > 0 ? ", " : "", (double)t->recompute_bytes[r] / 1048576,
                                   lj_memory_recompute_word((enum lj_memory_recompute)r));
    if (at > 0)
        lj_say("memory.recompute: activations and sums of gradients set aside take %s", text);
}

/* Logs the size of tiles: the bytes of a layer should fit into the second-level cache of a core. */
static void say_tiles(const struct lj_trainer_info *t)
{
    static const char *const views[] = {"global", "local"};
    for (int group = LJ_PASS_GLOBAL; group <= LJ_PASS_LOCAL; group++) {
        int64_t rows, bytes;
        if (!t->plan[group])
            continue;
        lj_plan_tile_use(t->plan[group], &rows, &bytes);
        lj_say("tile of %s views: %lld of %lld images, %lld rows; a layer reads and writes at most "
               "%lld KiB of it (memory.tile)",
               views[group], (long long)lj_plan_tile(t->plan[group]),
               (long long)lj_plan_images(t->plan[group]), (long long)rows,
               (long long)(bytes >> 10));
    }
}

static int say_peak(struct lj_run_state *run)
{
    if (run->config->run_measure_peak == LJ_RUN_MEASURE_PEAK_FALSE)
        return LJ_OK;
    LJ_TRY(lj_run_measure_peak(run));
    int64_t threads = lj_all_sum(run->comm, run->info.workers);
    lj_say("peak: matmuls reach %.1f GFLOP/s on all threads, %.1f on each (%s)", run->peak_gflops,
           run->peak_gflops / (double)threads, lj_precision_word(run->info.config->precision));
    return LJ_OK;
}

static void say_plan(const struct lj_trainer_info *t)
{
    for (int i = 0; i < t->ledger->count; i++) {
        const struct lj_ledger_entry *e = &t->ledger->entry[i];
        bool small = strcmp(e->name, t->objective->message) == 0;
        lj_say("communication: %-10s %-19s %12lld bytes per call and rank%s%s", e->name,
               e->collective, (long long)e->predicted_bytes_per_call, small ? ", " : "",
               small ? t->objective->message_text : "");
    }
}

/* Logs what the messages between two ranks of a step come to, as planned: the most that a rank
 * sends. Collective. */
static void say_messages(const struct lj_run_state *run)
{
    const struct lj_ledger *ledger = run->info.ledger;
    int64_t messages = 0, bytes = 0;
    char parts[256] = "";
    size_t at = 0;
    for (int i = 0; i < ledger->count; i++) {
        const struct lj_ledger_entry *e = &ledger->entry[i];
        int64_t most = lj_all_max(run->comm, e->predicted_messages_per_step);
        messages += e->predicted_messages_per_step;
        bytes += e->predicted_bytes_per_step;
        if (most > 0 && at < sizeof parts)
            at += (size_t)snprintf(parts + at, sizeof parts - at, ", %lld of %s", (long long)most,
                                   e->name);
    }
    messages = lj_all_max(run->comm, messages);
    bytes = lj_all_max(run->comm, bytes);
    if (messages > 0)
        lj_say("communication: in a step a rank sends at most %lld messages with %lld bytes%s",
               (long long)messages, (long long)bytes, parts);
}

/* Says whether nodes exchange instead of ranks, and returns it. Collective. */
static bool say_exchange(const struct lj_run_state *run)
{
    int64_t bytes = lj_all_max(run->comm, run->info.common_bytes);
    if (bytes > 0)
        lj_say("communication: nodes exchange gradients and weights; the ranks of one share up to "
               "%lld MiB for it (comm.exchange)",
               (long long)(bytes + (1 << 20) - 1) >> 20);
    return bytes > 0;
}

/* Says what lanes that do not fit the ranks cost, and which numbers would fit. */
static void say_sums(const struct lj_run_state *run)
{
    const struct lj_trainer_info *t = &run->info;
    int size = run->comm->size, sums = lj_lanes_most_sums(t->lanes, size);
    if (size == 1 || sums == 1 || t->config->reduce == LJ_REDUCE_FAST)
        return;
    int64_t lanes = lj_lanes_nearest(t->lanes, size);
    char set_lanes[64] = "";
    if (t->config->batch_lanes > 0)
        snprintf(set_lanes, sizeof set_lanes, " batch.lanes=%lld", (long long)lanes);
    lj_say("communication: %lld lanes on %d ranks make a rank send up to %d sums of each bucket; "
           "one would do with a power of two lanes on each: %lld ranks, or batch.size=%lld%s",
           (long long)t->lanes, size, sums, (long long)lj_lanes_nearest_ranks(t->lanes, size),
           (long long)(lanes * t->samples_per_lane), set_lanes);
}

/* Logs the processing units of rank 0, and how many the other ranks have. Collective. */
static int say_binding(struct lj_run_state *run)
{
    char units[256];
    double mine = lj_threads_binding(units, sizeof units), most = mine, least = mine;
    double *all = lj_alloc_array(run->comm->size, sizeof *all, "summary");
    int status = lj_agree(run->comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        lj_all_gather_f64(run->comm, &mine, 1, all);
    for (int r = 0; status == LJ_OK && r < run->comm->size; r++) {
        most = all[r] > most ? all[r] : most;
        least = all[r] < least ? all[r] : least;
    }
    lj_say(
        "ranks: %d, %d thread%s each; rank 0 may run on processing units %s; %.0f to %.0f units a "
        "rank",
        run->comm->size, run->info.workers, run->info.workers == 1 ? "" : "s", units, least, most);
    lj_free(all);
    return status;
}

/* Each dataset that images are taken from, if it is not the one that the archive's line names. */
static void say_datasets(const struct lj_archive *archive)
{
    struct lj_archive_dataset set[NAMES_MAX];
    int names = lj_archive_datasets(archive, set, NAMES_MAX);
    for (int i = 0; i < names && names > 1; i++)
        lj_say("archive: %s, %lld rows in %lld file%s", set[i].name, (long long)set[i].rows,
               (long long)set[i].files, set[i].files == 1 ? "" : "s");
    if (names == NAMES_MAX)
        lj_say("archive: %d names are listed at most", NAMES_MAX);
}

int lj_run_summary_start(struct lj_run_state *run, const char *isa)
{
    char archive[1024], processor[64];
    const struct lj_trainer_info *t = &run->info;
    lj_archive_describe(run->archive, archive, sizeof archive);
    const struct lj_matmul matmul = {.batch = 1, .m = 1, .n = 1, .k = 1};
    lj_processor_name(processor, sizeof processor);
    lj_say("lejepa_mpi %s; kernels %s on %s; precision %s; matmuls %s; reduce %s; gradients %s; "
           "recompute %s",
           LJ_VERSION, isa, processor, lj_precision_word(t->config->precision),
           lj_matmul_backend(&matmul), lj_reduce_word(t->config->reduce),
           lj_comm_gradients_word(t->config->comm_gradients),
           lj_memory_recompute_word(t->config->memory_recompute));
    LJ_TRY(say_binding(run));
    lj_say("archive: %s", archive);
    say_datasets(run->archive);
    say_model(t);
    say_batch(t);
    say_views(run);
    run->planned_bytes = lj_run_open_bytes();
    say_memory(run->planned_bytes);
    say_recompute(t);
    say_tiles(t);
    say_plan(t);
    say_messages(run);
    if (!say_exchange(run))
        say_sums(run);
    LJ_TRY(say_peak(run));
    lj_say("run directory: %s%s", run->dir, t->first_step > 0 ? " (continuing)" : "");
    return LJ_OK;
}

/* ---- end --------------------------------------------------------------------------------- */

static void say_phases(const struct lj_phase_row *rows, double total)
{
    lj_say("%-24s %10s %10s %10s  %5s  %s", "phase", "min s", "mean s", "max s", "share",
           "slowest");
    for (int p = 0; p < LJ_PHASE_COUNT; p++)
        if (rows[p].max > 0)
            lj_say("%-24s %10.3f %10.3f %10.3f  %4.0f%%  rank %d", lj_phase_name((enum lj_phase)p),
                   rows[p].min, rows[p].mean, rows[p].max, 100 * rows[p].mean / total,
                   rows[p].slowest);
}

static void say_ledger(const struct lj_ledger *ledger)
{
    lj_say("%-12s %-20s %8s %14s %14s %9s %9s", "collective", "call", "calls", "bytes/call",
           "predicted", "s", "exposed");
    for (int i = 0; i < ledger->count; i++) {
        const struct lj_ledger_entry *e = &ledger->entry[i];
        lj_say("%-12s %-20s %8lld %14lld %14lld %9.3f %9.3f", e->name, e->collective,
               (long long)e->calls, (long long)(e->calls ? e->bytes / e->calls : 0),
               (long long)e->predicted_bytes_per_call, e->seconds, e->exposed_seconds);
    }
}

/* What helps a run that arithmetic bounds. */
static void advise(const struct lj_run_state *run, const struct lj_layer_table *layers, char *text,
                   size_t capacity)
{
    const struct lj_trainer_info *t = &run->info;
    int64_t threads = (int64_t)run->comm->size * t->workers;
    if (layers->peak > 0 && layers->matmul_gflops < 0.6 * layers->peak)
        snprintf(text, capacity, "try another memory.tile (which changes last bits)%s%s%s",
                 threads > 1 ? ", and fewer " : "",
                 threads == 1     ? ""
                 : t->workers > 1 ? "threads"
                                  : "ranks",
                 threads > 1 ? " if they share cores" : "");
    else if (threads < t->lanes)
        snprintf(text, capacity,
                 "more ranks make it faster, as long as each has a lane of the %lld",
                 (long long)t->lanes);
    else
        snprintf(text, capacity,
                 "each of the %lld lanes has a thread, so more ranks need a larger batch.size%s",
                 (long long)t->lanes, t->config->batch_lanes > 0 ? " and batch.lanes" : "");
}

/* The sentence for a run that arithmetic bounds: the share of time in matmuls, and how near to the
 * peak they come. */
static void judge_arithmetic(const struct lj_run_state *run, const struct lj_phase_row *rows,
                             const struct lj_layer_table *layers, double total, char *text,
                             size_t capacity)
{
    double arithmetic =
        rows[LJ_PHASE_FORWARD].mean + rows[LJ_PHASE_BACKWARD].mean + rows[LJ_PHASE_PROJECTOR].mean;
    char rate[128], advice[160];
    if (layers->peak > 0)
        snprintf(rate, sizeof rate, "%.2f of the measured peak",
                 layers->matmul_gflops / layers->peak);
    else
        snprintf(rate, sizeof rate, "%.1f GFLOP/s on a thread", layers->matmul_gflops);
    advise(run, layers, advice, sizeof advice);
    snprintf(text, capacity,
             "bound by the arithmetic of encoder and projector (%.0f %% of the time): layers with "
             "matmuls take %.0f %%, and matmuls run at %s; %s",
             100 * arithmetic / total, 100 * layers->matmul_s / total, rate, advice);
}

/* One sentence on what bounds the run's speed, and what to do about it. */
static void make_verdict(const struct lj_run_state *run, const struct lj_phase_row *rows,
                         const struct lj_layer_table *layers, double total, char *text,
                         size_t capacity)
{
    double wait = rows[LJ_PHASE_WAIT_DATA].mean / total, views = rows[LJ_PHASE_VIEWS].mean / total;
    double comm = (rows[LJ_PHASE_SMALL_ALLREDUCE].mean + rows[LJ_PHASE_GRADIENT_COMM].mean +
                   rows[LJ_PHASE_WEIGHT_COMM].mean) /
                  total;
    double evaluation = rows[LJ_PHASE_EVALUATION].mean / total;
    if (wait > 0.05)
        snprintf(text, capacity,
                 "waiting for data takes %.0f %% of the time: raise data.threads, or "
                 "pack the archive in smaller chunks",
                 100 * wait);
    else if (comm > 0.2)
        snprintf(text, capacity,
                 "communication takes %.0f %% of the time: use fewer ranks with more "
                 "threads, or a larger batch.size",
                 100 * comm);
    else if (views > 0.2)
        snprintf(text, capacity,
                 "making views takes %.0f %% of the time: load smaller images "
                 "(data.size) or a larger encoder",
                 100 * views);
    else if (evaluation > 0.2)
        snprintf(text, capacity, "evaluation takes %.0f %% of the time: raise eval.every",
                 100 * evaluation);
    else
        judge_arithmetic(run, rows, layers, total, text, capacity);
}

/* What is logged at the end. */
struct ending {
    struct lj_phase_row rows[LJ_PHASE_COUNT];
    struct lj_layer_table layers;
    struct lj_memory_row memory;
};

static int write_timing(struct lj_run_state *run, const struct ending *end, double samples_per_s,
                        double gflops, const char *verdict)
{
    char path[LJ_PATH_MAX];
    snprintf(path, sizeof path, "%.4000s/timing.json", run->dir);
    json_t *peak = run->peak_gflops > 0 ? json_real(run->peak_gflops) : json_null();
    json_t *all = json_pack(
        "{s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:o, s:s}", "phases", lj_run_phases_json(end->rows),
        "layers", lj_run_layers_json(&end->layers), "ledger", lj_run_ledger_json(run->info.ledger),
        "memory", lj_run_memory_json(&end->memory), "samples_per_s", samples_per_s, "views_per_s",
        samples_per_s * (double)(run->info.views[0] + run->info.views[1]), "gflops", gflops,
        "peak_gflops", peak, "verdict", verdict);
    int written = all ? json_dump_file(all, path, JSON_INDENT(1)) : -1;
    json_decref(all);
    return written == 0 ? LJ_OK : lj_fail(LJ_ERR_RESOURCE, "%s: cannot be written", path);
}

static void say_redraws(const struct lj_run_state *run)
{
    double views = (double)run->done * (double)run->config->batch_size *
                   (double)(run->info.views[0] + run->info.views[1]);
    if (run->config->views_redraw > 0)
        lj_say("views.redraw=%lld: crops that see nothing were drawn again %lld times, %.3f times "
               "a view",
               (long long)run->config->views_redraw, (long long)run->redraws.all,
               (double)run->redraws.all / views);
}

static int tell_end(struct lj_run_state *run, const struct ending *end)
{
    double seconds = lj_now_s() - run->started_s, total = 0;
    for (int p = 0; p < LJ_PHASE_COUNT; p++)
        total += end->rows[p].mean;
    double rate = (double)run->done * (double)run->config->batch_size / seconds;
    double gflops = lj_trainer_step_flops(run->trainer) * (double)run->done / seconds * 1e-9;
    char verdict[512], of_peak[64] = "";
    make_verdict(run, end->rows, &end->layers, total, verdict, sizeof verdict);
    say_phases(end->rows, total);
    lj_run_say_layers(&end->layers, total);
    say_ledger(run->info.ledger);
    lj_run_say_memory(&end->memory);
    say_redraws(run);
    if (run->peak_gflops > 0)
        snprintf(of_peak, sizeof of_peak, ", %.2f of the measured peak", gflops / run->peak_gflops);
    lj_say("%lld steps in %.1f s: %.1f samples/s, %.1f views/s, %.1f GFLOP/s on %d ranks%s",
           (long long)run->done, seconds, rate,
           rate * (double)(run->info.views[0] + run->info.views[1]), gflops, run->comm->size,
           of_peak);
    lj_say("verdict: %s", verdict);
    return write_timing(run, end, rate, gflops, verdict);
}

int lj_run_summary_end(struct lj_run_state *run)
{
    struct ending end;
    int status = lj_run_gather_phases(run->comm, end.rows);
    if (status == LJ_OK) {
        end.memory = lj_run_gather_memory(run);
        status = lj_run_gather_layers(run, &end.layers);
        if (run->config->views_redraw > 0)
            run->redraws = lj_trainer_redraws(run->trainer);
    }
    if (status == LJ_OK)
        status = lj_agree(run->comm, lj_comm_is_root(run->comm) ? tell_end(run, &end) : LJ_OK);
    return status;
}
