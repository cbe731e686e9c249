/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation while training, of the weights' running average where there is one: effective rank and
 * condition of the embeddings of some rows, the query, and SIGReg of their projections where the
 * objective sees how long these are; where there are labels, the accuracy of a kNN, too. The bank
 * is the rows whose labels are known to the kNN, the query those whose labels it predicts. Ranks
 * share the rows of both, and keep the embeddings of theirs. The query is what eval.where or
 * eval.archive say, else rows that are held out, one of eval.holdout.
 *
 * SIGReg is taken as training takes it, on the projections of all views, of batch.size rows at
 * most, because it grows with their number: so it compares with what steps log. */
#include "run/run.h"
#include "run/state.h"

#include "eval/eval.h"

#include <math.h>
#include <stdio.h>

/* ---- rows of the evaluation -------------------------------------------------------------- */

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
        options.indexed = run->eval_query;
        options.cache = lj_run_index_cache(run, cache, true);
    }
    LJ_TRY(lj_archive_open(archive, run->comm, &options));
    return check_units(run, *archive, options.files);
}

/* Labels of all selected rows. Owned by the caller; NULL when out of memory. */
static int32_t *labels_of(const struct lj_archive *archive)
{
    int64_t rows = lj_archive_info(archive)->selected;
    int32_t *labels = lj_alloc_array(rows, sizeof *labels, "evaluation");
    for (int64_t i = 0; labels && i < rows; i++)
        labels[i] = lj_archive_label(archive, i);
    return labels;
}

static int64_t rows_of_bank(const struct lj_run_state *run)
{
    return lj_archive_info(run->eval_bank)->selected;
}

void lj_run_share_limits(struct lj_run_state *run)
{
    const struct lj_limits *limits = lj_archive_limits(run->archive);
    if (limits && run->eval_query)
        lj_archive_set_limits(run->eval_query, limits);
    if (limits && run->eval_bank)
        lj_archive_set_limits(run->eval_bank, limits);
}

/* Of the bank's rows leaves those that have a label and are not predicted: a row that met itself
 * among its neighbours would be right by itself. Both archives are the same files, with their rows
 * in order, so that rows can be compared. */
static bool in_bank(void *data, int64_t index)
{
    struct lj_run_state *run = data;
    bool predicted = lj_archive_selects(run->eval_query, lj_archive_row(run->eval_bank, index));
    bool labelled = lj_archive_label(run->eval_bank, index) >= 0;
    run->eval_overlap += predicted;
    run->eval_bank_unlabelled += !predicted && !labelled;
    return !predicted && labelled;
}

/* Leaves these rows, and of them eval.bank, spaced evenly. Collective. */
static int narrow_bank(struct lj_run_state *run)
{
    LJ_TRY(lj_archive_narrow(run->eval_bank, run->comm, in_bank, run));
    run->eval_overlap = lj_all_sum(run->comm, run->eval_overlap);
    run->eval_bank_unlabelled = lj_all_sum(run->comm, run->eval_bank_unlabelled);
    return lj_archive_thin(run->eval_bank, run->comm, run->config->eval_bank);
}

static bool has_label(void *data, int64_t index)
{
    const struct lj_run_state *run = data;
    return lj_archive_label(run->eval_query, index) >= 0;
}

/* Of the rows to evaluate leaves those that have a label, if there are labels, and of them
 * eval.queries, spaced evenly. Collective. */
static int narrow_query(struct lj_run_state *run)
{
    int64_t selected = lj_archive_info(run->eval_query)->selected;
    if (lj_archive_info(run->eval_query)->has_labels)
        LJ_TRY(lj_archive_narrow(run->eval_query, run->comm, has_label, run));
    run->eval_query_kept = lj_archive_info(run->eval_query)->selected;
    run->eval_query_unlabelled = selected - run->eval_query_kept;
    return lj_archive_thin(run->eval_query, run->comm, run->config->eval_queries);
}

/* Are there labels enough? Local. */
static int check_labels(const struct lj_run_state *run)
{
    int64_t labelled = run->eval_query_kept, bank_rows = rows_of_bank(run);
    if (labelled > 0 && bank_rows >= LJ_KNN_NEIGHBOURS)
        return LJ_OK;
    return lj_fail(LJ_ERR_DATA,
                   "evaluation: %lld rows to predict and %lld of the bank have a label (which is "
                   "not negative), expected 1 and %d at least; %lld rows of data.where are "
                   "evaluated, and so not in the bank; change eval.where, data.where, eval.bank, "
                   "or set data.labels=none for an evaluation without kNN",
                   (long long)labelled, (long long)bank_rows, LJ_KNN_NEIGHBOURS,
                   (long long)run->eval_overlap);
}

/* Warns if rows to predict have labels that no known row has.
 *   whose  in  what knows the labels, for the message */
static int warn_unknown(const struct lj_run_state *run, const int32_t *query, const int32_t *known,
                        int64_t known_rows, const char *whose)
{
    int64_t rows = lj_archive_info(run->eval_query)->selected, unknown;
    LJ_TRY(lj_count_unknown(known, known_rows, query, rows, &unknown));
    if (unknown > 0)
        lj_warn("evaluation: %lld of %lld rows to predict have a label that no row %s has: they "
                "count as wrong",
                (long long)unknown, (long long)rows, whose);
    return LJ_OK;
}

static int look_for_unknown(const struct lj_run_state *run)
{
    const struct lj_trainer_labels *classes = run->info.classes;
    int32_t *query = labels_of(run->eval_query), *bank = labels_of(run->eval_bank);
    int status = query && bank ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK)
        status =
            warn_unknown(run, query, bank, rows_of_bank(run), "of the bank (kNN, linear probe)");
    if (status == LJ_OK && lj_model_classifies(run->info.config))
        status = warn_unknown(run, query, classes->label, classes->classes, "that trains");
    lj_free(query);
    lj_free(bank);
    return status;
}

int lj_run_warn_unknown(const struct lj_run_state *run)
{
    bool looks = run->eval_bank && lj_comm_is_root(run->comm);
    return lj_agree(run->comm, looks ? look_for_unknown(run) : LJ_OK);
}

void lj_run_say_left_out(const struct lj_run_state *run)
{
    const struct lj_config *c = run->config;
    if (c->eval_holdout > 0)
        lj_say("evaluation: %lld of %lld rows are held out, one of %lld, and do not train "
               "(eval.holdout)",
               (long long)run->eval_held_out,
               (long long)(run->eval_held_out + run->info.classes->unlabelled +
                           lj_archive_info(run->archive)->selected),
               (long long)c->eval_holdout);
    if (!run->eval_query)
        return;
    int64_t labelled = run->eval_query_kept, unlabelled = run->eval_query_unlabelled;
    int64_t queries = lj_archive_info(run->eval_query)->selected;
    if (!run->eval_bank) {
        lj_say("evaluation: without labels, so no kNN; of %lld rows%s", (long long)queries,
               queries < labelled ? ", spaced evenly (eval.queries)" : "");
        return;
    }
    if (unlabelled > 0 || run->eval_bank_unlabelled > 0)
        lj_say("evaluation: %lld of %lld rows to predict, and %lld of data.where have no label and "
               "are left out",
               (long long)unlabelled, (long long)(labelled + unlabelled),
               (long long)run->eval_bank_unlabelled);
    if (queries < labelled)
        lj_say("evaluation: %lld of %lld labelled rows are predicted, spaced evenly (eval.queries)",
               (long long)queries, (long long)labelled);
    if (run->eval_overlap > 0 && c->eval_holdout == 0)
        lj_say("evaluation: %lld rows of data.where are in eval.where, too: they are not in the "
               "bank",
               (long long)run->eval_overlap);
}

int lj_run_open_evaluation(struct lj_run_state *run)
{
    const struct lj_config *c = run->config;
    if (c->eval_every == 0)
        return LJ_OK;
    const char *all = c->eval_archive[0] ? "" : c->data_where;
    LJ_TRY(open_rows(run, c->eval_where[0] ? c->eval_where : all, &run->eval_query));
    LJ_TRY(lj_run_query_held_out(run->eval_query, run->comm, c->eval_holdout));
    if (!lj_archive_info(run->eval_query)->has_labels)
        return lj_agree(run->comm, narrow_query(run));
    if (!c->eval_where[0] && c->eval_holdout == 0)
        return lj_fail(
            LJ_ERR_CONFIG,
            "eval.where: is empty; name the rows to predict, for example "
            "eval.where=split=1 (the bank is data.where), let a new run hold out one row of "
            "ten by eval.holdout=10, or set data.labels=none for an evaluation without "
            "kNN");
    LJ_TRY(open_rows(run, c->data_where, &run->eval_bank));
    LJ_TRY(narrow_bank(run));
    LJ_TRY(narrow_query(run));
    return lj_agree(run->comm, check_labels(run));
}

void lj_run_close_evaluation(struct lj_run_state *run)
{
    lj_archive_close(run->eval_bank);
    lj_archive_close(run->eval_query);
}

/* ---- measuring --------------------------------------------------------------------------- */

/* What one evaluation works on. */
struct evaluation {
    struct lj_features bank, query; /* of this rank; bank without rows when there are no labels */
    struct lj_projections projections; /* of this rank */
    int64_t samples;                   /* that are projected, on all ranks */
    float *values[3];                  /* of the three, owned */
    int32_t *predicted, *truth;        /* (all queries) owned */
    int32_t *bank_labels;              /* (all bank rows) owned */
    double *eigenvalues[2];            /* of embeddings, projections; owned */
    struct lj_run_scores scores;
};

static const char *condition_text(const struct lj_spectrum *s, char text[32])
{
    if (!isfinite(s->condition))
        return "none";
    snprintf(text, 32, "%.4g", s->condition);
    return text;
}

/* How far a covariance is from the identity, or from any multiple of it. */
static const char *covariance_text(const struct lj_spectrum *s, char text[128])
{
    char condition[32];
    if (!isfinite(s->trace))
        return "too wide to be looked at";
    snprintf(text, 128, "eigenvalues %.3g .. %.3g  off-diagonal %.3g  condition %s",
             s->eigenvalue_min, s->eigenvalue_max, fabs(s->offdiagonal),
             condition_text(s, condition));
    return text;
}

/* What is said of a covariance whose size means nothing. */
static const char *ratios_text(const struct lj_spectrum *s, char text[128])
{
    char condition[32];
    if (!isfinite(s->trace))
        return "too wide to be looked at";
    snprintf(text, 128, "effective rank %.1f  participation %.1f  condition %s", s->effective_rank,
             s->participation, condition_text(s, condition));
    return text;
}

/* What is said of projections: "" where there are none. */
static const char *projections_text(const struct lj_run_scores *s, char text[320])
{
    char sigreg[64] = "", views[48] = "", covariance[128];
    if (s->classifies)
        return "";
    if (s->sees_lengths)
        snprintf(sigreg, sizeof sigreg, "  SIGReg %.3f (floor %.3f)", s->sigreg, s->sigreg_floor);
    if (isfinite(s->alignment))
        snprintf(views, sizeof views, "  alignment %.3f", s->alignment);
    snprintf(text, 320, "%s%s  projections %s", sigreg, views,
             (s->sees_lengths ? covariance_text : ratios_text)(&s->projections, covariance));
    return text;
}

/* Rank 0 tells what came out; nothing of it feeds back into training. */
static void report(struct lj_run_state *run, int64_t finished, const struct lj_run_scores *s)
{
    char labels[96] = "", classifier[96] = "";
    const struct lj_spectrum *z = &s->embeddings;
    lj_run_log_evaluation(run, finished, s);
    if (s->has_labels)
        snprintf(labels, sizeof labels, "kNN accuracy %.4f (balanced %.4f)  linear %.4f  ",
                 s->knn.top1, s->knn.balanced, s->linear.top1);
    if (s->has_labels && s->classifies)
        snprintf(classifier, sizeof classifier, "classifier accuracy %.4f (balanced %.4f)  ",
                 s->supervised.top1, s->supervised.balanced);
    lj_say("step %8lld  %s%seffective rank %.1f of %lld  participation %.1f  %s%s",
           (long long)finished, classifier, labels, z->effective_rank, (long long)s->width,
           z->participation, covariance_text(z, (char[128]){0}),
           projections_text(s, (char[320]){0}));
}

/* Largest linear probe, in unknowns, and widest projections whose spectrum is found: what costs
 * seconds at each evaluation, not minutes. */
enum { PROBE_UNKNOWNS = 1 << 20, SPECTRUM_WIDTH = 4096 };

/* Labels that name almost every row are no classes, and their probe would take longer than
 * training. */
static int can_probe(struct lj_run_state *run, const struct evaluation *e, bool *can)
{
    int64_t rows = rows_of_bank(run), unknowns = e->bank.width + 1, classes;
    LJ_TRY(lj_count_labels(e->bank_labels, rows, &classes));
    *can = classes <= rows / 2 && classes <= PROBE_UNKNOWNS / unknowns;
    if (!*can && !run->said_no_probe)
        lj_say("evaluation: no linear probe, since %lld rows of the bank have %lld classes",
               (long long)rows, (long long)classes);
    run->said_no_probe = !*can;
    return LJ_OK;
}

static int probe(struct lj_run_state *run, struct evaluation *e)
{
    struct lj_probe_result fit;
    int64_t rows = lj_archive_info(run->eval_query)->selected;
    bool can = false;
    e->scores.linear = (struct lj_accuracy){NAN, NAN};
    LJ_TRY(lj_agree(run->comm, can_probe(run, e, &can)));
    if (!can)
        return LJ_OK;
    LJ_TRY(lj_linear_probe(run->comm, &e->bank, e->bank_labels, &e->query, LJ_PROBE_L2,
                           LJ_PROBE_ITERATIONS, e->predicted, &fit));
    e->scores.linear = lj_accuracy_of(e->predicted, e->truth, rows);
    return LJ_OK;
}

static struct lj_embedder embedder_of(const struct lj_run_state *run)
{
    const struct lj_trainer_info *t = &run->info;
    return (struct lj_embedder){.model = t->model,
                                .weights = lj_trainer_weights(run->trainer),
                                .mean = t->mean,
                                .std = t->std,
                                .config = t->config,
                                .layers = t->config->eval_layers};
}

/* What the trained classifier says of the rows, by the weights that embedded them. Collective. */
static int classify(struct lj_run_state *run, struct evaluation *e)
{
    int64_t rows = lj_archive_info(run->eval_query)->selected;
    struct lj_embedder embedder = embedder_of(run);
    lj_trainer_swap_average(run->trainer);
    int status =
        lj_classify(run->comm, &embedder, run->info.classes->label, &e->query, e->predicted);
    lj_trainer_swap_average(run->trainer);
    LJ_TRY(status);
    e->scores.supervised = lj_accuracy_of(e->predicted, e->truth, rows);
    return LJ_OK;
}

/* The probe is fitted anew to the embeddings of each evaluation, which nothing flows back from: its
 * accuracy is one of the weights alone, whatever was evaluated before or where the run was resumed.
 * Collective. */
static int predict(struct lj_run_state *run, struct evaluation *e)
{
    struct lj_run_scores *s = &e->scores;
    int64_t rows = lj_archive_info(run->eval_query)->selected;
    LJ_TRY(lj_knn(run->comm, &e->bank, e->bank_labels, &e->query, LJ_KNN_NEIGHBOURS,
                  LJ_KNN_TEMPERATURE, e->predicted));
    s->knn = lj_accuracy_of(e->predicted, e->truth, rows);
    LJ_TRY(probe(run, e));
    if (s->classifies)
        LJ_TRY(classify(run, e));
    s->has_labels = true;
    return LJ_OK;
}

int lj_run_check_layers(const struct lj_run_state *run)
{
    const struct lj_model *model = run->info.model;
    if (run->config->eval_every == 0 || run->config->eval_layers < 2)
        return LJ_OK;
    if (lj_model_classifies(run->info.config))
        return lj_fail(LJ_ERR_CONFIG,
                       "eval.layers=2: the classifier of objective=%s takes the last "
                       "layer; choose eval.layers=1",
                       run->config->objective);
    if (lj_model_last_two_width(model) > 0)
        return LJ_OK;
    return lj_fail(LJ_ERR_CONFIG,
                   "eval.layers=2: the encoder (%s) has one layer; choose eval.layers=1",
                   model->config.text);
}

/* Collective. */
static int embed_by_weights(struct lj_run_state *run, const struct evaluation *e)
{
    struct lj_embedder embedder = embedder_of(run);
    if (run->eval_bank)
        LJ_TRY(
            lj_embed_share(run->comm, &embedder, run->eval_bank, rows_of_bank(run), e->values[0]));
    LJ_TRY(lj_embed_share(run->comm, &embedder, run->eval_query,
                          lj_archive_info(run->eval_query)->selected, e->values[1]));
    if (e->samples == 0)
        return LJ_OK;
    embedder.projections = true;
    return lj_embed_share(run->comm, &embedder, run->eval_query, e->samples, e->values[2]);
}

/* By what will be exported. Collective. */
static int embed(struct lj_run_state *run, const struct evaluation *e)
{
    lj_trainer_swap_average(run->trainer);
    int status = embed_by_weights(run, e);
    lj_trainer_swap_average(run->trainer);
    return status;
}

/* Of projections that are too wide. */
static const struct lj_spectrum unknown = {.mean_norm = NAN,
                                           .effective_rank = NAN,
                                           .rankme = NAN,
                                           .participation = NAN,
                                           .condition = NAN,
                                           .trace = NAN,
                                           .eigenvalue_max = NAN,
                                           .eigenvalue_min = NAN,
                                           .offdiagonal = NAN};

/* Collective. */
static int score_projections(struct lj_run_state *run, struct evaluation *e)
{
    struct lj_run_scores *s = &e->scores;
    struct lj_features projections = lj_projections_rows(&e->projections);
    s->projections.eigenvalues = e->eigenvalues[1];
    if (projections.width <= SPECTRUM_WIDTH)
        LJ_TRY(lj_spectrum_of(run->comm, &projections, &s->projections));
    else
        s->projections = unknown;
    lj_projections_alignment(run->comm, &e->projections, s->projections.trace, &s->alignment);
    s->samples = e->samples;
    if (!s->sees_lengths)
        return LJ_OK;
    s->sigreg_floor = lj_sigreg_floor(run->info.config->sigreg_grid);
    return lj_projections_sigreg(run->comm, run->info.config, &e->projections, &s->sigreg);
}

/* Collective. */
static int score(struct lj_run_state *run, struct evaluation *e)
{
    e->scores.embeddings.eigenvalues = e->eigenvalues[0];
    LJ_TRY(lj_spectrum_of(run->comm, &e->query, &e->scores.embeddings));
    if (!e->scores.classifies)
        LJ_TRY(score_projections(run, e));
    return run->eval_bank ? predict(run, e) : LJ_OK;
}

/* How many of so many rows are this rank's. */
static int64_t share_of(const struct lj_run_state *run, int64_t rows)
{
    int64_t first, end;
    lj_features_share(rows, run->comm->size, run->comm->rank, &first, &end);
    return end - first;
}

/* Memory for my rows of all three. Local. */
static int prepare(struct lj_run_state *run, struct evaluation *e)
{
    const struct lj_config *c = run->info.config;
    const struct lj_embedder embedder = embedder_of(run);
    int64_t width = lj_embed_width(&embedder), out = run->info.model->config.projector.out;
    int64_t rows = lj_archive_info(run->eval_query)->selected;
    int64_t bank_rows = run->eval_bank ? rows_of_bank(run) : 0;
    int64_t views = c->views_global + c->views_local;
    e->scores.classifies = lj_model_classifies(c);
    e->scores.sees_lengths = run->info.objective->sees_lengths;
    e->samples = e->scores.classifies ? 0 : lj_min_i64(rows, c->batch_size);
    e->scores.width = width;
    e->bank = (struct lj_features){NULL, share_of(run, bank_rows), width, LJ_FEATURES_BLOCK};
    e->query = (struct lj_features){NULL, share_of(run, rows), width, LJ_FEATURES_BLOCK};
    e->projections = (struct lj_projections){NULL, share_of(run, e->samples), views, out};
    const int64_t floats[3] = {e->bank.rows * width, e->query.rows * width,
                               e->projections.samples * views * out};
    for (int i = 0; i < 3; i++) {
        e->values[i] = lj_alloc_array(floats[i], sizeof *e->values[i], "evaluation");
        if (!e->values[i])
            return LJ_ERR_RESOURCE;
    }
    e->bank.values = e->values[0];
    e->query.values = e->values[1];
    e->projections.values = e->values[2];
    e->eigenvalues[0] = lj_alloc_array(width, sizeof(double), "evaluation");
    e->eigenvalues[1] = lj_alloc_array(out, sizeof(double), "evaluation");
    e->predicted = lj_alloc_array(rows, sizeof *e->predicted, "evaluation");
    if (run->eval_bank) {
        e->bank_labels = labels_of(run->eval_bank);
        e->truth = labels_of(run->eval_query);
    }
    bool labels = (e->bank_labels && e->truth) || !run->eval_bank;
    bool spectra = e->eigenvalues[0] && e->eigenvalues[1];
    return spectra && e->predicted && labels ? LJ_OK : LJ_ERR_RESOURCE;
}

static void release(struct evaluation *e)
{
    for (int i = 0; i < 3; i++)
        lj_free(e->values[i]);
    lj_free(e->eigenvalues[0]);
    lj_free(e->eigenvalues[1]);
    lj_free(e->predicted);
    lj_free(e->truth);
    lj_free(e->bank_labels);
}

/* Notes an evaluation. */
static void keep_point(struct lj_run_goal *goal)
{
    if (!goal->point)
        return;
    if (goal->points == LJ_RUN_POINTS_MAX) {
        goal->points /= 2;
        for (int i = 0; i < goal->points; i++)
            goal->point[i] = goal->point[2 * i + 1];
    }
    goal->point[goal->points++] = (struct lj_run_point){goal->steps, goal->seconds, goal->found};
}

/* Has the run reached its goal? The scores are the same on every rank. */
static int look_at_goal(const struct lj_run_state *run, int64_t finished,
                        const struct lj_run_scores *scores)
{
    struct lj_run_goal *goal = run->goal;
    if (!scores->has_labels)
        return lj_fail(LJ_ERR_CONFIG,
                       "kNN is to be compared (target=, objectives=): the rows of the "
                       "evaluation have no labels, of which it needs some: "
                       "data.labels, eval.where");
    goal->found = scores->knn.top1;
    goal->steps = finished;
    goal->seconds = lj_now_s() - run->begun_s;
    lj_broadcast(run->comm, &goal->seconds, sizeof goal->seconds, 0);
    goal->reached = goal->found >= goal->knn_top1;
    keep_point(goal);
    return LJ_OK;
}

int lj_run_evaluate(struct lj_run_state *run, int64_t finished)
{
    struct evaluation e = {0};
    lj_phase_begin(LJ_PHASE_EVALUATION);
    int status = prepare(run, &e);
    if (status == LJ_OK)
        status = lj_fault("evaluate", finished);
    status = lj_agree(run->comm, status);
    if (status == LJ_OK)
        status = embed(run, &e);
    if (status == LJ_OK)
        status = score(run, &e);
    if (status == LJ_OK && lj_comm_is_root(run->comm))
        report(run, finished, &e.scores);
    if (status == LJ_OK && run->goal)
        status = look_at_goal(run, finished, &e.scores);
    release(&e);
    lj_phase_end();
    return status;
}
