/* SPDX-License-Identifier: Apache-2.0 */
/* How diagnose prints: a table for people, which leaves out what is well, and one JSON object,
 * which has everything. */
#include "app/diagnosis.h"

#include "app/app.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHOWN = 16, COMPONENTS = 6 }; /* features in the table; of a direction */

/* ---- JSON -------------------------------------------------------------------------------- */

static json_t *tail_json(const struct lj_slice_row *row, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list,
                              json_pack("{s:I, s:I, s:f}", "row", (json_int_t)row[i].row, "view",
                                        (json_int_t)row[i].view, "value", row[i].value));
    return list;
}

static json_t *slice_json(const struct lj_diagnosis *d, int64_t i)
{
    const struct lj_slice *slice = &d->looks[i];
    json_t *direction = json_array(), *counts = json_array(), *gaussian = json_array(),
           *edges = json_array();
    for (int64_t k = 0; k < d->width; k++)
        json_array_append_new(direction, json_real((double)slice->direction[k]));
    for (int b = 0; b < LJ_SLICE_BINS; b++) {
        if (b > 0)
            json_array_append_new(edges, json_real(lj_slice_edge(b)));
        json_array_append_new(counts, json_integer((json_int_t)slice->count[b]));
        json_array_append_new(gaussian,
                              json_real(lj_slice_gaussian(b) * (double)(d->views * d->rows)));
    }
    return json_pack("{s:I, s:f, s:o, s:o, s:o, s:o, s:o, s:o}", "slice",
                     (json_int_t)d->worst[i].slice, "value", d->worst[i].value, "direction",
                     direction, "edges", edges, "counts", counts, "gaussian", gaussian, "low",
                     tail_json(slice->low, slice->tail), "high",
                     tail_json(slice->high, slice->tail));
}

static json_t *dimensions_json(const struct lj_diagnosis *d)
{
    const struct lj_normality *n = &d->normality;
    json_t *list = json_array();
    for (int64_t j = 0; j < d->width; j++)
        json_array_append_new(list,
                              json_pack("{s:f, s:f, s:f, s:f, s:f}", "mean", n->mean[j], "variance",
                                        n->variance[j], "skewness", n->skewness[j], "kurtosis",
                                        n->kurtosis[j], "statistic", n->statistic[j]));
    return list;
}

void lj_diagnosis_json(const struct lj_diagnosis *d)
{
    const struct lj_spectrum *p = &d->spectrum;
    const struct {
        const char *name;
        double value;
    } number[] = {
        {"sigreg", d->term[LJ_LEJEPA_SIGREG]},
        {"sigreg_floor", d->floor},
        {"pred", d->term[LJ_LEJEPA_PREDICTION]},
        {"loss", d->term[LJ_LEJEPA_LOSS]},
        {"alignment", d->alignment},
        {"effective_rank", p->effective_rank},
        {"rankme", p->rankme},
        {"participation", p->participation},
        {"condition", p->condition},
        {"mean_norm", p->mean_norm},
        {"trace", p->trace},
        {"eigenvalue_max", p->eigenvalue_max},
        {"eigenvalue_min", p->eigenvalue_min},
        {"offdiagonal", p->offdiagonal},
    };
    json_t *o = json_object(), *worst = json_array();
    for (size_t i = 0; i < sizeof number / sizeof *number; i++)
        json_object_set_new(o, number[i].name, lj_json_number(number[i].value));
    json_object_set_new(
        o, "offdiagonal_of",
        json_pack("[I, I]", (json_int_t)p->offdiagonal_of[0], (json_int_t)p->offdiagonal_of[1]));
    json_object_set_new(o, "views", json_integer((json_int_t)d->views));
    json_object_set_new(o, "rows", json_integer((json_int_t)d->rows));
    json_object_set_new(o, "width", json_integer((json_int_t)d->width));
    json_object_set_new(o, "dimensions", dimensions_json(d));
    for (int64_t i = 0; i < d->found; i++)
        json_array_append_new(worst, slice_json(d, i));
    json_object_set_new(o, "worst_slices", worst);
    json_dumpf(o, stdout, JSON_REAL_PRECISION(12));
    printf("\n");
    json_decref(o);
}

/* ---- the table --------------------------------------------------------------------------- */

static void print_summary(const struct lj_diagnosis *d)
{
    const struct lj_spectrum *p = &d->spectrum;
    printf("%lld view%s of %lld rows, width %lld\n", (long long)d->views, d->views == 1 ? "" : "s",
           (long long)d->rows, (long long)d->width);
    printf("loss            %.9g\n  prediction    %.9g\n", d->term[LJ_LEJEPA_LOSS],
           d->term[LJ_LEJEPA_PREDICTION]);
    printf("  SIGReg        %.9g   (%.4f for a Gaussian of variance 1)\n",
           d->term[LJ_LEJEPA_SIGREG], d->floor);
    if (isfinite(d->alignment))
        printf("alignment       %.4g of the variance is between views of one row\n", d->alignment);
    printf("mean            |mean| = %.6g   (0)\n", p->mean_norm);
    printf("covariance      trace %.6g   (%lld); eigenvalues %.4g .. %.4g   (1)\n", p->trace,
           (long long)d->width, p->eigenvalue_min, p->eigenvalue_max);
    printf("                condition %.4g   (1); effective rank %.2f, RankMe %.2f, participation "
           "%.2f of %lld\n",
           p->condition, p->effective_rank, p->rankme, p->participation, (long long)d->width);
    printf("                farthest from 0 off the diagonal: %.6g, of dimensions %lld and %lld\n",
           p->offdiagonal, (long long)p->offdiagonal_of[0], (long long)p->offdiagonal_of[1]);
}

/* Where the largest |value| is that comes after that of index `last`, in descending order and among
 * equals by index; last = -1: the first. -1: there are no more. */
static int64_t next_largest(const double *values, int64_t count, int64_t last)
{
    int64_t best = -1;
    for (int64_t j = 0; j < count; j++) {
        double value = fabs(values[j]), bound = last < 0 ? INFINITY : fabs(values[last]);
        bool left = value < bound || (value == bound && j > last);
        if (left && (best < 0 || value > fabs(values[best])))
            best = j;
    }
    return best;
}

static void print_dimensions(const struct lj_diagnosis *d)
{
    const struct lj_normality *n = &d->normality;
    int64_t shown = lj_min_i64(SHOWN, d->width), at = -1;
    printf("\n%lld of %lld dimensions, the least normal first (Gaussian: 0, 1, 0, 0, %.4f)\n",
           (long long)shown, (long long)d->width, d->floor);
    printf("%9s %12s %12s %10s %10s %12s\n", "dimension", "mean", "variance", "skewness",
           "kurtosis", "Epps-Pulley");
    for (int64_t i = 0; i < shown && (at = next_largest(n->statistic, d->width, at)) >= 0; i++)
        printf("%9lld %12.6g %12.6g %10.4g %10.4g %12.6g\n", (long long)at, n->mean[at],
               n->variance[at], n->skewness[at], n->kurtosis[at], n->statistic[at]);
}

/* A bar of the share that is there, and a mark where a Gaussian's would end: 2 % a character. */
static void print_bar(double share, double gaussian)
{
    char bar[52];
    int end = (int)lrint(50 * share), mark = (int)lrint(50 * gaussian);
    for (int i = 0; i < 51; i++)
        bar[i] = i == mark ? '|' : i < end ? '#' : ' ';
    bar[51] = 0;
    printf("%6.2f %%  %6.2f %%  %s\n", 100 * share, 100 * gaussian, bar);
}

static void print_histogram(const struct lj_diagnosis *d, const struct lj_slice *slice)
{
    double all = (double)(d->views * d->rows);
    for (int b = 0; b < LJ_SLICE_BINS; b++) {
        if (b == 0)
            printf("  below %4.1f    ", lj_slice_edge(1));
        else if (b == LJ_SLICE_BINS - 1)
            printf("  from  %4.1f    ", lj_slice_edge(b));
        else
            printf("  %4.1f .. %4.1f  ", lj_slice_edge(b), lj_slice_edge(b + 1));
        print_bar((double)slice->count[b] / all, lj_slice_gaussian(b));
    }
}

static void print_tail(const char *name, const struct lj_slice_row *row, int count, int64_t views)
{
    printf("  %-8s ", name);
    for (int i = 0; i < count; i++) {
        printf("%srow %lld", i ? ", " : "", (long long)row[i].row);
        if (views > 1)
            printf(" view %lld", (long long)row[i].view);
        printf(": %.4g", row[i].value);
    }
    printf("\n");
}

static void print_slice(const struct lj_diagnosis *d, int64_t i)
{
    const struct lj_slice *slice = &d->looks[i];
    double *direction = lj_alloc_array(d->width, sizeof *direction, "diagnose");
    int64_t at = -1;
    printf("\nslice %lld: %.6g   (%.4f)\n  along    ", (long long)d->worst[i].slice,
           d->worst[i].value, d->floor);
    for (int64_t k = 0; direction && k < d->width; k++)
        direction[k] = (double)slice->direction[k];
    for (int k = 0; direction && k < lj_min_i64(COMPONENTS, d->width); k++) {
        at = next_largest(direction, d->width, at);
        printf("%s%.3f of %lld", k ? ", " : "", direction[at], (long long)at);
    }
    printf(d->width > COMPONENTS ? ", ...\n" : "\n");
    lj_free(direction);
    print_histogram(d, slice);
    print_tail("lowest", slice->low, slice->tail, d->views);
    print_tail("highest", slice->high, slice->tail, d->views);
}

void lj_diagnosis_table(const struct lj_diagnosis *d)
{
    print_summary(d);
    print_dimensions(d);
    for (int64_t i = 0; i < d->found; i++)
        print_slice(d, i);
}
