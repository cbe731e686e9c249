/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation while training: accuracy of a kNN on labelled rows, and the embedding's effective
 * rank. The bank is the rows whose labels are known to the kNN, the query those whose labels it
 * predicts. Ranks share the rows of both, and keep the embeddings of theirs. */
#include "run/state.h"

#include "eval/eval.h"

/* An encoder of bytes makes nothing of floats in 0..255. */
static int check_units(const struct lj_run_state *run, const struct lj_archive *archive,
                       const char *files)
{
    const char *type = lj_archive_info(archive)->type,
               *trained = lj_archive_info(run->archive)->type;
    double scale = run->config->data_full_scale;
    if (lj_pixel_divisor(type, scale) == lj_pixel_divisor(trained, scale))
        return LJ_OK;
    return lj_fail(
        LJ_ERR_DATA,
        "eval.archive: %s has pixels of type %s, data.archive of %s, which are divided by "
        "%g and %g; convert one, or give data.full_scale for both",
        files, type, trained, lj_pixel_divisor(type, scale), lj_pixel_divisor(trained, scale));
}

static int open_rows(struct lj_run_state *run, const char *where, struct lj_archive **archive)
{
    const struct lj_config *c = run->config;
    struct lj_archive_options options = lj_archive_options_of(c);
    options.where = where;
    options.limits = lj_archive_limits(run->archive);
    char cache[LJ_PATH_MAX];
    options.indexed = run->archive;
    if (c->eval_archive[0]) {
        options.files = c->eval_archive;
        options.indexed = run->eval_bank;
        options.cache = lj_run_index_cache(run, cache, true);
    }
    LJ_TRY(lj_archive_open(archive, run->comm, &options));
    LJ_TRY(check_units(run, *archive, options.files));
    if (lj_archive_info(*archive)->has_labels)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "%s: has no labels, which eval.every=%lld needs; set data.labels, another "
                   "eval.archive, or eval.every=0",
                   options.files, (long long)c->eval_every);
}

/* Labels of so many rows, which are spaced evenly over the selected ones. Owned by the caller; NULL
 * when out of memory. */
static int32_t *labels_of(const struct lj_archive *archive, int64_t rows)
{
    int32_t *labels = lj_alloc_array(rows, sizeof *labels, "evaluation");
    for (int64_t i = 0; labels && i < rows; i++)
        labels[i] =
            lj_archive_labels(archive)[lj_evenly(i, rows, lj_archive_info(archive)->selected)];
    return labels;
}

static int64_t rows_of_bank(const struct lj_run_state *run)
{
    return lj_min_i64(lj_archive_info(run->eval_bank)->selected, run->config->eval_bank);
}

void lj_run_share_limits(struct lj_run_state *run)
{
    const struct lj_limits *limits = lj_archive_limits(run->archive);
    if (!limits || !run->eval_bank)
        return;
    lj_archive_set_limits(run->eval_bank, limits);
    lj_archive_set_limits(run->eval_query, limits);
}

/* Of the bank's rows leaves those that have a label and are not predicted: a row that met itself
 * among its neighbours would be right by itself. Both archives are the same files, with their rows
 * in order, so that rows can be compared. Local. */
static int narrow_bank(struct lj_run_state *run)
{
    struct lj_archive *bank = run->eval_bank;
    const struct lj_archive *query = run->eval_query;
    int64_t selected = lj_archive_info(bank)->selected, kept = 0, q = 0;
    int64_t queries = lj_archive_info(query)->selected;
    int64_t *keep = lj_alloc_array(selected, sizeof *keep, "evaluation");
    if (!keep)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < selected; i++) {
        int64_t row = lj_archive_row(bank, i);
        while (q < queries && lj_archive_row(query, q) < row)
            q++;
        bool predicted = q < queries && lj_archive_row(query, q) == row;
        bool labelled = lj_archive_labels(bank)[i] >= 0;
        run->eval_overlap += predicted;
        run->eval_bank_unlabelled += !predicted && !labelled;
        if (!predicted && labelled)
            keep[kept++] = i;
    }
    int status = lj_archive_narrow(bank, keep, kept);
    lj_free(keep);
    return status;
}

/* Of the rows to predict leaves those that have a label, and of them eval.queries, spaced evenly.
 * Local. */
static int narrow_query(struct lj_run_state *run)
{
    struct lj_archive *query = run->eval_query;
    int64_t selected = lj_archive_info(query)->selected, labelled = 0;
    int64_t *keep = lj_alloc_array(selected, sizeof *keep, "evaluation");
    if (!keep)
        return LJ_ERR_RESOURCE;
    for (int64_t i = 0; i < selected; i++)
        if (lj_archive_labels(query)[i] >= 0)
            keep[labelled++] = i;
    int64_t rows = lj_min_i64(labelled, run->config->eval_queries);
    for (int64_t i = 0; i < rows; i++)
        keep[i] = keep[lj_evenly(i, rows, labelled)]; /* from i on: not written yet */
    run->eval_query_labelled = labelled;
    run->eval_query_unlabelled = selected - labelled;
    int status = lj_archive_narrow(query, keep, rows);
    lj_free(keep);
    return status;
}

/* Are there labels enough? Local. */
static int check_labels(const struct lj_run_state *run)
{
    int64_t labelled = run->eval_query_labelled, bank_rows = rows_of_bank(run);
    if (labelled > 0 && bank_rows >= LJ_KNN_NEIGHBOURS)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "evaluation: %lld rows to predict and %lld of the bank have a label (which is "
                   "not negative), expected 1 and %d at least; %lld rows of data.where are in "
                   "eval.where, too, and so not in the bank; change eval.where, data.where, "
                   "eval.bank, or set eval.every=0",
                   (long long)labelled, (long long)bank_rows, LJ_KNN_NEIGHBOURS,
                   (long long)run->eval_overlap);
}

void lj_run_say_left_out(const struct lj_run_state *run)
{
    if (!run->eval_query)
        return;
    int64_t labelled = run->eval_query_labelled, unlabelled = run->eval_query_unlabelled;
    int64_t queries = lj_archive_info(run->eval_query)->selected;
    if (unlabelled > 0 || run->eval_bank_unlabelled > 0)
        lj_say("evaluation: %lld of %lld rows to predict, and %lld of data.where have no label and "
               "are left out",
               (long long)unlabelled, (long long)(labelled + unlabelled),
               (long long)run->eval_bank_unlabelled);
    if (queries < labelled)
        lj_say("evaluation: %lld of %lld labelled rows are predicted, spaced evenly (eval.queries)",
               (long long)queries, (long long)labelled);
    if (run->eval_overlap > 0)
        lj_say("evaluation: %lld rows of data.where are in eval.where, too: they are not in the "
               "bank",
               (long long)run->eval_overlap);
}

int lj_run_open_evaluation(struct lj_run_state *run)
{
    const struct lj_config *c = run->config;
    if (c->eval_every == 0)
        return LJ_OK;
    if (!c->eval_where[0])
        return lj_fail(LJ_ERR_CONFIG, "eval.where: is empty; name the rows to predict, for example "
                                      "eval.where=split=1 (the bank is data.where)");
    LJ_TRY(open_rows(run, c->data_where, &run->eval_bank));
    LJ_TRY(open_rows(run, c->eval_where, &run->eval_query));
    LJ_TRY(lj_agree(run->comm, narrow_bank(run)));
    LJ_TRY(lj_agree(run->comm, narrow_query(run)));
    return lj_agree(run->comm, check_labels(run));
}

void lj_run_close_evaluation(struct lj_run_state *run)
{
    lj_archive_close(run->eval_bank);
    lj_archive_close(run->eval_query);
}

/* Rank 0 tells what came out; nothing of it feeds back into training. */
static void report(struct lj_run_state *run, int64_t finished, const int32_t *predicted,
                   const struct lj_spectrum *spectrum)
{
    int64_t rows = lj_archive_info(run->eval_query)->selected;
    struct lj_accuracy accuracy =
        lj_accuracy_of(predicted, lj_archive_labels(run->eval_query), rows);
    lj_run_log_evaluation(run, finished, accuracy.top1, accuracy.balanced,
                          spectrum->effective_rank);
    lj_say("step %8lld  kNN accuracy %.4f (balanced %.4f)  effective rank %.1f of %lld",
           (long long)finished, accuracy.top1, accuracy.balanced, spectrum->effective_rank,
           (long long)run->info.model->embedding);
}

/* Collective. */
static int score(struct lj_run_state *run, int64_t finished, const struct lj_features *bank,
                 const struct lj_features *query)
{
    int64_t rows = lj_archive_info(run->eval_query)->selected;
    int32_t *predicted = lj_alloc_array(rows, sizeof *predicted, "evaluation");
    int32_t *bank_labels = labels_of(run->eval_bank, rows_of_bank(run));
    struct lj_spectrum spectrum = {.eigenvalues =
                                       lj_alloc_array(query->width, sizeof(double), "evaluation")};
    bool enough = predicted && bank_labels && spectrum.eigenvalues;
    int status = lj_agree(run->comm, enough ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = lj_spectrum_of(run->comm, query, &spectrum);
    if (status == LJ_OK)
        status = lj_knn(run->comm, bank, bank_labels, query, LJ_KNN_NEIGHBOURS, LJ_KNN_TEMPERATURE,
                        predicted);
    if (status == LJ_OK && lj_comm_is_root(run->comm))
        report(run, finished, predicted, &spectrum);
    lj_free(predicted);
    lj_free(bank_labels);
    lj_free(spectrum.eigenvalues);
    return status;
}

static int embed_and_score(struct lj_run_state *run, int64_t finished, float *bank, float *query,
                           const struct lj_features *of_bank, const struct lj_features *of_query)
{
    const struct lj_trainer_info *t = &run->info;
    struct lj_embedder embedder = {.model = t->model,
                                   .weights = lj_trainer_weights(run->trainer),
                                   .mean = t->mean,
                                   .std = t->std,
                                   .config = t->config};
    LJ_TRY(lj_embed_share(run->comm, &embedder, run->eval_bank, rows_of_bank(run), bank));
    LJ_TRY(lj_embed_share(run->comm, &embedder, run->eval_query,
                          lj_archive_info(run->eval_query)->selected, query));
    return score(run, finished, of_bank, of_query);
}

/* This rank's part of so many rows, without memory so far. */
static struct lj_features share_of(const struct lj_run_state *run, int64_t rows)
{
    int64_t first, end;
    lj_features_share(rows, run->comm->size, run->comm->rank, &first, &end);
    return (struct lj_features){
        .rows = end - first, .width = run->info.model->embedding, .block = LJ_FEATURES_BLOCK};
}

int lj_run_evaluate(struct lj_run_state *run, int64_t finished)
{
    struct lj_features of_bank = share_of(run, rows_of_bank(run));
    struct lj_features of_query = share_of(run, lj_archive_info(run->eval_query)->selected);
    lj_phase_begin(LJ_PHASE_EVALUATION);
    float *bank = lj_alloc_array(of_bank.rows * of_bank.width, sizeof *bank, "evaluation");
    float *query = lj_alloc_array(of_query.rows * of_query.width, sizeof *query, "evaluation");
    of_bank.values = bank;
    of_query.values = query;
    int status = bank && query ? lj_fault("evaluate", finished) : LJ_ERR_RESOURCE;
    status = lj_agree(run->comm, status);
    if (status == LJ_OK)
        status = embed_and_score(run, finished, bank, query, &of_bank, &of_query);
    lj_free(bank);
    lj_free(query);
    lj_phase_end();
    return status;
}
