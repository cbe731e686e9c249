/* SPDX-License-Identifier: Apache-2.0 */
/* For other modules. eval: what an embedding is worth. kNN, linear probe, and is it an isotropic
 * Gaussian?
 *
 *     lj_features_share(rows, comm->size, comm->rank, &first, &end);    which rows are mine
 *     lj_embed_share(comm, &embedder, archive, rows, mine);             their embeddings
 *     lj_knn(comm, &bank, bank_labels, &query, ..., predicted);         everybody's predictions
 *
 * Ranks share the rows and the work. Results have the same bits on any number of ranks and OpenMP
 * threads. */
#ifndef LEJEPA_EVAL_EVAL_H
#define LEJEPA_EVAL_EVAL_H

#include "lejepa/eval.h"

#include "data/data.h"
#include "loss/loss.h"
#include "models/models.h"
#include "store/store.h"

struct lj_checkpoint_header; /* of store */

/* The limits of a run's stretch, from a checkpoint. Local.
 *   stretch  in   data.stretch of the run
 *   limits   out  (channels of the header)
 * Returns whether there are any: not if the stretch has none, or the file is older than they. Runs
 * of that time took asinh of pixels as they are, so that the scale is known to be 1. */
bool lj_checkpoint_limits(const struct lj_checkpoint_header *header, enum lj_data_stretch stretch,
                          struct lj_limits *limits);

/* Are an archive's pixels those that the encoder was trained on? Compares what reading makes of
 * their types, and the range of some rows with that of training. Values far outside, or in a small
 * part of it, would make embeddings that mean nothing. Collective.
 *   chosen  in  data.full_scale was given for this archive: its values are meant as they come, and
 *               only a warning names another range
 * Errors: LJ_ERR_DATA, naming data.full_scale; those of reading; agreed. A checkpoint that does not
 * say type or range is warned about. */
int lj_pretrained_check_pixels(const struct lj_pretrained *pretrained, struct lj_comm *comm,
                               struct lj_archive *archive, bool chosen) LJ_MUST_USE;

/* Compares the range of an archive's values, of some rows, with that of training. Local.
 *   least, most  in  (channels of the archive) as read
 *   part         in  the least part of that range that values fill
 *   chosen       in  as above
 * Errors: LJ_ERR_DATA, naming data.full_scale; those of reading. */
int lj_check_range(struct lj_archive *archive, const float *least, const float *most, double part,
                   bool chosen) LJ_MUST_USE;

/* Rows of features that ranks share: rank 0 has the first rows, then rank 1, and so on. Blocks of
 * consecutive rows are the unit of determinism, as lanes are in training: a block is one rank's,
 * and results have the same bits whatever the number of ranks. */
struct lj_features {
    const float *values; /* (rows, width) of this rank; borrowed */
    int64_t rows;        /* of this rank: whole blocks, but for the rank with the last row */
    int64_t width;       /* the same on every rank, as block is */
    int64_t block;       /* rows of a block */
};

/* Rows of a block of embeddings. */
enum { LJ_FEATURES_BLOCK = 64 };
/* Rows [first, end) of rank r of P, in such blocks. Local. */
void lj_features_share(int64_t rows, int size, int rank, int64_t *first, int64_t *end);
/* Everybody's rows reach every rank. Collective.
 *   values         (rows) of `bytes` bytes each, in: mine at their places, out: all
 *   bytes_of_rank  (size) work space */
void lj_features_gather(struct lj_comm *comm, int64_t rows, void *values, size_t bytes,
                        int64_t *bytes_of_rank);
/* lj_progress_set_turns for work that makes progress with each block, before the ranks meet.
 * Returns what was said before. Collective. */
int64_t lj_features_set_turns(struct lj_comm *comm, const struct lj_features *x);

/* Embeddings of an archive's samples as by lj_embed, of which each rank keeps those that it
 * computes. Collective.
 *   rows  in   spaced evenly over the selected ones
 *   mine  out  (rows of this rank by lj_features_share, lj_embed_width)
 * Errors: on every rank alike. */
int lj_embed_share(struct lj_comm *comm, const struct lj_embedder *embedder,
                   struct lj_archive *archive, int64_t rows, float *mine) LJ_MUST_USE;

/* What the classifier of a model (lj_model_classifies) takes embeddings for. Collective.
 *   label      (classes) in                     the label of each class
 *   x          in   shared by lj_features_share
 *   predicted  (rows of all ranks)         out  labels, on every rank
 * Errors: LJ_ERR_RESOURCE, agreed. */
int lj_classify(struct lj_comm *comm, const struct lj_embedder *embedder, const int32_t *label,
                const struct lj_features *x, int32_t *predicted) LJ_MUST_USE;

/* How many rows of `test` are in `train`, too: the same row of the same part of an archive, or of
 * the same archive where a file does not name parts. Local.
 *   shared  out  -1: the files do not say enough to know
 * Errors: LJ_ERR_DATA: rows that their archive does not have; LJ_ERR_RESOURCE. */
int lj_embeddings_shared(const struct lj_embeddings *train, const struct lj_embeddings *test,
                         int64_t *shared) LJ_MUST_USE;

/* How many different labels rows have. Local. Errors: LJ_ERR_RESOURCE. */
int lj_count_labels(const int32_t *labels, int64_t rows, int64_t *count) LJ_MUST_USE;

/* How many rows have a label that no known row has: nothing fitted on the known ones can predict
 * it. Local. Errors: LJ_ERR_RESOURCE. */
int lj_count_unknown(const int32_t *known, int64_t known_rows, const int32_t *labels, int64_t rows,
                     int64_t *count) LJ_MUST_USE;

struct lj_accuracy {
    double top1;     /* share of rows that are predicted right */
    double balanced; /* the same for each class that occurs, averaged over classes */
};
/* Compares predicted and true labels, (rows) each. Local. No rows: 0. Without memory for the
 * classes balanced is NaN. */
struct lj_accuracy lj_accuracy_of(const int32_t *predicted, const int32_t *truth, int64_t rows);

/* Draws of rows of which the intervals are taken. */
enum { LJ_BOOTSTRAP_DRAWS = 1000 };
struct lj_interval {
    double low, high;
};
/* Intervals that hold the middle 95 % of the accuracies of rows drawn with replacement (bootstrap,
 * percentiles): what other test rows of the same kind might give. Collective; the same on every
 * rank, on any number of ranks and threads.
 *   predicted, truth  (rows) in  as lj_accuracy_of, the same on every rank; one row at least
 *   seed              in   names the draws
 * Errors, on every rank alike: LJ_ERR_RESOURCE. Cost: 1000 random numbers a row, which ranks and
 * threads share. */
int lj_accuracy_intervals(struct lj_comm *comm, const int32_t *predicted, const int32_t *truth,
                          int64_t rows, int64_t seed, struct lj_interval *top1,
                          struct lj_interval *balanced) LJ_MUST_USE;

/* More classes than that have no matrix. */
enum { LJ_CONFUSION_CLASSES_MAX = 1000 };
struct lj_confusion {
    int64_t classes; /* that rows have or are given */
    int32_t *label;  /* (classes) ascending; owned; NULL: too many classes */
    int64_t *rows;   /* (classes, classes) by true class, then by predicted class; owned */
};
/* Counts rows by both labels, (rows) each. Local. Errors: LJ_ERR_RESOURCE. */
int lj_confusion_create(struct lj_confusion *confusion, const int32_t *predicted,
                        const int32_t *truth, int64_t rows) LJ_MUST_USE;
void lj_confusion_destroy(struct lj_confusion *confusion);

/* Spearman's rank correlation of two series; NaN where one of them is constant. Local.
 *   a, b  (count) in  not NaN
 * Cost: count^2 comparisons. */
double lj_spearman(const double *a, const double *b, int64_t count);

/* The evaluation's kNN: k = 20, cosine, temperature 0.07. */
#define LJ_KNN_NEIGHBOURS  20
#define LJ_KNN_TEMPERATURE 0.07

/* Weighted kNN (Wu et al. 2018): the k bank rows of largest cosine similarity vote for their class
 * with weight exp(similarity / temperature). Ties go to the lower row, then to the lower class.
 * Collective; bank and query are shared by lj_features_share.
 *   bank_labels  (bank rows of all ranks) in   the same on every rank
 *   predicted    (queries of all ranks)   out  labels, on every rank
 * Errors, on every rank alike: LJ_ERR_RESOURCE, LJ_ERR_DATA (the bank has fewer than k rows).
 * Cost: a matmul of my queries x bank rows x width, in tiles; every rank receives the bank once.
 * Memory: a piece of the bank (64 MiB, or 1024 rows if that is more) and k neighbours a query. */
int lj_knn(struct lj_comm *comm, const struct lj_features *bank, const int32_t *bank_labels,
           const struct lj_features *query, int k, double temperature,
           int32_t *predicted) LJ_MUST_USE;

/* The parts of it, for whoever knows the neighbours. Local. The weight of one is relative to the
 * nearest one's, which changes no winner and cannot overflow. */
double lj_knn_weight(double similarity, double nearest, double temperature);
/* The class with the most weight, the lower of equals; -1: count is 0.
 *   label, weight  (count) in  of each neighbour */
int32_t lj_knn_vote(const int32_t *label, const double *weight, int count);

/* The k most similar other rows of each row, by cosine; ties go to the lower row. Local; threads
 * share the work.
 *   near        (rows, k) out  the most similar first; -1: there are no more
 *   similarity  (rows, k) out
 * Errors: LJ_ERR_RESOURCE. Cost: a matmul of rows x rows x width, in tiles. */
int lj_neighbours(const struct lj_features *x, int k, int32_t *near, float *similarity) LJ_MUST_USE;

/* The evaluation's linear probe. On embeddings of the example archive so many iterations predict as
 * well as the 320 to convergence, to 0.002. */
#define LJ_PROBE_L2         1e-3
#define LJ_PROBE_ITERATIONS 100

/* How the fit of a linear probe ended. */
struct lj_probe_result {
    int iterations;
    double gradient_norm; /* its largest element */
    double loss;
};
/* Linear probe: multinomial logistic regression in float64 on features standardised by the training
 * rows' mean and deviation. L-BFGS minimises mean cross-entropy + l2/2 |W|^2 (the bias is not
 * penalised), from zero, until the gradient's largest element is below 1e-5. Collective; training
 * and test rows are shared by lj_features_share.
 *   iterations    in   at most so many, and then what was reached predicts; 0: until it converges
 *   train_labels  (training rows of all ranks) in   the same on every rank
 *   predicted     (test rows of all ranks)     out  labels, on every rank
 *   result        out  the same on every rank
 * Errors, on every rank alike: LJ_ERR_DATA (no training rows), LJ_ERR_RESOURCE, LJ_ERR_NUMERIC (a
 * value is not finite, or no convergence in 5000 iterations; the text gives the norm).
 * Cost: an allreduce of 8 (width + 1) classes bytes for each value of the loss, one to a few an
 * iteration; memory: 26 times that, and once more for each thread. */
int lj_linear_probe(struct lj_comm *comm, const struct lj_features *train,
                    const int32_t *train_labels, const struct lj_features *test, double l2,
                    int iterations, int32_t *predicted, struct lj_probe_result *result) LJ_MUST_USE;

/* A strength of the penalty that training rows themselves have chosen. */
struct lj_l2_choice {
    double l2;
    double accuracy;  /* on the held-out rows */
    int64_t held_out; /* of the training rows */
    bool at_end;      /* of the grid: another one beyond might be better still */
};
/* Chooses l2 for lj_linear_probe from 1, 0.3, 0.1, ... 1e-5: the one whose fit to nine tenths of
 * each class predicts most of the last tenth right; the largest of equals. Collective.
 *   seed    in   with the rows' order it decides which rows are held out
 *   choice  out  the same on every rank, on any number of ranks and threads
 * Errors, on every rank alike: LJ_ERR_DATA (no class has two rows), those of lj_linear_probe. Cost:
 * 11 fits of at most 300 iterations. */
int lj_linear_probe_l2(struct lj_comm *comm, const struct lj_features *train,
                       const int32_t *train_labels, int64_t seed,
                       struct lj_l2_choice *choice) LJ_MUST_USE;

/* Draws of a few-shot score. */
enum { LJ_FEWSHOT_DRAWS = 5 };
/* Over the draws; the deviation has n - 1 as divisor. */
struct lj_fewshot_score {
    double mean, deviation;
};
struct lj_fewshot {
    int64_t labels; /* in: so many of each class are known, at least 1 */
    int64_t fewer;  /* out: classes that have fewer; all of theirs are known */
    struct lj_fewshot_score knn_top1, knn_balanced, linear_top1, linear_balanced; /* out */
};
/* How well kNN and linear probe predict test rows when they know a few labels. For each number of
 * labels rows are drawn five times; those of a smaller number are among those of a larger. The kNN
 * has the drawn rows as its bank, and k is their number where that is below 20. The linear probe is
 * fitted to them until it converges; its features are standardised by all training rows, which
 * needs no labels. Collective; the same on every rank, on any number of ranks and threads.
 *   train_labels, test_labels  (rows of all ranks) in  the same on every rank
 *   seed                       in      with the rows' order it decides what is drawn
 *   shots                      (count) in, out
 * Errors, on every rank alike: those of lj_knn and lj_linear_probe. Memory: besides theirs, the
 * drawn rows on every rank. */
int lj_fewshot_score(struct lj_comm *comm, const struct lj_features *train,
                     const int32_t *train_labels, const struct lj_features *test,
                     const int32_t *test_labels, double l2, int64_t seed, int64_t count,
                     struct lj_fewshot *shots) LJ_MUST_USE;

/* Mean and covariance of embeddings, in a few numbers. */
struct lj_spectrum {
    double mean_norm;      /* |mean| */
    double effective_rank; /* exp(entropy of eigenvalues / their sum) (Roy & Vetterli 2007) */
    double rankme; /* the same of their roots, the singular values of the centred rows: RankMe
                              (Garrido et al. 2023), which does not centre */
    double participation; /* (sum of eigenvalues)^2 / sum of their squares */
    double condition;     /* largest / smallest eigenvalue; infinite when that is 0 to rounding */
    double trace;
    double eigenvalue_max, eigenvalue_min;
    double offdiagonal;        /* the covariance of largest magnitude; 0 if there is one feature */
    int64_t offdiagonal_of[2]; /* the features, the lower first */
    double *eigenvalues; /* (width) of the covariance, descending; the caller provides the array */
};
/* Spectrum of the rows of all ranks, the same on every rank. Collective. The same bits on any
 * number of ranks and threads: each rank adds the outer products of its blocks, rank 0 decomposes.
 * Errors, on every rank alike: LJ_ERR_DATA (no rows or no columns), LJ_ERR_RESOURCE,
 * LJ_ERR_NUMERIC. An element of the covariance is off by at most 2^-60 of the largest variance for
 * each block, besides the rounding of sums in double inside a block. Cost: one allreduce of 4
 * width^2 bytes, a little more for small widths; as much memory on every rank, 8 width^2 more on
 * rank 0. */
int lj_spectrum_of(struct lj_comm *comm, const struct lj_features *x,
                   struct lj_spectrum *spectrum) LJ_MUST_USE;

/* Principal axes of rows. */
struct lj_principal {
    int64_t width;
    double *mean;       /* (width) owns all four arrays */
    double *eigenvalue; /* (width) of the covariance, descending, none negative */
    double *covariance; /* (width, width) */
    double *axis;       /* (width, width) rows of length 1; the largest component is positive */
};
/* Local: for pictures of a few thousand rows. Threads share the work.
 *   x  (rows, width) in  rows >= 1
 * Errors: LJ_ERR_NUMERIC (a value is not finite), LJ_ERR_RESOURCE; then there is nothing to
 * destroy. Cost: rows width^2, and 10 width^3 for the axes; memory: 8 width (rows + 4 width). */
int lj_principal_create(struct lj_principal *principal, const float *x, int64_t rows,
                        int64_t width) LJ_MUST_USE;
void lj_principal_destroy(struct lj_principal *principal);
/* Coordinates of a row on the first axes; 0 on those that there are not.  place (axes) out */
void lj_principal_place(const struct lj_principal *principal, const float *row, int axes,
                        double *place);

/* Projections of samples, V of each, that ranks share: as by lj_features_share, each has whole
 * blocks of LJ_FEATURES_BLOCK samples. */
struct lj_projections {
    const float *values; /* (samples, views, width) of this rank; borrowed */
    int64_t samples;     /* of this rank */
    int64_t views, width;
};
/* All of them as rows of features, V a sample, for lj_spectrum_of. Local. */
struct lj_features lj_projections_rows(const struct lj_projections *projections);
/* LeJEPA for such projections, by the settings loss.*, predict.*, sigreg.* and seed; its lanes may
 * be worked on by all OpenMP threads. Local.
 *   objective     out  owned by the caller
 *   samples       in   of all ranks
 *   global_views  in   the first so many views of a sample
 * Errors: those of lj_objective_create. */
int lj_projections_objective(struct lj_objective **objective, struct lj_comm *comm,
                             const struct lj_config *config,
                             const struct lj_projections *projections, int64_t samples,
                             int64_t global_views) LJ_MUST_USE;
/* Adds everybody's projections to an objective that has begun, and takes its terms: the same bits
 * on any number of ranks and threads. Collective.
 * Errors, on every rank alike: LJ_ERR_NUMERIC (values that are not finite or out of range),
 * LJ_ERR_RESOURCE. Memory: 128 V D bytes for each thread. */
int lj_projections_terms(struct lj_comm *comm, struct lj_objective *objective,
                         const struct lj_projections *projections,
                         double term[LJ_TERMS_MAX]) LJ_MUST_USE;
/* Then d(loss)/d(projections) of this rank's samples [first, first + count), whole blocks. Local.
 *   gradient  (count, views, width) out
 * Errors: LJ_ERR_RESOURCE. */
int lj_projections_gradient(struct lj_objective *objective,
                            const struct lj_projections *projections, int64_t first, int64_t count,
                            float *gradient) LJ_MUST_USE;
/* Alignment of views: the share of the projections' variance that lies between views of one sample,
 * sum_nv |z_nv - mean_v z_nv|^2 / sum_nv |z_nv - mean|^2. Collective; the same bits on any
 * number of ranks.
 *   trace      in   of the covariance of lj_projections_rows, as lj_spectrum_of has found it
 *   alignment  out  0: views agree; 1 - 1/V: they are as far apart as those of any samples; the
 *                    same on every rank; NaN: one view only, or nothing varies */
void lj_projections_alignment(struct lj_comm *comm, const struct lj_projections *projections,
                              double trace, double *alignment);
/* What each feature of projections is like. For a standard normal one 0, 1, 0, 0, and
 * lj_sigreg_floor. */
struct lj_normality {
    double *mean, *variance; /* (width) of all rows; mean owns the five arrays */
    double *skewness;        /* (width) mean of z^3, z standardised; 0 for a constant feature */
    double *kurtosis;        /* (width) mean of z^4, less 3; -3 for a constant feature */
    double *statistic; /* (width) Epps-Pulley: of each view over the samples, mean over views */
};
/* Collective; the same bits on any number of ranks and threads.
 * Errors, on every rank alike: those of lj_spectrum_of; then there is nothing to destroy. Cost: a
 * sine and a cosine of each value; one allreduce of some KiB for each 64 features. */
int lj_normality_create(struct lj_normality *normality, struct lj_comm *comm,
                        enum lj_sigreg_grid grid,
                        const struct lj_projections *projections) LJ_MUST_USE;
void lj_normality_destroy(struct lj_normality *normality);

/* Bins of a slice's histogram: what is below -3, steps of 1/2, what is not below 3. Rows at each
 * end of it. */
enum { LJ_SLICE_BINS = 14, LJ_SLICE_TAIL = 5 };
struct lj_slice_row {
    double value; /* on the slice */
    int64_t row, view;
};
struct lj_slice {
    const float *direction;       /* (width) of length 1; borrowed */
    int64_t count[LJ_SLICE_BINS]; /* rows, all views */
    int tail;                     /* rows in each of the following: fewer where there are fewer */
    struct lj_slice_row low[LJ_SLICE_TAIL], high[LJ_SLICE_TAIL]; /* from the end inwards */
};
/* Lower edge of a bin (1 .. LJ_SLICE_BINS - 1), and the share that N(0, 1) has in a bin. Local. */
double lj_slice_edge(int bin);
double lj_slice_gaussian(int bin);
/* Adds the samples of this rank to what a slice has. Local.
 *   first  in  number of the first of them */
void lj_slice_take(struct lj_slice *slice, const struct lj_projections *projections, int64_t first);
/* Looks along `count` directions, which are given, all else of the slices being 0. Collective; the
 * same on any number of ranks, and on each of them. Errors, on every rank alike: LJ_ERR_RESOURCE.
 */
int lj_slices_look(struct lj_comm *comm, const struct lj_projections *projections, int64_t count,
                   struct lj_slice *slices) LJ_MUST_USE;

/* SIGReg alone: of each view over the samples of all ranks, mean over views, on the directions of
 * step 0, by sigreg.* and seed. Collective; errors as lj_projections_terms.
 *   value  out  for an isotropic Gaussian about lj_sigreg_floor, whatever the number of samples */
int lj_projections_sigreg(struct lj_comm *comm, const struct lj_config *config,
                          const struct lj_projections *projections, double *value) LJ_MUST_USE;

#endif
