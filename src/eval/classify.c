/* SPDX-License-Identifier: Apache-2.0 */
/* What a model's own classifier, which training made beside the encoder, says of embeddings. */
#include "eval/eval.h"

#include <string.h>

enum { TILE = 64 }; /* rows that go through the classifier together */

/* What a rank needs. */
struct work {
    const struct lj_embedder *embedder;
    const int32_t *label; /* (classes) */
    struct lj_plan *plan;
    float *arena;
    void *scratch;
    int64_t *bytes_of_rank;
};

static int prepare(struct work *w, int ranks)
{
    const struct lj_model *model = w->embedder->model;
    struct lj_shape row = {1, {model->embedding}};
    LJ_TRY(lj_plan_create(&w->plan, model->net[LJ_NET_PROJECTOR], TILE, &row,
                          (struct lj_plan_options){.mode = LJ_PLAN_INFER}));
    w->arena = lj_alloc_array(lj_plan_arena(w->plan), sizeof *w->arena, "evaluation");
    w->scratch = lj_alloc_array(lj_plan_scratch(w->plan), 1, "evaluation");
    w->bytes_of_rank = lj_alloc_array(ranks, sizeof *w->bytes_of_rank, "evaluation");
    return w->arena && w->scratch && w->bytes_of_rank ? LJ_OK : LJ_ERR_RESOURCE;
}

static void release(struct work *w)
{
    lj_plan_destroy(w->plan);
    lj_free(w->arena);
    lj_free(w->scratch);
    lj_free(w->bytes_of_rank);
}

/* The first of the largest logits decides. */
static int32_t class_of(const struct work *w, const float *logits, int64_t classes)
{
    int64_t top = 0;
    for (int64_t k = 1; k < classes; k++)
        top = logits[k] > logits[top] ? k : top;
    return w->label[top];
}

static void predict(const struct work *w, const struct lj_features *x, int32_t *predicted)
{
    struct lj_pass pass = {
        .arena = w->arena, .scratch = w->scratch, .weights = w->embedder->weights, .n = TILE};
    int nodes = lj_plan_net(w->plan)->count;
    int64_t classes = w->embedder->model->config.projector.out;
    float *rows = lj_plan_value(w->plan, &pass, 0);
    for (int64_t first = 0; first < x->rows; first += TILE) {
        int64_t count = lj_min_i64(TILE, x->rows - first);
        memset(rows, 0, (size_t)(TILE * x->width) * sizeof *rows);
        memcpy(rows, x->values + first * x->width, (size_t)(count * x->width) * sizeof *rows);
        lj_forward(w->plan, &pass, 1, nodes);
        const float *logits = lj_plan_value(w->plan, &pass, nodes - 1);
        for (int64_t i = 0; i < count; i++)
            predicted[first + i] = class_of(w, logits + i * classes, classes);
        lj_progress();
    }
}

int lj_classify(struct lj_comm *comm, const struct lj_embedder *embedder, const int32_t *label,
                const struct lj_features *x, int32_t *predicted)
{
    struct work w = {.embedder = embedder, .label = label};
    int64_t rows = lj_all_sum(comm, x->rows), first, end;
    LJ_CHECK(x->width == embedder->model->embedding, "a classifier takes embeddings of one layer");
    int status = lj_agree(comm, prepare(&w, comm->size));
    if (status == LJ_OK) {
        int64_t before = lj_features_set_turns(comm, x);
        lj_features_share(rows, comm->size, comm->rank, &first, &end);
        predict(&w, x, predicted + first);
        lj_features_gather(comm, rows, predicted, sizeof *predicted, w.bytes_of_rank);
        lj_progress_set_turns(before);
    }
    release(&w);
    return status;
}
