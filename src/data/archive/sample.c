/* SPDX-License-Identifier: Apache-2.0 */
/* What a sample of an archive's rows holds: range, quantiles, values that are not finite. Whole
 * groups are read, spaced evenly, as training reads them, so that the time tells what training will
 * take. */
#include "data/archive/archive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 256, BYTES_MAX = 256 << 20, VALUES_MAX = 1 << 16 };

/* What is collected of the channels. */
struct collection {
    float *values;                  /* (C, VALUES_MAX) every stride-th finite value */
    int64_t count[LJ_CHANNELS_MAX]; /* of them */
    int64_t stride;
    int64_t rows_max;            /* to be read */
    int64_t nonfinite, constant; /* pixels; images */
    float least[LJ_CHANNELS_MAX], most[LJ_CHANNELS_MAX];
};

/* One plane: which of its values are kept moves on with `phase`. Returns whether they vary. */
static bool collect_plane(struct collection *c, int channel, const float *x, int64_t pixels,
                          int64_t phase)
{
    float first = NAN;
    bool varies = false;
    for (int64_t p = 0; p < pixels; p++) {
        if (!isfinite(x[p])) {
            c->nonfinite++;
            continue;
        }
        first = isnan(first) ? x[p] : first;
        varies = varies || x[p] != first;
        c->least[channel] = fminf(c->least[channel], x[p]);
        c->most[channel] = fmaxf(c->most[channel], x[p]);
        if ((p + phase) % c->stride == 0 && c->count[channel] < VALUES_MAX)
            c->values[channel * VALUES_MAX + c->count[channel]++] = x[p];
    }
    return varies;
}

static void collect_image(struct collection *c, const struct lj_archive_info *info,
                          const float *image, int64_t number)
{
    int64_t pixels = info->stored_height * info->stored_width;
    bool varies = false;
    for (int channel = 0; channel < info->channels; channel++)
        varies = collect_plane(c, channel, image + channel * pixels, pixels, number) || varies;
    c->constant += !varies;
}

static void finish_channel(const struct collection *c, int channel, double quantile[LJ_QUANTILES])
{
    static const double parts[LJ_QUANTILES] = {0, 0.01, 0.5, 0.99, 1};
    float *x = c->values + channel * VALUES_MAX;
    int64_t count = c->count[channel];
    qsort(x, (size_t)count, sizeof *x, lj_compare_floats);
    for (int q = 0; q < LJ_QUANTILES; q++)
        quantile[q] = count ? (double)x[(int64_t)(parts[q] * (double)(count - 1))] : NAN;
    if (count) {
        quantile[LJ_LEAST] = (double)c->least[channel];
        quantile[LJ_LARGEST] = (double)c->most[channel];
    }
}

/* Reads the rows of some groups. number: rows read so far. */
static int read_groups(struct lj_archive *archive, struct collection *c, float *image,
                       int64_t *number)
{
    const struct lj_archive_info *info = &archive->header.info;
    struct lj_groups groups = lj_archive_groups(archive);
    int64_t wanted =
        lj_max_i64(1, lj_min_i64(groups.count, c->rows_max * groups.count / info->selected));
    for (int64_t g = 0; g < wanted; g++) {
        int64_t group = lj_evenly(g, wanted, groups.count);
        int64_t end = groups.first(groups.data, group + 1);
        for (int64_t i = groups.first(groups.data, group); i < end && *number < c->rows_max; i++) {
            lj_progress();
            LJ_TRY(lj_archive_read_plain(archive, i, 1, image));
            collect_image(c, info, image, (*number)++);
        }
    }
    return LJ_OK;
}

static int collect(struct lj_archive *archive, struct collection *c, struct lj_pixel_sample *sample)
{
    const struct lj_archive_info *info = &archive->header.info;
    int64_t pixels = info->stored_height * info->stored_width;
    int64_t fit = lj_max_i64(1, BYTES_MAX / (int64_t)lj_row_bytes(archive));
    c->rows_max = lj_min_i64(lj_min_i64(ROWS_MAX, fit), info->selected);
    c->stride = lj_max_i64(1, (c->rows_max * pixels + VALUES_MAX - 1) / VALUES_MAX);
    for (int channel = 0; channel < info->channels; channel++) {
        c->least[channel] = INFINITY;
        c->most[channel] = -INFINITY;
    }
    float *image = lj_alloc_array(info->channels * pixels, sizeof *image, "archive");
    double begun_s = lj_now_s();
    int status = image ? read_groups(archive, c, image, &sample->rows) : LJ_ERR_RESOURCE;
    double rows = (double)sample->rows;
    sample->seconds = (lj_now_s() - begun_s) / rows;
    sample->nonfinite = (double)c->nonfinite / (rows * (double)(info->channels * pixels));
    sample->constant = (double)c->constant / rows;
    lj_free(image);
    return status;
}

int lj_archive_sample(struct lj_archive *archive, struct lj_pixel_sample *sample)
{
    int channels = archive->header.info.channels;
    struct collection *c = lj_alloc(sizeof *c, "archive");
    *sample = (struct lj_pixel_sample){0};
    if (!c)
        return LJ_ERR_RESOURCE;
    c->values = lj_alloc_array((int64_t)channels * VALUES_MAX, sizeof *c->values, "archive");
    int status = c->values ? collect(archive, c, sample) : LJ_ERR_RESOURCE;
    for (int channel = 0; status == LJ_OK && channel < channels; channel++)
        finish_channel(c, channel, sample->quantile[channel]);
    lj_free(c->values);
    lj_free(c);
    return status;
}
