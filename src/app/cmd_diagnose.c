/* SPDX-License-Identifier: Apache-2.0 */
/* diagnose: is this array an isotropic Gaussian? Reads embeddings (N, C) or proj (V, N, D) and
 * perhaps slices (D, M); prints the terms of LeJEPA's loss, whatever the setting objective says,
 * and the spectrum; grad= writes d(loss)/d(proj), so that anyone can check the mathematics. Rank 0
 * works; the loss's reduction is collective. */
#include "app/app.h"

#include "lejepa/runtime.h"

#include "eval/eval.h"
#include "loss/loss.h"
#include "store/store.h"
#include "train/train.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANE = 32, WORST = 5 };
/* The largest that training has: views.global + views.local, projector.out, sigreg.slices. */
enum { VIEWS_MAX = 128, WIDTH_MAX = 65536, SLICES_MAX = 1048576 };

struct subject {
    int64_t views, rows, width;
    float *proj;   /* (V, N, D) */
    float *slices; /* (D, M) or NULL */
    int64_t count; /* M */
    float *lane, *dlane;
    struct lj_objective *loss; /* LeJEPA */
    struct lj_step_message message;
    double term[LJ_TERMS_MAX];
    struct lj_spectrum spectrum;
};

/* ---- reading ----------------------------------------------------------------------------- */

static int read_array(struct subject *s, const char *path)
{
    int dims = 3;
    int64_t dim[3];
    LJ_TRY(lj_array_read(path, "proj", true, &dims, dim, &s->proj));
    if (!s->proj) {
        dims = 3;
        LJ_TRY(lj_array_read(path, "embeddings", false, &dims, dim, &s->proj));
    }
    if (dims != 2 && dims != 3)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected embeddings (N, C) or proj (V, N, D), found %d "
                       "dimensions",
                       path, dims);
    s->views = dims == 3 ? dim[0] : 1;
    s->rows = dim[dims - 2];
    s->width = dim[dims - 1];
    if (s->views < 1 || s->rows < 1 || s->width < 1)
        return lj_fail(LJ_ERR_DATA, "%s: the array is empty", path);
    if (s->views > VIEWS_MAX || s->width > WIDTH_MAX)
        return lj_fail(LJ_ERR_DATA,
                       "%s: expected at most %d views of width %d at most, found (V, N, D) = "
                       "(%lld, %lld, %lld)",
                       path, VIEWS_MAX, WIDTH_MAX, (long long)s->views, (long long)s->rows,
                       (long long)s->width);
    return LJ_OK;
}

static int read_slices(struct subject *s, const char *path)
{
    int dims = 3;
    int64_t dim[3];
    LJ_TRY(lj_array_read(path, "slices", true, &dims, dim, &s->slices));
    if (s->slices && (dims != 2 || dim[0] != s->width))
        return lj_fail(LJ_ERR_DATA,
                       "%s: slices: expected (%lld, M), found %d dimensions and %lld rows", path,
                       (long long)s->width, dims, (long long)dim[0]);
    if (s->slices && (dim[1] < 1 || dim[1] > SLICES_MAX))
        return lj_fail(LJ_ERR_DATA, "%s: slices: expected 1 to %d of them, found %lld", path,
                       SLICES_MAX, (long long)dim[1]);
    if (s->slices)
        s->count = dim[1];
    return LJ_OK;
}

static int make_loss(struct subject *s, struct lj_comm *comm, const struct lj_config *c,
                     const struct lj_call_words *words)
{
    int64_t lanes = (s->rows + LANE - 1) / LANE; /* 0 but on the root, which has the rows */
    struct lj_objective_shape shape = {
        .views = s->views,
        .global_views = lj_words_set(words, "views.global") ? c->views_global : s->views,
        .width = s->width,
        .lanes = lj_max_i64(lanes, 1),
        .my_lanes = lanes,
        .lane_rows = LANE,
        .workers = 1};
    s->lane = lj_alloc_array(s->views * LANE * s->width, sizeof *s->lane, "diagnose");
    s->dlane = lj_alloc_array(s->views * LANE * s->width, sizeof *s->dlane, "diagnose");
    s->spectrum.eigenvalues = lj_alloc_array(s->width, sizeof(double), "diagnose");
    if (!s->lane || !s->dlane || !s->spectrum.eigenvalues)
        return LJ_ERR_RESOURCE;
    return lj_objective_create(&s->loss, comm, &lj_objective_lejepa, c, &shape, NULL);
}

static int prepare(struct subject *s, struct lj_comm *comm, const struct lj_config *c,
                   const struct lj_call_words *words)
{
    s->views = s->width = 1;
    s->count = c->sigreg_slices;
    if (lj_comm_is_root(comm)) {
        if (!words->file)
            return lj_fail(LJ_ERR_CONFIG, "diagnose: give an HDF5 file with embeddings or proj");
        LJ_TRY(read_array(s, words->file));
        LJ_TRY(read_slices(s, words->file));
    }
    return LJ_OK;
}

/* ---- the loss ---------------------------------------------------------------------------- */

/* Samples [first, first + n) between proj and lane, either way. */
static void copy_lane(struct subject *s, int64_t first, int64_t n, float *whole, float *lane,
                      bool out)
{
    for (int64_t v = 0; v < s->views; v++) {
        float *a = whole + (v * s->rows + first) * s->width, *b = lane + v * n * s->width;
        memcpy(out ? a : b, out ? b : a, (size_t)(n * s->width) * sizeof *a);
    }
}

/* The lane of the samples from `first` on, copied into s->lane. */
static struct lj_loss_lane take_lane(struct subject *s, int64_t first)
{
    int64_t n = lj_min_i64(LANE, s->rows - first);
    lj_progress();
    copy_lane(s, first, n, s->proj, s->lane, false);
    return (struct lj_loss_lane){.index = first / LANE, .n = n, .proj = s->lane};
}

static void add_samples(struct subject *s)
{
    for (int64_t first = 0; first < s->rows; first += LANE) {
        struct lj_loss_lane lane = take_lane(s, first);
        lj_objective_add(s->loss, &lane);
    }
}

static int write_gradient(struct subject *s, const char *path)
{
    float *grad = lj_alloc_array(s->views * s->rows * s->width, sizeof *grad, "diagnose");
    if (!grad)
        return LJ_ERR_RESOURCE;
    for (int64_t first = 0; first < s->rows; first += LANE) {
        struct lj_loss_lane lane = take_lane(s, first);
        lj_objective_gradient(s->loss, &lane, s->dlane);
        copy_lane(s, first, lane.n, grad, s->dlane, true);
    }
    int64_t dim[3] = {s->views, s->rows, s->width};
    int status = lj_array_write(path, "grad", 3, dim, grad, "d(loss)/d(proj)");
    lj_free(grad);
    return status;
}

/* ---- printing ---------------------------------------------------------------------------- */

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

/* The slices with the largest statistic. Returns how many. */
static int worst_slices(const struct subject *s, struct ranked worst[WORST])
{
    double *values = lj_alloc_array(s->count, sizeof *values, "diagnose");
    struct ranked *all = lj_alloc_array(s->count, sizeof *all, "diagnose");
    int found = 0;
    if (values && all) {
        lj_lejepa_slice_values(s->loss, values);
        for (int64_t m = 0; m < s->count; m++)
            all[m] = (struct ranked){values[m], m};
        qsort(all, (size_t)s->count, sizeof *all, by_value);
        found = (int)lj_min_i64(WORST, s->count);
        memcpy(worst, all, (size_t)found * sizeof *all);
    }
    lj_free(values);
    lj_free(all);
    return found;
}

static void print_json(const struct subject *s, double floor, const struct ranked *worst, int found)
{
    const struct lj_spectrum *p = &s->spectrum;
    json_t *list = json_array();
    for (int i = 0; i < found; i++)
        json_array_append_new(list, json_pack("{s:I, s:f}", "slice", (json_int_t)worst[i].slice,
                                              "value", worst[i].value));
    json_t *o =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o}",
                  "sigreg", lj_json_number(s->term[LJ_LEJEPA_SIGREG]), "sigreg_floor",
                  lj_json_number(floor), "pred", lj_json_number(s->term[LJ_LEJEPA_PREDICTION]),
                  "loss", lj_json_number(s->term[LJ_LEJEPA_LOSS]), "effective_rank",
                  lj_json_number(p->effective_rank), "condition", lj_json_number(p->condition),
                  "mean_norm", lj_json_number(p->mean_norm), "trace", lj_json_number(p->trace),
                  "eigenvalue_max", lj_json_number(p->eigenvalues[0]), "eigenvalue_min",
                  lj_json_number(p->eigenvalues[s->width - 1]), "views", (json_int_t)s->views,
                  "rows", (json_int_t)s->rows, "width", (json_int_t)s->width, "worst_slices", list);
    json_dumpf(o, stdout, JSON_REAL_PRECISION(12));
    printf("\n");
    json_decref(o);
}

static void print_table(const struct subject *s, double floor, const struct ranked *worst,
                        int found)
{
    const struct lj_spectrum *p = &s->spectrum;
    printf("%lld view%s of %lld rows, width %lld\n", (long long)s->views, s->views == 1 ? "" : "s",
           (long long)s->rows, (long long)s->width);
    printf("loss            %.9g\n  prediction    %.9g\n", s->term[LJ_LEJEPA_LOSS],
           s->term[LJ_LEJEPA_PREDICTION]);
    printf("  SIGReg        %.9g   (%.4f for a Gaussian of variance 1)\n",
           s->term[LJ_LEJEPA_SIGREG], floor);
    printf("mean            |mean| = %.6g   (0)\n", p->mean_norm);
    printf("covariance      trace %.6g   (%lld); eigenvalues %.4g .. %.4g   (1)\n", p->trace,
           (long long)s->width, p->eigenvalues[s->width - 1], p->eigenvalues[0]);
    printf("                condition %.4g   (1); effective rank %.2f of %lld\n", p->condition,
           p->effective_rank, (long long)s->width);
    printf("worst slices   ");
    for (int i = 0; i < found; i++)
        printf(" %lld: %.4g%s", (long long)worst[i].slice, worst[i].value,
               i + 1 < found ? "," : "\n");
}

static int finish_on_root(struct subject *s, const struct lj_config *c)
{
    struct ranked worst[WORST];
    if (c->arg_grad[0])
        LJ_TRY(write_gradient(s, c->arg_grad));
    int found = worst_slices(s, worst);
    (c->arg_json ? print_json : print_table)(s, lj_sigreg_floor(c->sigreg_grid), worst, found);
    return LJ_OK;
}

static int diagnose(struct subject *s, struct lj_comm *comm, struct lj_config *c,
                    const struct lj_call_words *words)
{
    int64_t sizes[3];
    lj_root_section_begin(comm);
    LJ_TRY(lj_root_section_end(comm, prepare(s, comm, c, words)));
    memcpy(sizes, (int64_t[3]){s->views, s->width, s->count}, sizeof sizes);
    lj_broadcast(comm, sizes, sizeof sizes, 0);
    s->views = sizes[0];
    s->width = sizes[1];
    s->count = c->sigreg_slices = sizes[2]; /* the file's, if it has some */
    LJ_TRY(lj_agree(comm, make_loss(s, comm, c, words)));
    if (s->slices)
        lj_lejepa_begin_with(s->loss, s->slices);
    else
        lj_objective_begin(s->loss, 0);
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm))
        add_samples(s);
    LJ_TRY(lj_root_section_end(comm, LJ_OK));
    LJ_TRY(lj_objective_reduce(s->loss, LJ_OK, &s->message, s->term));
    if (s->message.nonfinite > 0)
        return lj_fail(LJ_ERR_NUMERIC,
                       "the array holds values that are not finite or out of range");
    struct lj_features rows = {.values = s->proj,
                               .rows = lj_comm_is_root(comm) ? s->views * s->rows : 0,
                               .width = s->width,
                               .block = LJ_FEATURES_BLOCK};
    LJ_TRY(lj_spectrum_of(comm, &rows, &s->spectrum));
    lj_root_section_begin(comm);
    return lj_root_section_end(comm, lj_comm_is_root(comm) ? finish_on_root(s, c) : LJ_OK);
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
    lj_free(s.proj);
    lj_free(s.slices);
    lj_free(s.lane);
    lj_free(s.dlane);
    lj_free(s.spectrum.eigenvalues);
    return status;
}
