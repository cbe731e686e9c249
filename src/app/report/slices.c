/* SPDX-License-Identifier: Apache-2.0 */
/* How the projections are spread along random directions: what SIGReg drives towards a normal
 * distribution. */
#include "app/report/report.h"
#include "app/report/sample.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

enum { SLICES = 6, BINS = 32 };
#define LEAST     (-4.0) /* what is below counts in the first bin, what is above in the last */
#define BIN_WIDTH 0.25

struct histogram {
    double density[SLICES][BINS];
};

static double middle(int bin)
{
    return LEAST + BIN_WIDTH * (bin + 0.5);
}

static double normal_density(double x)
{
    return 0.3989422804014327 * exp(-0.5 * x * x);
}

static void count_slice(const struct lj_report_sample *s, const float *direction, double *density)
{
    double length = 0;
    for (int64_t d = 0; d < s->dimensions; d++)
        length += (double)direction[d] * (double)direction[d];
    for (int64_t r = 0; r < s->rows; r++) {
        double place = 0;
        for (int64_t d = 0; d < s->dimensions; d++)
            place += (double)s->projection[r * s->dimensions + d] * (double)direction[d];
        double bin = fmin(fmax((place / sqrt(length) - LEAST) / BIN_WIDTH, 0), BINS - 1);
        density[(int)bin] += 1 / ((double)s->rows * BIN_WIDTH);
    }
}

/* The directions are the same in every report. */
static int count_slices(const struct lj_report_sample *s, struct histogram *h)
{
    struct lj_rng rng;
    float *direction = lj_alloc_array(s->dimensions, sizeof *direction, "report");
    if (!direction)
        return LJ_ERR_RESOURCE;
    for (int i = 0; i < SLICES; i++) {
        lj_rng_begin(&rng, 0, LJ_DRAW_SLICES, 0, (uint64_t)i, 0);
        lj_draw_normals(direction, s->dimensions, &rng);
        count_slice(s, direction, h->density[i]);
    }
    lj_free(direction);
    return LJ_OK;
}

static int write_histogram(const struct lj_report *report, const struct histogram *h,
                           const char *name)
{
    struct lj_text table = {0};
    lj_text_add(&table, "value\tnormal");
    for (int i = 0; i < SLICES; i++)
        lj_text_add(&table, "\tslice %d", i + 1);
    for (int bin = 0; bin < BINS; bin++) {
        lj_text_add(&table, "\n%g\t%.9g", middle(bin), normal_density(middle(bin)));
        for (int i = 0; i < SLICES; i++)
            lj_text_add(&table, "\t%.9g", h->density[i][bin]);
    }
    lj_text_add(&table, "\n");
    int status = lj_report_write_file(report, name, ".tsv", &table);
    lj_text_free(&table);
    return status;
}

static void list(struct lj_report *report, const struct histogram *h)
{
    static const char *const heading[SLICES + 2] = {"value",   "normal",  "slice 1", "slice 2",
                                                    "slice 3", "slice 4", "slice 5", "slice 6"};
    lj_table_begin(report, "Table: density along the slices", false, heading, SLICES + 2);
    for (int bin = 0; bin < BINS; bin++) {
        char value[32];
        snprintf(value, sizeof value, "%.3f", middle(bin));
        lj_row_begin(report, value);
        lj_cell_number(report, normal_density(middle(bin)));
        for (int i = 0; i < SLICES; i++)
            lj_cell_number(report, h->density[i][bin]);
    }
    lj_table_end(report);
}

int lj_report_slices(struct lj_report *report, int run)
{
    struct lj_figure figure;
    struct histogram h = {0};
    char name[64];
    snprintf(name, sizeof name, "slices-%d", run + 1);
    LJ_TRY(count_slices(report->run[run].sample, &h));
    LJ_TRY(write_histogram(report, &h, name));
    lj_figure_begin(&figure, name, "projections along random slices");
    lj_text_add(&figure.script,
                "set xlabel 'place on the slice'\nset ylabel 'density'\nset yrange [0:*]\n"
                "plot for [slice=1:%d] '%s.tsv' skip 1 using 1:slice+2 with histeps linetype slice "
                "linewidth 1 dashtype solid title ''.slice, \\\n"
                "     '%s.tsv' skip 1 using 1:2 with lines linewidth 3 linecolor '#000000' "
                "dashtype '-' title 'normal'\n",
                SLICES, name, name);
    LJ_TRY(lj_figure_draw(report, &figure,
                          "Histograms of the projections of a global view along six random "
                          "directions, and the normal distribution that SIGReg drives them "
                          "towards. The outermost bins hold what lies beyond."));
    list(report, &h);
    lj_figure_end(report);
    return LJ_OK;
}
