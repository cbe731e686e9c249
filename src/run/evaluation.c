/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation while training: accuracy of a kNN on labelled rows, and the embedding's
 * effective rank. The bank is the rows whose labels are known to the kNN, the query those
 * whose labels it predicts. */
#include "run/state.h"

#include "eval/eval.h"

#include <math.h>
#include <string.h>

static int open_rows(struct lj_run_state *run, const char *where, struct lj_archive **archive)
{
    const struct lj_config *c = run->config;
    struct lj_archive_options options = lj_archive_options_of(c);
    options.where = where;
    options.limits = lj_archive_limits(run->archive);
    if (c->eval_archive[0])
        options.files = c->eval_archive;
    LJ_TRY(lj_archive_open(archive, run->comm, &options));
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

static int64_t count_unlabelled(const struct lj_archive *archive)
{
    const int32_t *labels = lj_archive_labels(archive);
    int64_t count = 0;
    for (int64_t i = 0; i < lj_archive_info(archive)->selected; i++)
        count += labels[i] < 0;
    return count;
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

/* Are there labels enough? Local. */
static int check_labels(const struct lj_run_state *run)
{
    int64_t rows = lj_archive_info(run->eval_query)->selected, bank_rows = rows_of_bank(run);
    int64_t labelled = rows - count_unlabelled(run->eval_query);
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
    int64_t unlabelled = count_unlabelled(run->eval_query);
    if (unlabelled > 0 || run->eval_bank_unlabelled > 0)
        lj_say("evaluation: %lld of %lld rows to predict, and %lld of data.where have no label and "
               "are left out",
               (long long)unlabelled, (long long)lj_archive_info(run->eval_query)->selected,
               (long long)run->eval_bank_unlabelled);
    if (run->eval_overlap > 0)
        lj_say(
            "evaluation: %lld rows of data.where are in eval.where, too: they are predicted, and "
            "not in the bank",
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
    return lj_agree(run->comm, check_labels(run));
}

void lj_run_close_evaluation(struct lj_run_state *run)
{
    lj_archive_close(run->eval_bank);
    lj_archive_close(run->eval_query);
}

/* Rank 0 predicts, and logs the result; nothing of it feeds back into training. Of bank and query
 * only the labelled rows stay. */
static int score(struct lj_run_state *run, int64_t finished, double effective_rank, float *bank,
                 int64_t bank_rows, float *query, int64_t rows, int64_t width)
{
    int32_t *truth = labels_of(run->eval_query, rows);
    int32_t *predicted = lj_alloc_array(rows, sizeof *predicted, "evaluation");
    int32_t *bank_labels = labels_of(run->eval_bank, bank_rows);
    int status = truth && predicted && bank_labels ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        rows = lj_keep_labelled(query, truth, rows, width);
        status = lj_knn(bank, bank_labels, bank_rows, query, rows, width, LJ_KNN_NEIGHBOURS,
                        LJ_KNN_TEMPERATURE, predicted);
    }
    if (status == LJ_OK) {
        struct lj_accuracy accuracy = lj_accuracy_of(predicted, truth, rows);
        lj_run_log_evaluation(run, finished, accuracy.top1, accuracy.balanced, effective_rank);
        lj_say("step %8lld  kNN accuracy %.4f (balanced %.4f)  effective rank %.1f of %lld",
               (long long)finished, accuracy.top1, accuracy.balanced, effective_rank,
               (long long)width);
    }
    lj_free(truth);
    lj_free(predicted);
    lj_free(bank_labels);
    return status;
}

/* Where rank 0 collects embeddings. */
struct table {
    float *values; /* (rows, width) */
    int64_t width; /* of an embedding */
};

static int collect(void *data, int64_t first, int64_t count, const float *embeddings)
{
    const struct table *table = data;
    memcpy(table->values + first * table->width, embeddings,
           (size_t)(count * table->width) * sizeof *embeddings);
    return LJ_OK;
}

/* Effective rank of all rows, which rank 0 has. Collective. */
static int take_spectrum(struct lj_run_state *run, const float *query, int64_t rows, int64_t width,
                         double *effective_rank)
{
    struct lj_features x = {.values = query,
                            .rows = lj_comm_is_root(run->comm) ? rows : 0,
                            .width = width,
                            .block = LJ_FEATURES_BLOCK};
    struct lj_spectrum spectrum = {.eigenvalues =
                                       lj_alloc_array(width, sizeof(double), "evaluation")};
    int status = lj_agree(run->comm, spectrum.eigenvalues ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = lj_spectrum_of(run->comm, &x, &spectrum);
    *effective_rank = spectrum.effective_rank;
    lj_free(spectrum.eigenvalues);
    return status;
}

static int embed_and_score(struct lj_run_state *run, int64_t finished, int64_t bank_rows,
                           int64_t rows, float *bank, float *query, int64_t width)
{
    const struct lj_trainer_info *t = &run->info;
    struct lj_embedder embedder = {.model = t->model,
                                   .weights = lj_trainer_weights(run->trainer),
                                   .mean = t->mean,
                                   .std = t->std,
                                   .config = t->config};
    struct table to_bank = {bank, width}, to_query = {query, width};
    LJ_TRY(lj_embed(run->comm, &embedder, run->eval_bank, bank_rows, 0, collect, &to_bank));
    LJ_TRY(lj_embed(run->comm, &embedder, run->eval_query, rows, 0, collect, &to_query));
    double effective_rank;
    LJ_TRY(take_spectrum(run, query, rows, width, &effective_rank));
    int status = LJ_OK;
    lj_root_section_begin(run->comm);
    if (lj_comm_is_root(run->comm))
        status = score(run, finished, effective_rank, bank, bank_rows, query, rows, width);
    return lj_root_section_end(run->comm, status);
}

int lj_run_evaluate(struct lj_run_state *run, int64_t finished)
{
    int64_t bank_rows = rows_of_bank(run);
    int64_t rows = lj_archive_info(run->eval_query)->selected, width = run->info.model->embedding;
    lj_phase_begin(LJ_PHASE_EVALUATION);
    bool collects = lj_comm_is_root(run->comm);
    float *bank = lj_alloc_array(collects ? bank_rows * width : 0, sizeof *bank, "evaluation");
    float *query = lj_alloc_array(collects ? rows * width : 0, sizeof *query, "evaluation");
    int status = bank && query ? lj_fault("evaluate", finished) : LJ_ERR_RESOURCE;
    status = lj_agree(run->comm, status);
    if (status == LJ_OK)
        status = embed_and_score(run, finished, bank_rows, rows, bank, query, width);
    lj_free(bank);
    lj_free(query);
    lj_phase_end();
    return status;
}
