/* SPDX-License-Identifier: Apache-2.0 */
/* Embeddings of an archive, in rounds: ranks take contiguous tiles, threads take tiles of a rank,
 * the root passes the rows on in order. */
#include "eval/project.h"

#include <omp.h>
#include <string.h>

enum { TILE = 32 }; /* samples that go through the encoder together */

/* What a rank holds of the result at most, at least a tile for each thread: 4 MiB. */
enum { ROUND_FLOATS = 1 << 20 };

/* Rounds grow until they take so long: the sink shall hear of rows now and then, and a round's last
 * tiles, for which most threads wait, shall be a small part of it. */
static const double round_s = 2;

/* What one thread needs. */
struct workspace {
    float *images, *scratch, *arena;
};

struct work {
    const struct lj_embedder *embedder;
    struct lj_archive *archive;
    struct lj_view_recipe recipe;
    struct lj_net *last_two;   /* NULL: the encoder's own net will do; owned */
    struct lj_plan *plan;      /* NULL for raw pixels and projections */
    struct lj_project project; /* for projections */
    int64_t rows, width;
    struct workspace *workspace; /* (workspaces) */
    int workspaces;
};

int64_t lj_embed_width(const struct lj_embedder *e)
{
    struct lj_shape view = lj_model_view(e->model, 0);
    if (e->projections)
        return lj_project_views(e) * lj_project_width(e);
    if (e->pixels)
        return lj_shape_count(&view);
    return e->layers == 2 ? lj_model_last_two_width(e->model) : e->model->embedding;
}

static int64_t image_floats(const struct lj_archive *archive)
{
    const struct lj_archive_info *info = lj_archive_info(archive);
    return info->channels * info->height * info->width;
}

static int64_t view_floats(const struct work *w)
{
    return w->recipe.channels * w->recipe.size * w->recipe.size;
}

static int take_workspace(const struct work *w, struct workspace *workspace)
{
    int64_t scratch = lj_view_scratch(&w->recipe) * (int64_t)sizeof(float);
    if (w->plan)
        scratch = lj_max_i64(scratch, lj_plan_scratch(w->plan));
    int64_t arena = w->plan ? lj_plan_arena(w->plan) : TILE * view_floats(w);
    if (w->embedder->projections) {
        scratch = w->project.scratch;
        arena = w->project.arena;
    }
    workspace->images =
        lj_alloc_array(TILE * image_floats(w->archive), sizeof(float), "evaluation");
    workspace->scratch = lj_alloc_array(scratch, 1, "evaluation");
    workspace->arena = lj_alloc_array(arena, sizeof(float), "evaluation");
    return workspace->images && workspace->scratch && workspace->arena ? LJ_OK : LJ_ERR_RESOURCE;
}

static int check_archive(const struct lj_embedder *e, const struct lj_archive_info *info)
{
    int64_t channels = e->model->config.channels;
    if (info->channels == channels)
        return LJ_OK;
    return lj_fail(
        LJ_ERR_DATA,
        "%s: has %d channels, the encoder was trained on %lld; choose another data.images",
        info->images, info->channels, (long long)channels);
}

/* The net that makes embeddings. */
static int plan_net(struct work *w, const struct lj_shape *view)
{
    const struct lj_model *model = w->embedder->model;
    if (w->embedder->layers == 2)
        LJ_TRY(lj_model_last_two(&w->last_two, model));
    const struct lj_net *net = w->last_two ? w->last_two : model->net[LJ_NET_ENCODER];
    return lj_plan_create(&w->plan, net, TILE, view,
                          (struct lj_plan_options){.mode = LJ_PLAN_INFER});
}

static int prepare(struct work *w)
{
    const struct lj_embedder *e = w->embedder;
    const struct lj_archive_info *info = lj_archive_info(w->archive);
    struct lj_shape view = lj_model_view(e->model, 0);
    LJ_TRY(check_archive(e, info));
    LJ_TRY(lj_view_recipe(&w->recipe, e->config, info, false, view.dim[1], e->mean, e->std));
    if (e->projections)
        LJ_TRY(lj_project_create(&w->project, e, info, TILE));
    else if (!e->pixels)
        LJ_TRY(plan_net(w, &view));
    w->width = lj_embed_width(e);
    w->workspaces = omp_get_max_threads();
    w->workspace = lj_alloc_array(w->workspaces, sizeof *w->workspace, "evaluation");
    if (!w->workspace)
        return LJ_ERR_RESOURCE;
    for (int d = 0; d < w->workspaces; d++)
        LJ_TRY(take_workspace(w, &w->workspace[d]));
    return LJ_OK;
}

static void release(struct work *w)
{
    for (int d = 0; w->workspace && d < w->workspaces; d++) {
        lj_free(w->workspace[d].images);
        lj_free(w->workspace[d].scratch);
        lj_free(w->workspace[d].arena);
    }
    lj_free(w->workspace);
    lj_plan_destroy(w->plan);
    lj_net_destroy(w->last_two);
    lj_project_destroy(&w->project);
}

/* Samples [first, first + count) of those to embed: reads what lies next to each other at once. */
static int read_samples(const struct work *w, int64_t first, int64_t count, float *images)
{
    int64_t selected = lj_archive_info(w->archive)->selected;
    for (int64_t i = 0, run = 1; i < count; i += run, run = 1) {
        int64_t index = lj_evenly(first + i, w->rows, selected);
        while (i + run < count && lj_evenly(first + i + run, w->rows, selected) == index + run)
            run++;
        LJ_TRY(lj_archive_read(w->archive, index, run, images + i * image_floats(w->archive)));
    }
    return LJ_OK;
}

/* The projections of samples that were read. */
static void project_samples(const struct work *w, const struct workspace *workspace, int64_t first,
                            int64_t count, float *out)
{
    int64_t index[TILE], selected = lj_archive_info(w->archive)->selected;
    for (int64_t i = 0; i < count; i++)
        index[i] = lj_evenly(first + i, w->rows, selected);
    lj_project_tile(&w->project, workspace->images, index, count, workspace->scratch,
                    workspace->arena, out);
}

/* The evaluation views of samples that were read, or the encoder's output for them. */
static void embed_samples(const struct work *w, const struct workspace *workspace, int64_t count,
                          float *out)
{
    struct lj_pass pass = {.arena = workspace->arena,
                           .scratch = workspace->scratch,
                           .weights = w->embedder->weights,
                           .n = TILE};
    float *views = w->plan ? lj_plan_value(w->plan, &pass, 0) : workspace->arena;
    for (int64_t i = 0; i < count; i++)
        lj_view_centre(&w->recipe, workspace->images + i * image_floats(w->archive),
                       views + i * view_floats(w), workspace->scratch);
    memset(views + count * view_floats(w), 0,
           (size_t)((TILE - count) * view_floats(w)) * sizeof *views);
    if (w->plan) {
        int nodes = lj_plan_net(w->plan)->count;
        lj_forward(w->plan, &pass, 1, nodes);
        views = lj_plan_value(w->plan, &pass, nodes - 1);
    }
    memcpy(out, views, (size_t)(count * w->width) * sizeof *out);
}

/* One tile; its last images may be missing, their places are computed and dropped. */
static int embed_tile(const struct work *w, const struct workspace *workspace, int64_t tile,
                      float *out)
{
    int64_t first = tile * TILE, count = lj_min_i64(TILE, w->rows - first);
    lj_progress();
    lj_fault_slow("tile", -1);
    LJ_TRY(read_samples(w, first, count, workspace->images));
    if (w->embedder->projections)
        project_samples(w, workspace, first, count, out);
    else
        embed_samples(w, workspace, count, out);
    return LJ_OK;
}

/* Tiles [first, end) into mine, which holds the first of them at 0. */
static int embed_tiles(const struct work *w, int64_t first, int64_t end, float *mine)
{
    int status = LJ_OK;
    char text[2048] = "";
#pragma omp parallel for schedule(dynamic)
    for (int64_t tile = first; tile < end; tile++) {
        int one = embed_tile(w, &w->workspace[omp_get_thread_num()], tile,
                             mine + (tile - first) * TILE * w->width);
        if (one == LJ_OK)
            continue;
#pragma omp critical(embed_failure)
        {
            status = one;
            strncpy(text, lj_error_text(), sizeof text - 1);
        }
    }
    if (status != LJ_OK)
        lj_error_set(text);
    return status;
}

/* ---- rounds ------------------------------------------------------------------------------ */

struct rounds {
    int64_t first;       /* tile to begin with */
    int64_t least, most; /* tiles of a rank in a round */
};

/* Tiles [first, end) that a rank does of a round of `count` tiles from `begin`. */
static void tiles_of_rank(int64_t begin, int64_t count, int size, int rank, int64_t *first,
                          int64_t *end)
{
    lj_lanes_of_rank(count, size, rank, first, end);
    *first += begin;
    *end += begin;
}

/* The root takes in everybody's rows of a round, one rank after the other; after a failure of the
 * sink it still takes what is on its way. */
static int hand_over(const struct work *w, struct lj_comm *comm, int64_t begin, int64_t count,
                     float *mine, float *theirs, lj_embed_sink sink, void *data)
{
    int status = LJ_OK;
    for (int r = 0; r < comm->size; r++) {
        int64_t first, end;
        tiles_of_rank(begin, count, comm->size, r, &first, &end);
        int64_t row = first * TILE, rows = lj_min_i64(end * TILE, w->rows) - row;
        if (rows <= 0)
            continue;
        float *from = r == comm->rank ? mine : theirs;
        lj_pass_to_root(comm, r, from, rows * w->width * (int64_t)sizeof(float));
        if (lj_comm_is_root(comm) && status == LJ_OK)
            status = sink(data, row, rows, from);
    }
    return status;
}

/* How many tiles a rank does in the next round, by how long rank 0 saw the last one take.
 * Collective. */
static int64_t next_share(struct lj_comm *comm, int64_t share, double took_s,
                          const struct rounds *rounds)
{
    if (took_s < round_s / 2)
        share = lj_min_i64(2 * share, rounds->most);
    else if (took_s > 2 * round_s)
        share = lj_max_i64(share / 2, rounds->least);
    lj_broadcast(comm, &share, sizeof share, 0);
    return share;
}

/* Every rank does the same number of tiles a round, the last round is shared out. What failed while
 * handing over is agreed on with the next round. */
static int embed_rounds(const struct work *w, struct lj_comm *comm, const struct rounds *rounds,
                        float *mine, float *theirs, lj_embed_sink sink, void *data)
{
    int64_t tiles = (w->rows + TILE - 1) / TILE, share = rounds->least;
    int status = LJ_OK;
    for (int64_t begin = rounds->first, count; begin < tiles; begin += count) {
        int64_t first, end;
        double begun_s = lj_now_s();
        count = lj_min_i64(share * comm->size, tiles - begin);
        tiles_of_rank(begin, count, comm->size, comm->rank, &first, &end);
        if (status == LJ_OK)
            status = embed_tiles(w, first, end, mine);
        LJ_TRY(lj_agree(comm, status));
        status = hand_over(w, comm, begin, count, mine, theirs, sink, data);
        share = next_share(comm, share, lj_now_s() - begun_s, rounds);
    }
    return lj_agree(comm, status);
}

int lj_embed(struct lj_comm *comm, const struct lj_embedder *embedder, struct lj_archive *archive,
             int64_t rows, int64_t first, lj_embed_sink sink, void *data)
{
    struct work w = {.embedder = embedder, .archive = archive, .rows = rows};
    float *mine = NULL, *theirs = NULL;
    struct rounds rounds = {.first = first / TILE};
    int status = lj_agree(comm, prepare(&w));
    if (status == LJ_OK) {
        int64_t tile_floats = TILE * w.width;
        rounds.least = lj_all_max(comm, w.workspaces);
        rounds.most = lj_max_i64(rounds.least, ROUND_FLOATS / tile_floats);
        mine = lj_alloc_array(rounds.most * tile_floats, sizeof *mine, "evaluation");
        if (lj_comm_is_root(comm))
            theirs = lj_alloc_array(rounds.most * tile_floats, sizeof *theirs, "evaluation");
        bool all = mine && (theirs || !lj_comm_is_root(comm));
        status = lj_agree(comm, all ? LJ_OK : LJ_ERR_RESOURCE);
    }
    if (status == LJ_OK) { /* a round: everybody's tiles, then the root takes in each rank's rows */
        int64_t turns = (rounds.most + w.workspaces - 1) / w.workspaces + comm->size;
        int64_t before = lj_progress_set_turns(turns);
        status = embed_rounds(&w, comm, &rounds, mine, theirs, sink, data);
        lj_progress_set_turns(before);
    }
    release(&w);
    lj_free(mine);
    lj_free(theirs);
    return status;
}

/* ---- each rank keeps its own ------------------------------------------------------------- */

_Static_assert(LJ_FEATURES_BLOCK % TILE == 0, "ranks share whole tiles");

int lj_embed_share(struct lj_comm *comm, const struct lj_embedder *embedder,
                   struct lj_archive *archive, int64_t rows, float *mine)
{
    struct work w = {.embedder = embedder, .archive = archive, .rows = rows};
    int64_t first, end;
    lj_features_share(rows, comm->size, comm->rank, &first, &end);
    int64_t begin = first / TILE, tiles = (end - first + TILE - 1) / TILE;
    int status = lj_agree(comm, prepare(&w));
    if (status == LJ_OK) {
        int64_t turns = lj_all_max(comm, (tiles + w.workspaces - 1) / w.workspaces);
        int64_t before = lj_progress_set_turns(lj_max_i64(turns, 1));
        status = lj_agree(comm, embed_tiles(&w, begin, begin + tiles, mine));
        lj_progress_set_turns(before);
    }
    release(&w);
    return status;
}
