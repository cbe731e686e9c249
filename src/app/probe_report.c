/* SPDX-License-Identifier: Apache-2.0 */
/* The report of probe: one short table, or one JSON object. */
#include "app/probe_report.h"

#include "app/app.h"

#include <stdio.h>

static json_t *fewshot_json(const struct lj_fewshot *f)
{
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "labels",
                     (json_int_t)f->labels, "classes_with_fewer", (json_int_t)f->fewer, "knn_top1",
                     f->knn_top1.mean, "knn_top1_std", f->knn_top1.deviation, "knn_balanced",
                     f->knn_balanced.mean, "knn_balanced_std", f->knn_balanced.deviation,
                     "linear_top1", f->linear_top1.mean, "linear_top1_std",
                     f->linear_top1.deviation, "linear_balanced", f->linear_balanced.mean,
                     "linear_balanced_std", f->linear_balanced.deviation);
}

static void add_interval(json_t *o, const char *key, const struct lj_interval *interval)
{
    json_object_set_new(o, key, json_pack("[f, f]", interval->low, interval->high));
}

/* null where there are too many classes. */
static json_t *confusion_json(const struct lj_confusion *c)
{
    if (!c->rows)
        return json_null();
    json_t *labels = json_array(), *matrix = json_array();
    for (int64_t i = 0; i < c->classes; i++) {
        json_t *row = json_array();
        for (int64_t j = 0; j < c->classes; j++)
            json_array_append_new(row, json_integer(c->rows[i * c->classes + j]));
        json_array_append_new(matrix, row);
        json_array_append_new(labels, json_integer(c->label[i]));
    }
    return json_pack("{s:o, s:o}", "labels", labels, "rows", matrix);
}

static json_t *json_of(const struct lj_probe_report *r)
{
    json_t *o =
        json_pack("{s:f, s:f, s:f, s:f, s:i, s:f, s:f, s:i, s:f, s:I, s:I, s:I, s:I}", "knn_top1",
                  r->knn.accuracy.top1, "knn_balanced", r->knn.accuracy.balanced, "linear_top1",
                  r->linear.accuracy.top1, "linear_balanced", r->linear.accuracy.balanced, "k",
                  LJ_KNN_NEIGHBOURS, "temperature", LJ_KNN_TEMPERATURE, "l2", r->l2, "iterations",
                  r->fit.iterations, "gradient_norm", r->fit.gradient_norm, "train_rows",
                  (json_int_t)r->train_rows, "test_rows", (json_int_t)r->test_rows, "width",
                  (json_int_t)r->width, "unlabelled", (json_int_t)r->unlabelled);
    json_object_set_new(o, "overlap", r->shared < 0 ? json_null() : json_integer(r->shared));
    add_interval(o, "knn_top1_interval", &r->knn.top1);
    add_interval(o, "knn_balanced_interval", &r->knn.balanced);
    add_interval(o, "linear_top1_interval", &r->linear.top1);
    add_interval(o, "linear_balanced_interval", &r->linear.balanced);
    if (r->knn.confusion.classes > 0) {
        json_object_set_new(o, "knn_confusion", confusion_json(&r->knn.confusion));
        json_object_set_new(o, "linear_confusion", confusion_json(&r->linear.confusion));
    }
    if (r->l2_auto)
        json_object_set_new(o, "held_out",
                            json_pack("{s:I, s:f}", "rows", (json_int_t)r->choice.held_out,
                                      "linear_top1", r->choice.accuracy));
    if (r->fewshots) {
        json_t *all = json_array();
        for (int64_t i = 0; i < r->fewshots; i++)
            json_array_append_new(all, fewshot_json(&r->fewshot[i]));
        json_object_set_new(o, "fewshot", all);
    }
    return o;
}

int lj_probe_report_json(const struct lj_probe_report *report)
{
    json_t *o = json_of(report);
    int status = lj_print_json(o, 9);
    json_decref(o);
    return status;
}

static void print_row(const char *name, const struct lj_probe_score *s)
{
    printf("%-34s %8.4f  %.4f .. %.4f %9.4f  %.4f .. %.4f\n", name, s->accuracy.top1, s->top1.low,
           s->top1.high, s->accuracy.balanced, s->balanced.low, s->balanced.high);
}

enum { PRINTED_CLASSES = 20 };

static void print_confusion(const char *name, const struct lj_confusion *c)
{
    if (c->classes > PRINTED_CLASSES) {
        printf("\n%s: %lld classes, more than the %d of a table; %s\n", name, (long long)c->classes,
               PRINTED_CLASSES, c->rows ? "json=1 prints them" : "and too many for json=1");
        return;
    }
    printf("\n%s: rows by class and by the class that is predicted (columns)\n%8s", name, "");
    for (int64_t j = 0; j < c->classes; j++)
        printf(" %6d", c->label[j]);
    for (int64_t i = 0; i < c->classes; i++) {
        printf("\n%8d", c->label[i]);
        for (int64_t j = 0; j < c->classes; j++)
            printf(" %6lld", (long long)c->rows[i * c->classes + j]);
    }
    printf("\n");
}

static void print_fewshot(const struct lj_probe_report *r)
{
    printf("\nlabels a class   kNN: accuracy  balanced   linear: accuracy  balanced   "
           "(mean and deviation, %d draws)\n",
           LJ_FEWSHOT_DRAWS);
    for (int64_t i = 0; i < r->fewshots; i++) {
        const struct lj_fewshot *f = &r->fewshot[i];
        printf("%14lld  ", (long long)f->labels);
        printf(" %6.4f +- %6.4f %9.4f", f->knn_top1.mean, f->knn_top1.deviation,
               f->knn_balanced.mean);
        printf("  %8.4f +- %6.4f %9.4f", f->linear_top1.mean, f->linear_top1.deviation,
               f->linear_balanced.mean);
        if (f->fewer)
            printf("   classes with fewer: %lld", (long long)f->fewer);
        printf("\n");
    }
}

void lj_probe_report_table(const struct lj_probe_report *r)
{
    char name[64];
    printf("%lld training and %lld test rows of width %lld\n", (long long)r->train_rows,
           (long long)r->test_rows, (long long)r->width);
    if (r->unlabelled)
        printf("%lld more rows have no label and were left out\n", (long long)r->unlabelled);
    if (r->shared > 0)
        printf("%lld of the test rows are training rows, too\n", (long long)r->shared);
    if (r->l2_auto)
        printf("L2 %g was best on %lld held-out training rows: accuracy %.4f\n", r->l2,
               (long long)r->choice.held_out, r->choice.accuracy);
    printf("%-34s %8s  %-16s %9s  %s\n", "", "accuracy", "95 % interval", "balanced",
           "95 % interval");
    snprintf(name, sizeof name, "kNN (k=%d, cosine, T=%g)", LJ_KNN_NEIGHBOURS, LJ_KNN_TEMPERATURE);
    print_row(name, &r->knn);
    snprintf(name, sizeof name, "linear (L2 %g, %d iterations)", r->l2, r->fit.iterations);
    print_row(name, &r->linear);
    if (r->knn.confusion.classes > 0) {
        print_confusion("kNN", &r->knn.confusion);
        print_confusion("linear", &r->linear.confusion);
    }
    if (r->fewshots)
        print_fewshot(r);
}
