/* SPDX-License-Identifier: Apache-2.0 */
/* diagnose: is this array an isotropic Gaussian? Reads projections or proj (V, N, D), or embeddings
 * (N, C), and perhaps slices (D, M); prints the terms of LeJEPA's loss, whatever the setting
 * objective says, and the spectrum of all V N rows; grad= writes d(loss)/d(proj), so that anyone
 * can check the mathematics. Rank 0 reads shapes and slices; every rank reads its samples, and the
 * ranks share the work. */
#include "app/diagnosis.h"

#include "app/app.h"

#include "lejepa/runtime.h"

#include "eval/eval.h"
#include "loss/loss.h"
#include "store/store.h"
#include "train/train.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The largest that training has: views.global + views.local, projector.out, sigreg.slices. */
enum { VIEWS_MAX = 128, WIDTH_MAX = 65536, SLICES_MAX = 1048576 };

/* What a rank holds of the gradient at most, at least a block of samples: 4 MiB. */
enum { GRADIENT_FLOATS = 1 << 20 };

/* What every rank hears of the file. Plain data: broadcast as it is. */
struct contents {
    char dataset[16]; /* that is diagnosed */
    struct lj_array_shape shape;
    int64_t slices; /* M */
    bool has_slices;
};

struct subject {
    struct contents file;
    float *slices; /* (D, M) or NULL, owned */
    float *values; /* (my samples, V, D) owned */
    struct lj_projections mine;
    struct lj_objective *loss; /* LeJEPA */
    struct lj_diagnosis found;
};

/* ---- reading ----------------------------------------------------------------------------- */

static int find_array(struct contents *file, const char *path)
{
    static const char *const names[] = {"proj", "projections", "embeddings"};
    struct lj_array_shape *shape = &file->shape;
    for (int i = 0; i < 3 && !shape->found; i++) {
        snprintf(file->dataset, sizeof file->dataset, "%s", names[i]);
        LJ_TRY(lj_array_find_rows(path, names[i], i < 2, shape));
    }
    if (shape->views < 1 || shape->rows < 1 || shape->width < 1)
        return lj_fail(LJ_ERR_DATA, "%s: the array is empty", path);
    if (shape->views > VIEWS_MAX || shape->width > WIDTH_MAX)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected at most %d views of width %d at most, found (V, N, D) = "
                       "(%lld, %lld, %lld)",
                       path, VIEWS_MAX, WIDTH_MAX, (long long)shape->views, (long long)shape->rows,
                       (long long)shape->width);
    return LJ_OK;
}

static int read_slices(struct subject *s, const char *path)
{
    int dims = 3;
    int64_t dim[3], width = s->file.shape.width;
    LJ_TRY(lj_array_read(path, "slices", true, &dims, dim, &s->slices));
    if (!s->slices)
        return LJ_OK;
    if (dims != 2 || dim[0] != width)
        return lj_fail(LJ_ERR_DATA,
                       "%s: slices: expected (%lld, M), found %d dimensions and %lld rows", path,
                       (long long)width, dims, (long long)dim[0]);
    if (dim[1] < 1 || dim[1] > SLICES_MAX)
        return lj_fail(LJ_ERR_DATA, "%s: slices: expected 1 to %d of them, found %lld", path,
                       SLICES_MAX, (long long)dim[1]);
    s->file.slices = dim[1];
    s->file.has_slices = true;
    return LJ_OK;
}

static int read_contents(struct subject *s, const struct lj_call_words *words)
{
    if (words->paths == 0)
        return lj_fail(LJ_ERR_CONFIG, "diagnose: give an HDF5 file with embeddings or proj");
    LJ_TRY(find_array(&s->file, words->path[0]));
    return read_slices(s, words->path[0]);
}

/* What rank 0 has read reaches everybody. Collective. */
static int share_contents(struct subject *s, struct lj_comm *comm)
{
    lj_broadcast(comm, &s->file, sizeof s->file, 0);
    if (!s->file.has_slices)
        return LJ_OK;
    int64_t count = s->file.shape.width * s->file.slices;
    if (!lj_comm_is_root(comm))
        s->slices = lj_alloc_array(count, sizeof *s->slices, "diagnose");
    LJ_TRY(lj_agree(comm, s->slices ? LJ_OK : LJ_ERR_RESOURCE));
    lj_broadcast(comm, s->slices, count * (int64_t)sizeof *s->slices, 0);
    return LJ_OK;
}

/* My samples. Local. */
static int read_samples(struct subject *s, const struct lj_comm *comm, const char *path)
{
    const struct lj_array_shape *shape = &s->file.shape;
    int64_t first, end;
    lj_features_share(shape->rows, comm->size, comm->rank, &first, &end);
    LJ_TRY(lj_array_read_rows(path, s->file.dataset, first, end, &s->values));
    s->mine = (struct lj_projections){s->values, end - first, shape->views, shape->width};
    s->found.spectrum.eigenvalues = lj_alloc_array(shape->width, sizeof(double), "diagnose");
    return s->found.spectrum.eigenvalues ? LJ_OK : LJ_ERR_RESOURCE;
}

/* The first so many views are global: the words say, or the file, else all are. */
static int64_t global_views(const struct subject *s, const struct lj_config *c,
                            const struct lj_call_words *words)
{
    int64_t said = s->file.shape.global_views;
    if (lj_words_set(words, "views.global"))
        return c->views_global;
    return said > 0 ? said : s->file.shape.views;
}

/* Collective. */
static int prepare(struct subject *s, struct lj_comm *comm, struct lj_config *c,
                   const struct lj_call_words *words)
{
    s->file.slices = c->sigreg_slices;
    lj_root_section_begin(comm);
    LJ_TRY(lj_root_section_end(comm, lj_comm_is_root(comm) ? read_contents(s, words) : LJ_OK));
    LJ_TRY(share_contents(s, comm));
    c->sigreg_slices = s->file.slices; /* the file's, if it has some */
    int status = read_samples(s, comm, words->path[0]);
    if (status == LJ_OK)
        status = lj_projections_objective(&s->loss, comm, c, &s->mine, s->file.shape.rows,
                                          global_views(s, c, words));
    return lj_agree(comm, status);
}

/* ---- the gradient ------------------------------------------------------------------------ */

/* Round after round, every rank computes some of its samples, and rank 0 writes them. */
struct gradient {
    struct lj_array_file *file; /* on rank 0 */
    int64_t piece;              /* samples of a rank in a round: whole blocks */
    float *mine, *theirs;       /* (piece, V, D) owned */
};

/* The samples that a rank does in a round: [first, end) of all. */
static void samples_of_round(const struct subject *s, const struct gradient *g, int size, int rank,
                             int64_t round, int64_t *first, int64_t *end)
{
    int64_t begin, stop;
    lj_features_share(s->file.shape.rows, size, rank, &begin, &stop);
    *first = lj_min_i64(begin + round * g->piece, stop);
    *end = lj_min_i64(*first + g->piece, stop);
}

/* After a failure of the disk rank 0 still takes what is on its way. */
static int write_round(const struct subject *s, struct lj_comm *comm, const struct gradient *g,
                       int64_t round)
{
    int64_t first, end, each = s->mine.views * s->mine.width;
    int status = LJ_OK;
    for (int r = 0; r < comm->size; r++) {
        float *from = r == comm->rank ? g->mine : g->theirs;
        samples_of_round(s, g, comm->size, r, round, &first, &end);
        if (first == end || (r != comm->rank && !lj_comm_is_root(comm)))
            continue;
        lj_pass_to_root(comm, r, from, (end - first) * each * (int64_t)sizeof *from);
        if (lj_comm_is_root(comm) && status == LJ_OK)
            status = lj_array_put_rows(g->file, first, end - first, from);
    }
    return status;
}

/* Collective. */
static int write_rounds(const struct subject *s, struct lj_comm *comm, const struct gradient *g)
{
    int64_t begin, stop, first, end, most = lj_all_max(comm, s->mine.samples);
    lj_features_share(s->file.shape.rows, comm->size, comm->rank, &begin, &stop);
    for (int64_t round = 0; round * g->piece < most; round++) {
        samples_of_round(s, g, comm->size, comm->rank, round, &first, &end);
        LJ_TRY(lj_agree(
            comm, lj_projections_gradient(s->loss, &s->mine, first - begin, end - first, g->mine)));
        LJ_TRY(lj_agree(comm, write_round(s, comm, g, round)));
    }
    return LJ_OK;
}

static int create_gradient(const struct subject *s, const struct lj_comm *comm, const char *path,
                           struct gradient *g)
{
    int64_t each = s->mine.views * s->mine.width;
    int64_t blocks = lj_max_i64(GRADIENT_FLOATS / (LJ_FEATURES_BLOCK * each), 1);
    g->piece = blocks * LJ_FEATURES_BLOCK;
    g->mine = lj_alloc_array(g->piece * each, sizeof *g->mine, "diagnose");
    if (!g->mine)
        return LJ_ERR_RESOURCE;
    if (!lj_comm_is_root(comm))
        return LJ_OK;
    g->theirs = lj_alloc_array(g->piece * each, sizeof *g->theirs, "diagnose");
    if (!g->theirs)
        return LJ_ERR_RESOURCE;
    return lj_array_create(&g->file, path, "grad", &s->file.shape, "d(loss)/d(proj)");
}

/* Collective. */
static int write_gradient(const struct subject *s, struct lj_comm *comm, const char *path)
{
    struct gradient g = {0};
    int status = lj_agree(comm, create_gradient(s, comm, path, &g));
    if (status == LJ_OK) {
        int64_t turns = g.piece / LJ_FEATURES_BLOCK + comm->size; /* a piece, then rank by rank */
        int64_t before = lj_progress_set_turns(turns);
        status = write_rounds(s, comm, &g);
        lj_progress_set_turns(before);
    }
    int closed = lj_array_finish(g.file, status == LJ_OK);
    if (status == LJ_OK)
        status = lj_agree(comm, closed);
    lj_free(g.mine);
    lj_free(g.theirs);
    return status;
}

/* ---- what is found ----------------------------------------------------------------------- */

struct ranked {
    double value;
    int64_t slice;
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? 1 : -1;
    return x->slice < y->slice ? -1 : x->slice > y->slice;
}

/* Lists the slices with the largest statistic: the same on every rank. Local. */
static int rank_slices(struct lj_diagnosis *d, const struct subject *s, int64_t count)
{
    double *values = lj_alloc_array(s->file.slices, sizeof *values, "diagnose");
    struct ranked *all = lj_alloc_array(s->file.slices, sizeof *all, "diagnose");
    d->worst = lj_alloc_array(count, sizeof *d->worst, "diagnose");
    d->looks = lj_alloc_array(count, sizeof *d->looks, "diagnose");
    int status = values && all && d->worst && d->looks ? LJ_OK : LJ_ERR_RESOURCE;
    if (status == LJ_OK) {
        lj_lejepa_slice_values(s->loss, values);
        for (int64_t m = 0; m < s->file.slices; m++)
            all[m] = (struct ranked){values[m], m};
        qsort(all, (size_t)s->file.slices, sizeof *all, by_value);
        for (d->found = 0; d->found < count; d->found++) {
            d->worst[d->found] = (struct lj_worst){all[d->found].slice, all[d->found].value};
            d->looks[d->found].direction = lj_lejepa_slice(s->loss, all[d->found].slice);
        }
    }
    lj_free(values);
    lj_free(all);
    return status;
}

/* Collective. */
static int measure(struct subject *s, struct lj_comm *comm, const struct lj_config *c)
{
    struct lj_diagnosis *d = &s->found;
    struct lj_features rows = lj_projections_rows(&s->mine);
    int64_t count = lj_min_i64(c->arg_slices, s->file.slices);
    LJ_TRY(lj_projections_terms(comm, s->loss, &s->mine, d->term));
    LJ_TRY(lj_spectrum_of(comm, &rows, &d->spectrum));
    lj_projections_alignment(comm, &s->mine, d->spectrum.trace, &d->alignment);
    LJ_TRY(lj_normality_create(&d->normality, comm, c->sigreg_grid, &s->mine));
    LJ_TRY(lj_agree(comm, rank_slices(d, s, count)));
    d->floor = lj_sigreg_floor(c->sigreg_grid);
    d->views = s->file.shape.views;
    d->rows = s->file.shape.rows;
    d->width = s->file.shape.width;
    return lj_slices_look(comm, &s->mine, d->found, d->looks);
}

/* Collective. */
static int diagnose(struct subject *s, struct lj_comm *comm, struct lj_config *c,
                    const struct lj_call_words *words)
{
    LJ_TRY(prepare(s, comm, c, words));
    if (s->slices)
        lj_lejepa_begin_with(s->loss, s->slices);
    else
        lj_objective_begin(s->loss, 0);
    LJ_TRY(measure(s, comm, c));
    if (c->arg_grad[0])
        LJ_TRY(write_gradient(s, comm, c->arg_grad));
    if (lj_comm_is_root(comm))
        (c->arg_json ? lj_diagnosis_json : lj_diagnosis_table)(&s->found);
    return LJ_OK;
}

int lj_command_diagnose(struct lj_comm *comm, struct lj_config *config,
                        const struct lj_call_words *words)
{
    struct subject s = {0};
    const char *isa = "";
    int threads = 1;
    LJ_TRY(lj_agree(comm, lj_threads_use(config->threads, &threads)));
    LJ_TRY(lj_runtime_agree(comm, &isa));
    int status = diagnose(&s, comm, config, words);
    lj_objective_destroy(s.loss);
    lj_free(s.slices);
    lj_free(s.values);
    lj_free(s.found.spectrum.eigenvalues);
    lj_free(s.found.worst);
    lj_free(s.found.looks);
    lj_normality_destroy(&s.found.normality);
    return status;
}
