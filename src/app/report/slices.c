/* SPDX-License-Identifier: Apache-2.0 */
/* How the projections are spread along random directions: what SIGReg drives towards a normal
 * distribution. */
#include "app/report/report.h"
#include "app/report/sample.h"

#include "kernels/kernels.h"

#include <math.h>

enum { SLICES = 6 };

/* Where a bin is drawn; the outermost ones, which have no end, as if they were as wide as others.
 */
static double middle(int bin)
{
    double width = lj_slice_edge(2) - lj_slice_edge(1);
    return lj_slice_edge(bin) + width / 2;
}

/* Makes a direction one of length 1. */
static void normalise(float *direction, int64_t width)
{
    double square = 0;
    for (int64_t d = 0; d < width; d++)
        square += (double)direction[d] * (double)direction[d];
    for (int64_t d = 0; d < width; d++)
        direction[d] = (float)((double)direction[d] / sqrt(square));
}

/* The directions are the same in every report. */
static int take_slices(const struct lj_report_sample *s, struct lj_slice slice[SLICES])
{
    const struct lj_projections projections = {s->projection, s->rows, 1, s->dimensions};
    struct lj_rng rng;
    float *direction = lj_alloc_array(s->dimensions, sizeof *direction, "report");
    if (!direction)
        return LJ_ERR_RESOURCE;
    for (int i = 0; i < SLICES; i++) {
        lj_rng_begin(&rng, 0, LJ_DRAW_SLICES, 0, (uint64_t)i, 0);
        lj_draw_normals(direction, s->dimensions, &rng);
        normalise(direction, s->dimensions);
        slice[i].direction = direction;
        lj_slice_take(&slice[i], &projections, 0);
        slice[i].direction = NULL;
    }
    lj_free(direction);
    return LJ_OK;
}

static double share_of(const struct lj_report_sample *s, const struct lj_slice *slice, int bin)
{
    return (double)slice->count[bin] / (double)s->rows;
}

static int write_histogram(const struct lj_report *report, const struct lj_report_sample *s,
                           const struct lj_slice slice[SLICES], const char *name)
{
    struct lj_text table = {0};
    lj_text_add(&table, "value\tnormal");
    for (int i = 0; i < SLICES; i++)
        lj_text_add(&table, "\tslice %d", i + 1);
    for (int bin = 0; bin < LJ_SLICE_BINS; bin++) {
        lj_text_add(&table, "\n%g\t%.9g", middle(bin), lj_slice_gaussian(bin));
        for (int i = 0; i < SLICES; i++)
            lj_text_add(&table, "\t%.9g", share_of(s, &slice[i], bin));
    }
    lj_text_add(&table, "\n");
    return lj_report_write_table(report, name, &table);
}

static void list(struct lj_report *report, const struct lj_report_sample *s,
                 const struct lj_slice slice[SLICES])
{
    static const char *const heading[SLICES + 2] = {"value",   "normal",  "slice 1", "slice 2",
                                                    "slice 3", "slice 4", "slice 5", "slice 6"};
    lj_table_begin(report, "Table: shares of rows along the slices", false, heading, SLICES + 2);
    for (int bin = 0; bin < LJ_SLICE_BINS; bin++) {
        char value[64];
        if (bin == 0)
            snprintf(value, sizeof value, "below %g", lj_slice_edge(1));
        else if (bin == LJ_SLICE_BINS - 1)
            snprintf(value, sizeof value, "from %g", lj_slice_edge(bin));
        else
            snprintf(value, sizeof value, "%g .. %g", lj_slice_edge(bin), lj_slice_edge(bin + 1));
        lj_row_begin(report, value);
        lj_cell_number(report, lj_slice_gaussian(bin));
        for (int i = 0; i < SLICES; i++)
            lj_cell_number(report, share_of(s, &slice[i], bin));
    }
    lj_table_end(report);
}

int lj_report_slices(struct lj_report *report, int run)
{
    const struct lj_report_sample *s = report->run[run].sample;
    struct lj_figure figure;
    struct lj_slice slice[SLICES] = {{0}};
    char name[64];
    if (s->dimensions == 0)
        return LJ_OK;
    LJ_TRY(take_slices(s, slice));
    LJ_TRY(write_histogram(report, s, slice, lj_report_name(name, "slices", run)));
    lj_figure_begin(&figure, name, "projections along random slices");
    lj_text_add(&figure.script,
                "set xlabel 'place on the slice'\nset ylabel 'share of rows'\nset yrange [0:*]\n"
                "plot for [slice=1:%d] '%s.tsv' skip 1 using 1:slice+2 with histeps linetype slice "
                "linewidth 1 dashtype solid title ''.slice, \\\n"
                "     '%s.tsv' skip 1 using 1:2 with lines linewidth 3 linecolor '#000000' "
                "dashtype '-' title 'normal'\n",
                SLICES, name, name);
    LJ_TRY(lj_figure_draw(report, &figure,
                          "Histograms of the projections of a global view along six random "
                          "directions, and the normal distribution that LeJEPA drives them "
                          "towards. The outermost bins hold what lies beyond."));
    list(report, s, slice);
    lj_figure_end(report);
    return LJ_OK;
}
