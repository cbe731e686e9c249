/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of an archive: those that data.where compares, which select rows, and the labels of
 * the selected rows. Each rank reads a contiguous share of the rows, and of several failing ranks
 * the first one speaks, whose rows come first. Labels may also lie in one file for all parts.
 * Without data.labels, a column with a usual name is taken for labels only if every part has one
 * and all values are integers. */
#include "data/archive/columns.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const automatic_names[] = {"labels", "label", "ans", "y", "target", "targets"};
enum { AUTOMATIC_NAMES = sizeof automatic_names / sizeof *automatic_names };

/* ---- data.where -------------------------------------------------------------------------- */

/* Clears the bits of rows that do not meet the condition. */
static bool take_rows(void *data, int64_t row, const double *values, int64_t count)
{
    struct lj_share *share = data;
    for (int64_t i = 0; i < count; i++)
        if (values[i] == 0)
            lj_share_clear(share, row + i);
    return true;
}

static int apply_condition(const struct lj_archive *archive, const struct lj_condition *condition,
                           struct lj_share *share)
{
    struct lj_column_request request = {.name = condition->name,
                                        .key = "data.where",
                                        .condition = condition,
                                        .take = take_rows,
                                        .data = share};
    const char *missing = NULL;
    lj_hdf5_lock();
    int status = lj_column_of_parts(archive, &request, share->first, share->end, &missing);
    lj_hdf5_unlock();
    if (status != LJ_OK || !missing)
        return status;
    return lj_fail(LJ_ERR_DATA,
                   "%s: there is no dataset %s (data.where); `h5ls -r` lists what there is",
                   missing, condition->name);
}

/* Leaves the rows that meet all conditions. Collective. */
static int apply_where(const struct lj_archive *archive, struct lj_comm *comm, const char *text,
                       struct lj_share *share)
{
    struct lj_where *where = lj_alloc(sizeof *where, "data.where");
    int status = lj_agree(comm, where ? lj_where_parse(where, text) : LJ_ERR_RESOURCE);
    for (int i = 0; status == LJ_OK && i < where->conditions; i++)
        status = lj_agree(comm, apply_condition(archive, &where->condition[i], share));
    lj_free(where);
    LJ_TRY(status);
    if (lj_all_sum(comm, lj_share_count(share)) > 0)
        return LJ_OK;
    return lj_fail(
        LJ_ERR_DATA, "%s: data.where=%s selects none of %lld rows; choose values that are there",
        lj_part_file(archive, &archive->part[0]), text, (long long)archive->header.info.rows);
}

/* ---- labels ------------------------------------------------------------------------------ */

/* How reading a column of labels ended. */
enum outcome { GOOD, FAILED, MISSING, NO_INTEGER };

struct reading {
    const struct lj_share *share; /* NULL: only to see whether all are integers */
    int32_t *label;               /* (selected rows of the share) */
    int64_t labels;               /* taken so far */
    const double *unlabelled;     /* the number that means none, besides NaN; NULL: only NaN */
    int64_t wrong_row;            /* the first row that is no integer; -1: there is none */
    double wrong;                 /* its value */
};

/* NaN stands for "no label", also where the file has options.unlabelled. */
static bool is_label(double value)
{
    return isnan(value) || (value == nearbyint(value) && fabs(value) < INT32_MAX);
}

static bool take_labels(void *data, int64_t row, const double *values, int64_t count)
{
    struct reading *r = data;
    for (int64_t i = 0; i < count; i++) {
        if (!is_label(values[i])) {
            r->wrong_row = row + i;
            r->wrong = values[i];
            return false;
        }
        if (r->share && lj_share_has(r->share, row + i))
            r->label[r->labels++] = isnan(values[i]) ? -1 : (int32_t)values[i];
    }
    return true;
}

/* Reads this rank's share of data.labels=FILE:NAME. */
static int read_from_file(const struct lj_archive *archive, struct lj_column_request *request,
                          const struct lj_share *share)
{
    const char *colon = strrchr(request->name, ':');
    char path[4096];
    hid_t file = -1;
    if (share->first == share->end)
        return LJ_OK;
    snprintf(path, sizeof path, "%.*s", (int)(colon - request->name), request->name);
    LJ_TRY(lj_hdf5_open_file(path, &file));
    int status = lj_column_read(request, file, path, colon + 1, archive->header.info.rows,
                                share->first, share->end, share->first);
    H5Fclose(file);
    return status;
}

/* Reads this rank's share of a column of labels. */
static int read_share(const struct lj_archive *archive, const char *name, const char *key,
                      struct reading *r, enum outcome *outcome, const char **missing)
{
    struct lj_column_request request = {
        .name = name, .key = key, .unlabelled = r->unlabelled, .take = take_labels, .data = r};
    r->labels = 0;
    r->wrong_row = -1;
    *missing = NULL;
    lj_hdf5_lock();
    int status = strchr(name, ':') ? read_from_file(archive, &request, r->share)
                                   : lj_column_of_parts(archive, &request, r->share->first,
                                                        r->share->end, missing);
    lj_hdf5_unlock();
    *outcome = status != LJ_OK     ? FAILED
               : *missing          ? MISSING
               : r->wrong_row >= 0 ? NO_INTEGER
                                   : GOOD;
    return status;
}

/* Reads a column of labels, each rank its share, as far as its first row that is not as it should
 * be; the first such row of all decides. Collective.
 *   outcome  out  the same on every rank; MISSING and NO_INTEGER with a text for LJ_ERR_DATA */
static int read_labels(const struct lj_archive *archive, struct lj_comm *comm, const char *name,
                       const char *key, struct reading *r, enum outcome *outcome)
{
    const char *missing = NULL;
    int status = read_share(archive, name, key, r, outcome, &missing);
    int first = (int)lj_all_min(comm, *outcome == GOOD ? comm->size : comm->rank);
    bool speaks = first == comm->rank;
    if (first == comm->size)
        return LJ_OK;
    if (speaks && *outcome == MISSING)
        status = lj_fail(LJ_ERR_DATA,
                         "%s: there is no dataset %s (data.labels); `h5ls -r` lists what there is",
                         missing, name);
    if (speaks && *outcome == NO_INTEGER) {
        int64_t part = lj_archive_part_of(archive, r->wrong_row);
        status = lj_fail(
            LJ_ERR_DATA,
            "%s: data.labels=%s: expected integers, found %g at row %lld; choose another "
            "dataset, or data.labels=none; if it means that there is no label, name it by "
            "data.unlabelled",
            lj_part_file(archive, &archive->part[part]), name, r->wrong, (long long)r->wrong_row);
    }
    lj_broadcast(comm, outcome, (int64_t)sizeof *outcome, first);
    status = lj_agree(comm, speaks ? status : LJ_OK);
    return *outcome == FAILED ? status : LJ_OK;
}

/* Rank 0 looks for the column of the first part: header.labels_text.
 *   integers  out  it is a column of integers. Masks, strings or one-hot rows that happen to be
 *                  named like labels are not labels. A column of another length is one, which is an
 *                  error when it is read; NULL: not asked
 * False: there is no such column. */
static int look_at_first(struct lj_archive *archive, const char *name, const double *unlabelled,
                         bool *found, bool *integers)
{
    struct lj_archive_header *header = &archive->header;
    const struct lj_part *part = archive->part;
    const char *path = lj_part_file(archive, part);
    struct reading r = {.wrong_row = -1};
    struct lj_column_request request = {.name = name,
                                        .key = "data.labels",
                                        .unlabelled = unlabelled,
                                        .take = take_labels,
                                        .data = &r};
    char column[2 * LJ_NAME_BYTES];
    hid_t file = -1;
    LJ_TRY(lj_hdf5_open_file(path, &file));
    int status = LJ_OK;
    *found = lj_column_find(file, lj_part_dataset(archive, part), name, column, sizeof column);
    if (*found)
        snprintf(header->labels_text, sizeof header->labels_text, "%.1000s", column);
    if (integers) {
        int64_t rows = *found ? lj_column_rows(file, column) : -1;
        if (rows == part->rows)
            status = lj_column_read(&request, file, path, column, rows, 0, rows, 0);
        *integers = rows >= 0 && r.wrong_row < 0;
    }
    H5Fclose(file);
    return status;
}

/* Every rank learns what rank 0 has found of the first part. Collective. */
static int find_first(struct lj_archive *archive, struct lj_comm *comm, const char *name,
                      const double *unlabelled, bool *found, bool *integers)
{
    struct lj_archive_header *header = &archive->header;
    int status = LJ_OK;
    lj_root_section_begin(comm);
    if (lj_comm_is_root(comm)) {
        lj_hdf5_lock();
        status = look_at_first(archive, name, unlabelled, found, integers);
        lj_hdf5_unlock();
    }
    LJ_TRY(lj_root_section_end(comm, status));
    lj_broadcast(comm, found, (int64_t)sizeof *found, 0);
    if (integers)
        lj_broadcast(comm, integers, (int64_t)sizeof *integers, 0);
    lj_broadcast(comm, header->labels_text, sizeof header->labels_text, 0);
    return LJ_OK;
}

/* Reads the labels of data.labels=NAME or FILE:NAME. Collective. */
static int named_labels(struct lj_archive *archive, struct lj_comm *comm, const char *name,
                        struct reading *r)
{
    struct lj_archive_header *header = &archive->header;
    bool in_file = strchr(name, ':') != NULL, found = true;
    enum outcome outcome = GOOD;
    if (in_file)
        snprintf(header->labels_text, sizeof header->labels_text, "%.1000s", name);
    else
        LJ_TRY(find_first(archive, comm, name, r->unlabelled, &found, NULL));
    const char *key = in_file ? "data.labels=FILE:NAME" : "data.labels";
    LJ_TRY(read_labels(archive, comm, name, key, r, &outcome));
    header->info.has_labels = outcome == GOOD;
    return outcome == GOOD ? LJ_OK : LJ_ERR_DATA;
}

/* Collective. */
static int automatic_labels(struct lj_archive *archive, struct lj_comm *comm, struct reading *r)
{
    struct lj_archive_header *header = &archive->header;
    for (int i = 0; i < AUTOMATIC_NAMES && !header->info.has_labels; i++) {
        bool found = false, integers = false;
        enum outcome outcome = GOOD;
        LJ_TRY(find_first(archive, comm, automatic_names[i], r->unlabelled, &found, &integers));
        if (!integers)
            continue;
        LJ_TRY(read_labels(archive, comm, automatic_names[i], "data.labels (none: ignore)", r,
                           &outcome));
        header->info.has_labels = outcome == GOOD;
    }
    if (!header->info.has_labels)
        header->labels_text[0] = 0;
    return LJ_OK;
}

/* Collective. */
static int read_columns(struct lj_archive *archive, struct lj_comm *comm,
                        const struct lj_archive_options *options, struct lj_share *share)
{
    bool labels = !options->skip_labels && strcmp(options->labels, "none") != 0;
    struct reading r = {.share = share, .unlabelled = options->unlabelled};
    if (options->where[0])
        LJ_TRY(apply_where(archive, comm, options->where, share));
    if (!labels)
        return lj_archive_select(archive, comm, share, NULL);
    r.label = lj_alloc_array(lj_share_count(share), sizeof *r.label, "archive");
    int status = lj_agree(comm, r.label ? LJ_OK : LJ_ERR_RESOURCE);
    if (status == LJ_OK)
        status = options->labels[0] ? named_labels(archive, comm, options->labels, &r)
                                    : automatic_labels(archive, comm, &r);
    if (status == LJ_OK)
        status = lj_archive_select(archive, comm, share,
                                   archive->header.info.has_labels ? r.label : NULL);
    lj_free(r.label);
    return status;
}

int lj_archive_columns(struct lj_archive *archive, struct lj_comm *comm,
                       const struct lj_archive_options *options)
{
    struct lj_share share;
    archive->header.skip_labels = options->skip_labels;
    int status = lj_share_make(&share, comm, archive->header.info.rows, true);
    status = lj_agree(comm, status);
    if (status == LJ_OK)
        status = read_columns(archive, comm, options, &share);
    lj_share_free(&share);
    return status;
}
