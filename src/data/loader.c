/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: a thread that prepares the batch of the next step while the current one is trained.
 *
 * Each lane mixes its samples inside a window (sampler.c). A lane holds its present window in
 * memory, so that a storage chunk is decoded once a window. If data.cache is too small for the
 * windows of all lanes of this rank, the remaining lanes hold none and read the samples of every
 * step from the archive. So the order of samples never depends on memory; only the speed does.
 *
 * A step is prepared in rounds. In a round each lane copies what its window holds of the step; a
 * lane whose window is used up lists the ranges of its next window; then data.threads threads read
 * all listed ranges. Rounds end when every lane has its n samples.
 *
 * There are buffers for two batches. Batch s is written into that of batch s - 2, from the moment
 * on at which the training thread asks for step s - 1 and so gives back batch s - 2. */
#include "data/sampler.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCHES = 2, WINDOW_FEWEST = 16, WINDOW_MOST = 256 };
static const int64_t window_bytes = 8 << 20;

/* Consecutive selected indices that are read with one call. */
struct range {
    int64_t first; /* selected index */
    int64_t count; /* indices */
    float *images; /* (count, C, H, W) where they go */
};

/* One lane of this rank. */
struct lane {
    float *window;  /* (window, C, H, W) in the order of the archive; NULL: the lane holds none */
    int64_t first;  /* position of the first sample held */
    int64_t length; /* samples held; 0: none yet */
    int64_t served; /* samples of the step being prepared that are in place */
};

struct lj_loader {
    struct lj_archive *archive;     /* borrowed */
    struct lj_sampler *sampler;     /* owned; used by the thread only */
    int64_t first_lane;             /* of this rank */
    int64_t lanes;                  /* of this rank */
    int64_t n;                      /* samples of a lane in a step */
    int64_t window;                 /* most samples of a window */
    int64_t floats;                 /* of one image */
    int threads;                    /* data.threads: readers of a round */
    struct lane *lane;              /* (lanes) */
    struct range *range;            /* (range_capacity) what the present round reads */
    int64_t ranges;                 /* how many are listed */
    int64_t range_capacity;         /* the most a round can list */
    float *images[BATCHES];         /* (lanes, n, C, H, W) */
    struct lj_draw *draws[BATCHES]; /* (lanes, n) */
    pthread_t thread;               /* valid once started */
    bool started;                   /* the thread must be joined */
    pthread_mutex_t lock;           /* of the fields below */
    pthread_cond_t changed;         /* one of them changed */
    int64_t prepared;               /* batches of all steps below are ready */
    int64_t asked;                  /* the step asked for last; at first, the first step */
    bool stop;                      /* the thread shall end */
    int status;                     /* of the thread: its failure, after which it ends */
    char text[2048];                /* the failure's text */
};

/* ---- one step's batch -------------------------------------------------------------------- */

static int by_index(const void *a, const void *b)
{
    int64_t x = ((const struct range *)a)->first, y = ((const struct range *)b)->first;
    return (x > y) - (x < y);
}

static void add_range(struct lj_loader *l, int64_t index, float *image)
{
    struct range *last = l->ranges ? &l->range[l->ranges - 1] : NULL;
    if (last && last->first + last->count == index &&
        last->images + last->count * l->floats == image) {
        last->count++;
        return;
    }
    LJ_CHECK(l->ranges < l->range_capacity, "the loader planned for %lld ranges",
             (long long)l->range_capacity);
    l->range[l->ranges++] = (struct range){.first = index, .count = 1, .images = image};
}

/* Moves lane k to the window that the position lies in, and lists its ranges. */
static void list_window(struct lj_loader *l, int64_t k, int64_t position)
{
    struct lane *lane = &l->lane[k];
    const int64_t *indices = NULL;
    lj_sampler_window(l->sampler, l->first_lane + k, position, &lane->first, &lane->length,
                      &indices);
    for (int64_t i = 0; i < lane->length; i++)
        add_range(l, indices[i], lane->window + i * l->floats);
}

/* Lists the samples of lane k, which holds no window, one by one in the order of the archive, so
 * that those of one chunk are read right after each other. */
static void list_samples(struct lj_loader *l, int64_t k, float *images, const struct lj_draw *draws)
{
    int64_t before = l->ranges;
    for (int64_t i = 0; i < l->n; i++) {
        LJ_CHECK(l->ranges < l->range_capacity, "the loader planned for %lld ranges",
                 (long long)l->range_capacity);
        l->range[l->ranges++] = (struct range){draws[i].index, 1, images + i * l->floats};
    }
    qsort(l->range + before, (size_t)(l->ranges - before), sizeof *l->range, by_index);
    l->lane[k].served = l->n;
}

/* Copies the samples of the step that the window of lane k holds, up to the
 * first one it does not. */
static void serve(struct lj_loader *l, int64_t k, int64_t step, float *images)
{
    struct lane *lane = &l->lane[k];
    for (; lane->served < l->n; lane->served++) {
        int64_t position = step * l->n + lane->served;
        if (position < lane->first || position >= lane->first + lane->length)
            return;
        int64_t place = lj_sampler_place(l->sampler, l->first_lane + k, position);
        memcpy(images + lane->served * l->floats, lane->window + place * l->floats,
               (size_t)l->floats * sizeof *images);
    }
}

static int read_range(struct lj_loader *l, const struct range *range)
{
    return lj_archive_read(l->archive, range->first, range->count, range->images);
}

/* Reads all listed ranges and empties the list. Of several failures the one of the first range in
 * the list is returned. */
static int read_ranges(struct lj_loader *l)
{
    int64_t failed = l->ranges;
    int status = LJ_OK;
#pragma omp parallel for num_threads(l->threads) schedule(dynamic) if (l->threads > 1)
    for (int64_t i = 0; i < l->ranges; i++) {
        int mine = read_range(l, &l->range[i]);
        if (mine != LJ_OK) {
#pragma omp critical(loader_failure)
            if (i < failed) {
                failed = i;
                status = mine;
                strncpy(l->text, lj_error_text(), sizeof l->text - 1);
            }
        }
    }
    l->ranges = 0;
    return status == LJ_OK ? LJ_OK : lj_fail(status, "%s", l->text);
}

static bool told_to_stop(struct lj_loader *l)
{
    pthread_mutex_lock(&l->lock);
    bool stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    return stop;
}

static void draw_batch(struct lj_loader *l, int64_t step, struct lj_draw *draws)
{
    for (int64_t k = 0; k < l->lanes; k++)
        for (int64_t i = 0; i < l->n; i++)
            lj_sampler_at(l->sampler, l->first_lane + k, step * l->n + i, &draws[k * l->n + i]);
}

/* One round of preparing a step. *more: some lane has listed a window that it has not served from
 * yet, so another round is needed. */
static int prepare_round(struct lj_loader *l, int64_t step, float *images,
                         const struct lj_draw *draws, bool *more)
{
    *more = false;
    for (int64_t k = 0; k < l->lanes; k++) {
        struct lane *lane = &l->lane[k];
        float *mine = images + k * l->n * l->floats;
        if (lane->served == l->n)
            continue;
        if (!lane->window) {
            list_samples(l, k, mine, draws + k * l->n);
            continue;
        }
        serve(l, k, step, mine);
        if (lane->served < l->n) {
            list_window(l, k, step * l->n + lane->served);
            *more = true;
        }
    }
    return read_ranges(l);
}

static int prepare(struct lj_loader *l, int64_t step)
{
    float *images = l->images[step % BATCHES];
    struct lj_draw *draws = l->draws[step % BATCHES];
    LJ_TRY(lj_fault("read", step));
    lj_fault_slow("read", step);
    draw_batch(l, step, draws);
    for (int64_t k = 0; k < l->lanes; k++)
        l->lane[k].served = 0;
    for (bool more = true; more && !told_to_stop(l);)
        LJ_TRY(prepare_round(l, step, images, draws, &more));
    return LJ_OK;
}

/* ---- the thread -------------------------------------------------------------------------- */

static void *run_thread(void *data)
{
    struct lj_loader *l = data;
    pthread_mutex_lock(&l->lock);
    while (!l->stop && l->status == LJ_OK) {
        if (l->prepared >= l->asked + BATCHES) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        int64_t step = l->prepared;
        pthread_mutex_unlock(&l->lock);
        int status = prepare(l, step);
        pthread_mutex_lock(&l->lock);
        l->status = status;
        if (status == LJ_OK)
            l->prepared++;
        else
            strncpy(l->text, lj_error_text(), sizeof l->text - 1);
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Starts the thread with all signals blocked, so that they reach the main thread. */
static int start_thread(struct lj_loader *l)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&l->thread, NULL, run_thread, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    l->started = error == 0;
    if (error)
        return lj_fail(LJ_ERR_RESOURCE,
                       "cannot start the loader thread: %s; raise the limit on "
                       "processes (ulimit -u)",
                       strerror(error));
    return LJ_OK;
}

/* ---- creation ---------------------------------------------------------------------------- */

/* Samples of a window: data.window, or 8 MiB of samples, between 16 and 256 of them; never
 * more than a lane's share of an epoch. The same on every rank, because the order of
 * samples depends on it. */
static int64_t choose_window(const struct lj_config *config, int64_t sample_bytes, int64_t share)
{
    int64_t window =
        lj_max_i64(WINDOW_FEWEST, lj_min_i64(WINDOW_MOST, window_bytes / sample_bytes));
    if (config->data_window > 0)
        window = config->data_window;
    return lj_min_i64(window, share);
}

/* Allocates the windows of as many lanes as fit into data.cache. */
static int allocate_windows(struct lj_loader *l, int64_t cache_mib)
{
    int64_t bytes = l->window * l->floats * (int64_t)sizeof(float);
    int64_t held = lj_min_i64(l->lanes, (int64_t)(((__int128)cache_mib << 20) / bytes));
    for (int64_t k = 0; k < held; k++) {
        l->lane[k].window = lj_alloc((size_t)bytes, "loader windows");
        if (!l->lane[k].window)
            return LJ_ERR_RESOURCE;
    }
    if (held < l->lanes)
        lj_warn(
            "data.cache=%lld MiB holds the windows of %lld of %lld lanes; the other lanes decode "
            "chunks again and again; data.cache=%lld holds all",
            (long long)cache_mib, (long long)held, (long long)l->lanes,
            (long long)((l->lanes * bytes >> 20) + 1));
    return LJ_OK;
}

static int allocate(struct lj_loader *l, const struct lj_config *config)
{
    int64_t samples = l->lanes * l->n;
    l->lane = lj_alloc_array(l->lanes, sizeof *l->lane, "loader");
    l->range_capacity = l->lanes * lj_max_i64(l->window, l->n);
    l->range = lj_alloc_array(l->range_capacity, sizeof *l->range, "loader");
    bool good = l->lane && l->range;
    for (int b = 0; b < BATCHES; b++) {
        l->images[b] = lj_alloc_array(samples * l->floats, sizeof *l->images[b], "loader batches");
        l->draws[b] = lj_alloc_array(samples, sizeof *l->draws[b], "loader batches");
        good = good && l->images[b] && l->draws[b];
    }
    return good ? allocate_windows(l, config->data_cache) : LJ_ERR_RESOURCE;
}

static int set_up(struct lj_loader *l, const struct lj_config *config, int64_t lanes)
{
    const struct lj_archive_info *info = lj_archive_info(l->archive);
    struct lj_groups groups = lj_archive_groups(l->archive);
    if (info->selected < lanes * l->n)
        return lj_fail(LJ_ERR_DATA,
                       "an archive smaller than a batch cannot be trained on: expected at least "
                       "batch.size=%lld samples, found %lld; lower batch.size",
                       (long long)(lanes * l->n), (long long)info->selected);
    l->floats = info->channels * info->height * info->width;
    l->window = choose_window(config, l->floats * (int64_t)sizeof(float),
                              (info->selected + lanes - 1) / lanes);
    l->threads = (int)config->data_threads;
    LJ_TRY(lj_sampler_create(&l->sampler, config->seed, lanes, &groups, l->window));
    LJ_TRY(allocate(l, config));
    return start_thread(l);
}

/* Its time limits are those of a clock that nobody sets. */
static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

int lj_loader_create(struct lj_loader **loader, struct lj_archive *archive,
                     const struct lj_config *config, int64_t lanes, int64_t first_lane,
                     int64_t end_lane, int64_t n, int64_t first_step)
{
    *loader = NULL;
    struct lj_loader *l = lj_alloc(sizeof *l, "loader");
    if (!l)
        return LJ_ERR_RESOURCE;
    l->archive = archive;
    l->first_lane = first_lane;
    l->lanes = end_lane - first_lane;
    l->n = n;
    l->prepared = l->asked = first_step;
    pthread_mutex_init(&l->lock, NULL);
    init_condition(&l->changed);
    int status = set_up(l, config, lanes);
    if (status == LJ_OK)
        *loader = l;
    else
        lj_loader_destroy(l);
    return status;
}

static void stop_thread(struct lj_loader *l)
{
    if (!l->started)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
}

void lj_loader_destroy(struct lj_loader *loader)
{
    if (!loader)
        return;
    stop_thread(loader);
    for (int64_t k = 0; loader->lane && k < loader->lanes; k++)
        lj_free(loader->lane[k].window);
    for (int b = 0; b < BATCHES; b++) {
        lj_free(loader->images[b]);
        lj_free(loader->draws[b]);
    }
    lj_free(loader->lane);
    lj_free(loader->range);
    lj_sampler_destroy(loader->sampler);
    pthread_cond_destroy(&loader->changed);
    pthread_mutex_destroy(&loader->lock);
    lj_free(loader);
}

/* Says which step is wanted; with the lock held. */
static void ask(struct lj_loader *loader, int64_t step)
{
    LJ_CHECK(step == loader->asked || step == loader->asked + 1,
             "the loader is asked for step %lld after %lld", (long long)step,
             (long long)loader->asked);
    loader->asked = step;
    pthread_cond_broadcast(&loader->changed);
}

static bool is_ready(const struct lj_loader *loader, int64_t step)
{
    return loader->prepared > step || loader->status != LJ_OK;
}

bool lj_loader_wait(struct lj_loader *loader, int64_t step, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t end = until.tv_nsec + (int64_t)(1e9 * seconds);
    until.tv_sec += end / 1000000000;
    until.tv_nsec = end % 1000000000;
    pthread_mutex_lock(&loader->lock);
    ask(loader, step);
    for (int error = 0; error == 0 && !is_ready(loader, step);)
        error = pthread_cond_timedwait(&loader->changed, &loader->lock, &until);
    bool ready = is_ready(loader, step);
    pthread_mutex_unlock(&loader->lock);
    return ready;
}

int lj_loader_next(struct lj_loader *loader, int64_t step, struct lj_batch *batch)
{
    lj_phase_begin(LJ_PHASE_WAIT_DATA);
    pthread_mutex_lock(&loader->lock);
    ask(loader, step);
    while (!is_ready(loader, step))
        pthread_cond_wait(&loader->changed, &loader->lock);
    int status = LJ_OK;
    if (loader->prepared <= step)
        status = lj_fail(loader->status, "%s", loader->text);
    pthread_mutex_unlock(&loader->lock);
    lj_phase_end();
    *batch = (struct lj_batch){.step = step,
                               .lanes = loader->lanes,
                               .n = loader->n,
                               .images = loader->images[step % BATCHES],
                               .draws = loader->draws[step % BATCHES]};
    return status;
}
