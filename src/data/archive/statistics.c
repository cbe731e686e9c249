/* SPDX-License-Identifier: Apache-2.0 */
/* Mean, standard deviation and range of each channel; the limits of data.stretch.
 *
 * Sums are formed group by group in double precision, each group by one rank, in the order of its
 * rows. Then every rank receives the sums of all groups and adds them in the order of the groups,
 * which gives the same bits on any number of ranks. Sums travel as the bits of their doubles in an
 * exact sum of integers, to which all ranks but the owner contribute zero. Of an archive with more
 * than 65536 samples, or more than 4 GiB, evenly spaced groups are taken that together hold about
 * as many. Percentiles are of the pixels that all ranks have sampled, which travel likewise. */
#include "data/archive/archive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_MAX = 65536, PARTIAL_SUMS = 8, RANGE_ROWS = 64, TELLING_SECONDS = 10 };

/* The most bytes that are read, by all ranks together. A variable, so that a test can lower it. */
int64_t lj_statistics_bytes_max = INT64_C(4) << 30;

/* Limits: the most rows that are sampled, and how many even if they cost more bytes; the most
 * values that are sorted, over all channels. */
enum { LIMIT_ROWS = 1024, LIMIT_ROWS_LEAST = 16, LIMIT_VALUES = 1 << 20 };

/* ---- the chosen groups ------------------------------------------------------------------- */

/* Which groups the statistics are taken from. */
struct choice {
    int64_t groups; /* number of chosen groups */
    int64_t all;    /* number of groups of the archive */
};

/* Bytes that reading all groups costs, about: whole chunks, or just the selected rows. */
static __int128 bytes_of_groups(const struct lj_archive *archive)
{
    const struct lj_archive_info *info = &archive->header.info;
    __int128 rows = info->selected;
    if (archive->part[0].chunk_rows)
        rows = (__int128)info->rows * archive->groups.members / archive->groups.all;
    return rows * (__int128)lj_row_bytes(archive);
}

static struct choice choose(const struct lj_archive *archive)
{
    int64_t all = archive->groups.members, selected = archive->header.info.selected, groups = all;
    __int128 bytes = bytes_of_groups(archive);
    if (selected > SAMPLES_MAX)
        groups = (int64_t)((__int128)SAMPLES_MAX * all / selected);
    if (bytes > lj_statistics_bytes_max)
        groups = lj_min_i64(groups, (int64_t)((__int128)lj_statistics_bytes_max * all / bytes));
    return (struct choice){lj_max_i64(1, groups), all};
}

static int64_t chosen(const struct choice *choice, int64_t i)
{
    return (int64_t)((__int128)i * choice->all / choice->groups);
}

/* ---- range ------------------------------------------------------------------------------- */

static void begin_range(float *low, float *high, int channels)
{
    for (int c = 0; c < channels; c++) {
        low[c] = INFINITY;
        high[c] = -INFINITY;
    }
}

static void widen(float *low, float *high, const float *x, int64_t count)
{
    float least = *low, most = *high;
    for (int64_t i = 0; i < count; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    *low = least;
    *high = most;
}

/* Everybody's range becomes that of all. Collective. */
static int join_ranges(struct lj_archive *archive, struct lj_comm *comm)
{
    int channels = archive->header.info.channels;
    double mine[2 * LJ_CHANNELS_MAX];
    double *all = lj_alloc_array((int64_t)comm->size * 2 * channels, sizeof *all, "archive");
    LJ_TRY(lj_agree(comm, all ? LJ_OK : LJ_ERR_RESOURCE));
    for (int c = 0; c < channels; c++) {
        mine[2 * c] = archive->least[c];
        mine[2 * c + 1] = archive->most[c];
    }
    lj_all_gather_f64(comm, mine, 2 * channels, all);
    for (int64_t i = 0; i < (int64_t)comm->size * channels; i++) {
        float low = (float)all[2 * i], high = (float)all[2 * i + 1];
        int c = (int)(i % channels);
        archive->least[c] = low < archive->least[c] ? low : archive->least[c];
        archive->most[c] = high > archive->most[c] ? high : archive->most[c];
    }
    lj_free(all);
    return LJ_OK;
}

void lj_archive_range(const struct lj_archive *archive, float *low, float *high)
{
    size_t bytes = (size_t)archive->header.info.channels * sizeof *low;
    LJ_CHECK(archive->have_statistics, "lj_archive_range before lj_archive_statistics");
    memcpy(low, archive->least, bytes);
    memcpy(high, archive->most, bytes);
}

int lj_archive_sample_range(struct lj_archive *archive, float *low, float *high)
{
    const struct lj_archive_info *info = &archive->header.info;
    int64_t rows = lj_min_i64(info->selected, RANGE_ROWS), pixels = info->height * info->width;
    float *image = lj_alloc_array(info->channels * pixels, sizeof *image, "archive");
    int status = image ? LJ_OK : LJ_ERR_RESOURCE;
    begin_range(low, high, info->channels);
    for (int64_t i = 0; i < rows && status == LJ_OK; i++) {
        lj_progress();
        status = lj_archive_read(archive, lj_evenly(i, rows, info->selected), 1, image);
        for (int c = 0; c < info->channels && status == LJ_OK; c++)
            widen(&low[c], &high[c], image + c * pixels, pixels);
    }
    lj_free(image);
    return status;
}

/* ---- sums -------------------------------------------------------------------------------- */

/* Adds the sum and the sum of squares of one plane. Eight partial sums in a fixed pattern let the
 * processor work on several at once. */
static void add_plane(const float *x, int64_t count, double sums[2])
{
    double sum[PARTIAL_SUMS] = {0}, square[PARTIAL_SUMS] = {0};
    int64_t i = 0;
    for (; i + PARTIAL_SUMS <= count; i += PARTIAL_SUMS)
        for (int k = 0; k < PARTIAL_SUMS; k++) {
            double v = x[i + k];
            sum[k] += v;
            square[k] += v * v;
        }
    for (; i < count; i++) {
        sum[i % PARTIAL_SUMS] += x[i];
        square[i % PARTIAL_SUMS] += (double)x[i] * x[i];
    }
    for (int k = 0; k < PARTIAL_SUMS; k++) {
        sums[0] += sum[k];
        sums[1] += square[k];
    }
}

/* Adds one group to sums (C, 2) and to the range, rows_max rows at a time; images: scratch for as
 * many. */
static int add_group(struct lj_archive *archive, int64_t group, float *images, int64_t rows_max,
                     double *sums)
{
    const struct lj_archive_info *info = &archive->header.info;
    struct lj_groups groups = lj_archive_groups(archive);
    int64_t pixels = info->height * info->width, end = groups.first(archive, group + 1);
    lj_progress();
    for (int64_t i = groups.first(archive, group); i < end; i += rows_max) {
        int64_t n = lj_min_i64(rows_max, end - i);
        LJ_TRY(lj_archive_read(archive, i, n, images));
        for (int64_t k = 0; k < n; k++)
            for (int c = 0; c < info->channels; c++) {
                const float *plane = images + (k * info->channels + c) * pixels;
                add_plane(plane, pixels, sums + 2 * c);
                widen(&archive->least[c], &archive->most[c], plane, pixels);
            }
    }
    return LJ_OK;
}

/* Adds this rank's share of the chosen groups to sums (groups, C, 2), which are zero before. */
static int add_mine(struct lj_archive *archive, const struct lj_comm *comm,
                    const struct choice *choice, double *sums)
{
    const struct lj_archive_info *info = &archive->header.info;
    int64_t floats = info->channels * info->height * info->width, first, end;
    int64_t rows_max = lj_max_i64(1, lj_min_i64(64, (4 << 20) / floats));
    first = (int64_t)((__int128)choice->groups * comm->rank / comm->size);
    end = (int64_t)((__int128)choice->groups * (comm->rank + 1) / comm->size);
    float *images = lj_alloc_array(rows_max * floats, sizeof *images, "archive");
    if (!images)
        return LJ_ERR_RESOURCE;
    int status = LJ_OK;
    for (int64_t i = first; i < end && status == LJ_OK; i++)
        status =
            add_group(archive, chosen(choice, i), images, rows_max, sums + 2 * info->channels * i);
    lj_free(images);
    return status;
}

/* Turns the sums into mean and deviation. A channel that does not vary gets deviation 1, so that
 * (x - mean) / std is 0. */
static void finish(struct lj_archive *archive, const struct choice *choice, const double *sums,
                   double seconds)
{
    const struct lj_archive_info *info = &archive->header.info;
    struct lj_groups groups = lj_archive_groups(archive);
    int64_t samples = 0;
    for (int64_t i = 0; i < choice->groups; i++)
        samples +=
            groups.first(archive, chosen(choice, i) + 1) - groups.first(archive, chosen(choice, i));
    if (samples < info->selected || seconds >= TELLING_SECONDS)
        lj_say("pixel statistics from %lld of %lld samples took %.1f s", (long long)samples,
               (long long)info->selected, seconds);
    double count = (double)samples * (double)(info->height * info->width);
    for (int c = 0; c < info->channels; c++) {
        double sum = 0, square = 0;
        for (int64_t i = 0; i < choice->groups; i++) {
            sum += sums[2 * (i * info->channels + c)];
            square += sums[2 * (i * info->channels + c) + 1];
        }
        double mean = sum / count, variance = square / count - mean * mean;
        bool varies = variance > 1e-12 * (square / count);
        archive->mean[c] = (float)mean;
        archive->std[c] = varies ? (float)sqrt(variance) : 1.0f;
    }
    archive->have_statistics = true;
}

static int compute(struct lj_archive *archive, struct lj_comm *comm)
{
    struct choice choice = choose(archive);
    int64_t count = 2 * choice.groups * archive->header.info.channels;
    double begun = lj_now_s();
    double *sums = lj_alloc_array(count, sizeof *sums, "archive");
    begin_range(archive->least, archive->most, archive->header.info.channels);
    int status = sums ? add_mine(archive, comm, &choice, sums) : LJ_ERR_RESOURCE;
    status = lj_agree(comm, status);
    if (status == LJ_OK)
        status = join_ranges(archive, comm);
    if (status == LJ_OK) {
        _Static_assert(sizeof(double) == sizeof(int64_t), "bits of doubles are summed as integers");
        int64_t *bits = (int64_t *)(void *)sums;
        lj_sum_exact(comm, NULL, bits, count);
        finish(archive, &choice, sums, lj_now_s() - begun);
    }
    lj_free(sums);
    return status;
}

int lj_archive_statistics(struct lj_archive *archive, struct lj_comm *comm, float *mean, float *std)
{
    /* An earlier call over another communicator may have left them on some of these ranks only. */
    if (lj_all_min(comm, archive->have_statistics) == 0)
        LJ_TRY(compute(archive, comm));
    size_t bytes = (size_t)archive->header.info.channels * sizeof *mean;
    memcpy(mean, archive->mean, bytes);
    memcpy(std, archive->std, bytes);
    return LJ_OK;
}

/* ---- limits of the stretch --------------------------------------------------------------- */

int lj_compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Which pixels are sampled: of `rows` rows, spaced evenly over the selected ones, every stride-th
 * pixel of each channel. */
struct sample {
    int64_t rows, stride;
    int64_t per_row; /* pixels of a channel of one row, at most */
};

/* How many rows: fewer if an archive is large and its chunks are, too, each of which is read for
 * one row then. */
static int64_t rows_to_sample(const struct lj_archive *archive)
{
    const struct lj_archive_info *info = &archive->header.info;
    __int128 row_bytes = (__int128)lj_row_bytes(archive);
    int64_t most = LIMIT_ROWS, at_once = 1;
    for (int p = 0; p < info->parts; p++)
        at_once = lj_max_i64(at_once, archive->part[p].chunk_rows);
    if (info->rows * row_bytes > lj_statistics_bytes_max) {
        int64_t fitting = (int64_t)(lj_statistics_bytes_max / (at_once * row_bytes));
        most = lj_min_i64(most, lj_max_i64(LIMIT_ROWS_LEAST, fitting));
    }
    return lj_min_i64(info->selected, most);
}

/* The noise of a channel from its sorted values, which it replaces: 1.4826 times their median
 * absolute deviation from their median, the standard deviation of a Gaussian, which sources that
 * cover less than half of the pixels hardly change. Where half of the values are the median itself
 * (a border of zeros, counts of few photons), those are left out; 1: all values are equal. */
static float noise_of(float *x, int64_t count)
{
    float median = count ? x[(count - 1) / 2] : 0;
    for (int64_t i = 0; i < count; i++)
        x[i] = fabsf(x[i] - median);
    qsort(x, (size_t)count, sizeof *x, lj_compare_floats);
    int64_t first = 0;
    while (first < count && x[first] == 0 && x[(count - 1) / 2] == 0)
        first++;
    return first < count ? 1.4826f * x[first + (count - first - 1) / 2] : 1;
}

static void say_scales(const struct lj_archive_header *header)
{
    char text[256] = "";
    size_t used = 0;
    for (int c = 0; c < header->info.channels && used < sizeof text; c++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.4g", c ? ", " : "",
                                 (double)header->limits.high[c]);
    lj_say("data.stretch=asinh: scale of the channels %s (noise of the selected rows)", text);
}

static struct sample choose_sample(const struct lj_archive *archive)
{
    const struct lj_archive_info *info = &archive->header.info;
    struct sample s = {.rows = rows_to_sample(archive)};
    int64_t pixels = info->stored_height * info->stored_width;
    int64_t most = LIMIT_VALUES / info->channels;
    s.stride = (s.rows * pixels + most - 1) / most;
    s.per_row = (pixels + s.stride - 1) / s.stride;
    return s;
}

/* A value as it travels: 0 stands for none. */
static int64_t pack_value(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (int64_t)bits + 1;
}

static float unpack_value(int64_t packed)
{
    uint32_t bits = (uint32_t)(packed - 1);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Puts the sampled pixels of a row that are finite into its places of packed (C, rows, per_row).
 * The first pixel moves on from row to row. */
static void sample_row(const struct lj_archive_info *info, const struct sample *s, int64_t row,
                       const float *image, int64_t *packed)
{
    int64_t pixels = info->stored_height * info->stored_width;
    for (int c = 0; c < info->channels; c++) {
        int64_t *at = packed + (c * s->rows + row) * s->per_row;
        for (int64_t p = row % s->stride; p < pixels; p += s->stride) {
            float x = image[c * pixels + p];
            if (isfinite(x))
                *at++ = pack_value(x);
        }
    }
}

/* Samples this rank's share of the rows. */
static int sample_mine(struct lj_archive *archive, const struct lj_comm *comm,
                       const struct sample *s, int64_t *packed)
{
    const struct lj_archive_info *info = &archive->header.info;
    int64_t first = s->rows * comm->rank / comm->size;
    int64_t end = s->rows * (comm->rank + 1) / comm->size;
    float *image = lj_alloc_array(info->channels * info->stored_height * info->stored_width,
                                  sizeof *image, "archive");
    int status = image ? LJ_OK : LJ_ERR_RESOURCE;
    for (int64_t i = first; i < end && status == LJ_OK; i++) {
        int64_t index = (int64_t)((__int128)i * info->selected / s->rows);
        lj_progress();
        status = lj_archive_read_plain(archive, index, 1, image);
        if (status == LJ_OK)
            sample_row(info, s, i, image, packed);
    }
    lj_free(image);
    return status;
}

/* Takes the limits from packed (C, count); values: scratch (count). */
static void take_limits(struct lj_archive_header *header, const int64_t *packed, int64_t count,
                        float *values)
{
    for (int c = 0; c < header->info.channels; c++) {
        int64_t n = 0;
        for (int64_t i = 0; i < count; i++)
            if (packed[c * count + i])
                values[n++] = unpack_value(packed[c * count + i]);
        qsort(values, (size_t)n, sizeof *values, lj_compare_floats);
        if (header->stretch == LJ_DATA_STRETCH_ASINH) {
            header->limits.high[c] = noise_of(values, n);
            continue;
        }
        header->limits.low[c] = n ? values[(n - 1) / 100] : 0.0f;
        header->limits.high[c] = n ? values[(n - 1) * 99 / 100] : 0.0f;
    }
}

/* Collective. */
static int estimate_limits(struct lj_archive *archive, struct lj_comm *comm)
{
    struct sample s = choose_sample(archive);
    int64_t count = s.rows * s.per_row, all = count * archive->header.info.channels;
    int64_t *packed = lj_alloc_array(all, sizeof *packed, "archive");
    float *values = lj_alloc_array(count, sizeof *values, "archive");
    int status = packed && values ? sample_mine(archive, comm, &s, packed) : LJ_ERR_RESOURCE;
    status = lj_agree(comm, status);
    if (status == LJ_OK) {
        lj_sum_exact(comm, NULL, packed, all);
        take_limits(&archive->header, packed, count, values);
    }
    lj_free(packed);
    lj_free(values);
    return status;
}

int lj_archive_find_limits(struct lj_archive *archive, struct lj_comm *comm, double scale)
{
    struct lj_archive_header *header = &archive->header;
    for (int c = 0; c < header->info.channels; c++)
        header->limits.high[c] = (float)scale;
    if (header->stretch == LJ_DATA_STRETCH_ASINH && scale > 0)
        return LJ_OK;
    LJ_TRY(estimate_limits(archive, comm));
    if (header->stretch == LJ_DATA_STRETCH_ASINH)
        say_scales(header);
    return LJ_OK;
}
